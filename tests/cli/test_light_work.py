"""Imports of `train` and `test` on prepared data, from the modules of a fresh process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PARTS_OF_TORCH = ["torch._dynamo", "torch._inductor", "sympy", "torchvision"]
OTHERS = ["PIL", "open_clip", "timm", "transformers", "huggingface_hub"]
OF_TRACKING = ["mlflow", "pandas", "scipy", "sqlalchemy"]

FIRST_STEP = f"""
import json, os, sys, torch
from themo.cli.main import main
def last_step(*_arguments, **_options):
    print(json.dumps(sorted(set({PARTS_OF_TORCH + OTHERS + OF_TRACKING!r}) & sys.modules.keys())), flush=True)
    os._exit(0)
torch._fused_adamw_ = last_step
main(sys.argv[1:])
"""
WHOLE = f"""
import json, sys
from themo.cli.main import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(set({PARTS_OF_TORCH + OTHERS!r}) & sys.modules.keys())]))
"""


def run(script: str, *words: str | Path) -> object:
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
    assert done.stdout, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow  # a world, and four processes
def test_training_and_testing_import_what_they_use(tiny_miniature: Path) -> None:
    for words in (["train", "--config", tiny_miniature], ["test"]):  # prepare all, and know the database
        subprocess.run([sys.executable, "-m", "themo", *words], check=True, cwd=tiny_miniature.parent)
    assert run(FIRST_STEP, "train", "--config", tiny_miniature) == []
    version = tiny_miniature.parent / "logs" / "miniature" / "version_0"
    assert run(WHOLE, "test", "--version-path", version) == [0, []]


def test_the_program_reads_no_metadata_and_ends_uncollected(tmp_path: Path) -> None:
    script = """
import gc, importlib.metadata, runpy, sys
importlib.metadata.entry_points = lambda **_: sys.exit("the packages were read")
sys.argv = ["themo", "status"]
try:
    runpy.run_module("themo", run_name="__main__")
except SystemExit as end:
    print(end.code, gc.get_threshold()[0], gc.get_freeze_count() > 10_000)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 10000 True"
