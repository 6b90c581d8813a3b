"""Commands in a folder that holds files of the user's own with the names of our packages and folders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny import TINY_MINIATURE

MODULE = [sys.executable, "-m", "themo"]
PROGRAM = [str(Path(sys.executable).with_name("themo"))]
OWN = "raise SystemExit('the user\\'s own file was run')\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`tune.py`, and folders of other things; all raise that are run."""
    (tmp_path / "tune.py").write_text(OWN, encoding="utf-8")
    for name in ("configs", "benchmarks", "tests"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(OWN, encoding="utf-8")
    (tmp_path / "configs" / "miniature.yaml").write_text("of: another program\n", encoding="utf-8")
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words",
    [
        ["status", "--json"],
        ["prepare", "--dry-run", "--offline", "--json"],
        ["tune", "--resume", "nosuch"],
        ["report", "nosuch"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("program", [MODULE, PROGRAM], ids=["module", "program"])
def test_a_command_runs_beside_a_file_tune(program: list[str], words: list[str], folder: Path) -> None:
    if program is PROGRAM:
        if not Path(PROGRAM[0]).exists():
            pytest.skip("needs the installed program")
        (folder / "themo.py").write_text(OWN, encoding="utf-8")
    done = run([*program, *words], folder)
    assert done.returncode == (2 if "nosuch" in words else 0), done.stderr
    assert "own file" not in done.stderr
    if "nosuch" in words:
        assert "there is no search at" in done.stderr


def test_working_directory_with_this_package_stays_on_the_path() -> None:
    script = (
        "import sys, themo.__main__ as module; module.forget_working_directory(); "
        "print(sys.path[0] in ('', sys.argv[1]))"
    )
    root = str(Path(__file__).parents[2])
    done = run([sys.executable, "-c", script, root], Path(root))
    assert done.stdout == "True\n", done.stderr


@pytest.mark.slow  # a Ray cluster
def test_a_search_runs_beside_a_file_tune_and_follows_the_umask(folder: Path) -> None:
    """Its workers too, which Ray lets look for modules in the driver's working directory."""
    tree = {
        "preset": "miniature",
        "training": {"epochs": 1.0, "report_pairs": 300, "device": "cpu"},
        "miniature": TINY_MINIATURE,
    }
    (folder / "own.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    command = [*MODULE, "tune", "--config", "own.yaml", "--num-samples", "2", "--name", "mine"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, umask=0o027)
    assert done.returncode == 0, done.stderr
    assert "own file" not in done.stderr
    search = folder / "logs" / "tune" / "mine"
    assert (search / "best" / "student" / "model.safetensors").exists()
    others = {
        str(path.relative_to(folder)): oct(path.stat().st_mode)
        for place in (search, folder / "data")
        for path in place.rglob("*")
        if path.stat().st_mode & 0o777 != (0o750 if path.is_dir() else 0o640)
    }
    assert others == {}
