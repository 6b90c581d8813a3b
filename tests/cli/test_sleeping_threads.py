"""How torch's threads wait in the commands that encode texts, from the environment in which torch starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tiny import SettingsFactory

from themo.data.dataset import TrainingData
from themo.training.loop import train

AT_THE_IMPORT = """
import os, sys
class Watching:
    def find_spec(self, name, *_):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Watching())
from themo.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("command", "given"),
    [("test", None), ("report", None), ("search", None), ("export", None), ("search", "ACTIVE")],
)
def test_threads_sleep_unless_the_user_says_otherwise(
    settings: SettingsFactory, tiny_data: TrainingData, tmp_path: Path, command: str, given: str | None
) -> None:
    version = tmp_path / "version_0"
    train(settings(epochs=0.2), tiny_data, report=lambda last: last.save(version))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    options = {
        "test": ["--captions", "miniature:test/xtd10", "--images", "miniature:test/mscoco"],
        "search": ["el gato", "--images", str(tmp_path)],
        "export": ["--format", "static", "--output", str(tmp_path / "out")],
    }.get(command, [])
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_IMPORT, command, *options, "--version-path", str(version)],
        env=environment | ({"OMP_WAIT_POLICY": given} if given else {}),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, f"{given or 'PASSIVE'}\n"), done.stderr
