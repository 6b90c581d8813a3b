"""What the README tells people to type does what it says there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import yaml
from tiny import ADJECTIVES, NOUNS, TINY_MINIATURE, VERBS, write_picture

import themo
from themo.cli import parse

PROJECT = Path(themo.__file__).parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")

ELSEWHERE = {
    "make tune": ".ci",  # they install what the tests run in
    "make test": ".ci",
    "make check": ".ci",
    "make fast": ".ci",
    "make bench": "tests/test_benchmark_scripts.py",
    "pre-commit install": ".pre-commit-config.yaml",
    "python -m themo train --preset vit-l-14-beto --corpus 0.5*opus-100 2*talks captions.tsv": (
        "tests/test_real_recipe.py"  # of toy models, from hosts of this machine
    ),
    "make .env": "tests/deployment/test_compose.py",
    "docker compose up --detach --build --scale worker=2": "tests/deployment/test_compose.py",
    "docker compose run --rm tune --name first --num-samples 32 --gpus-per-trial 1": (
        "tests/deployment/test_compose.py"
    ),
}
"""Commands that are run by other tests, or run these."""


def console_commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [" ".join(line.split()) for line in lines if line]


EXECUTED = [command for command in console_commands() if command not in ELSEWHERE]


def test_no_command_is_left_out() -> None:
    assert not ELSEWHERE.keys() - set(console_commands())
    assert all((PROJECT / path).exists() for path in ELSEWHERE.values())
    assert all(command.startswith("python -m themo ") for command in EXECUTED)
    assert len(EXECUTED) >= 10


def test_commands_in_the_text_are_ones_that_there_are() -> None:
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL).replace("\n", " ")
    told = re.findall(r"`(?:[^`]*-- )?python -m themo ([^`]*)`", prose)
    told = [text for text in told if "COMMAND" not in text and text != "--help"]
    assert len(told) > 5
    for text in told:
        assert parse(shlex.split(text)).command == text.split()[0]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program whose miniature is built in seconds, and what the README takes for granted."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("themo", "tune", "configs"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    preset = folder / "configs" / "miniature.yaml"
    tree = yaml.safe_load(preset.read_text(encoding="utf-8"))
    tree["miniature"] = tree.get("miniature", {}) | TINY_MINIATURE
    preset.write_text(yaml.safe_dump(tree), encoding="utf-8")
    pictures = folder / "home" / "Pictures"
    pictures.mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(6):
        write_picture(pictures / f"{i}.jpg", random)
    pairs = [
        (f"the {adjective} {noun} {verb} at {hour}", f"el {noun_es} {adjective_es} {verb_es} a las {hour}")
        for (noun, noun_es), (adjective, adjective_es), (verb, verb_es), hour in product(
            NOUNS.items(), ADJECTIVES.items(), VERBS.items(), range(2, 10)
        )
    ]
    lines = ["en\tes", *("\t".join(pair) for pair in pairs)]
    (folder / "pairs.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    columns = {"english": [en for en, _ in pairs], "spanish": [es for _, es in pairs]}
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "pairs.parquet")
    vectors = random.standard_normal((len(pairs), 24), dtype=np.float32)
    np.save(folder / "vectors.npy", vectors)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_command_does_its_work(project: Path) -> None:
    """One after the other, in the README's order, as a person would."""
    python = Path(sys.executable).parent
    environment = os.environ | {
        "HOME": str(project / "home"),
        "PATH": f"{python}{os.pathsep}{os.environ['PATH']}",
    }
    for command in EXECUTED:
        searches = sorted((project / "logs" / "tune").glob("*"), key=lambda path: path.stat().st_mtime)
        line = command.replace("NAME", searches[-1].name if searches else "NAME")
        done = subprocess.run(
            ["/bin/bash", "-c", line],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert (project / "es" / "modules.json").is_file()
    assert (project / "found.html").is_file()
    first, second = sorted((project / "logs" / "tune").iterdir())
    assert (first / "report.html").is_file()
    assert len((second / "trials.csv").read_text(encoding="utf-8").splitlines()) == 1 + 16
