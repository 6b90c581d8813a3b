"""The programs of `docs/examples`: short, and run as they are on small worlds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import warm_start
from tiny import write_picture

import themo
from themo.config.settings import Settings

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


def run(name: str, folder: Path, config: Path) -> str:
    """Run an example with a small world in place of the preset; return what it printed."""
    code = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    code = code.replace('preset="miniature"', f"config={str(config)!r}").replace("epochs=0.5", "epochs=1.0")
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    command = [*warm_start.PYTHON, f"{name}.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_examples_have_at_most_20_lines() -> None:
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in EXAMPLES.glob("*.py")}
    assert len(lines) == 5
    assert max(lines.values()) <= 20, lines


@pytest.mark.slow
def test_the_training_example_prints_its_reports(tmp_path: Path, tiny_config: Path) -> None:
    first, *_, result, metrics = run("train", tmp_path, tiny_config).splitlines()
    assert first.partition(":")[0].endswith(" pairs")
    assert result.startswith("<themo.TrainResult ")
    assert "'val/match@01'" in metrics


@pytest.mark.slow
def test_the_encoding_example_prints_cosines(tmp_path: Path, tiny_settings: Settings) -> None:
    folder = tmp_path / "logs" / "miniature"
    result = themo.train(
        config=_written(tmp_path, tiny_settings), experiment="miniature", epochs=1.0, quiet=True
    )
    assert result.version == folder / "version_0"
    write_picture(tmp_path / "a.jpg", np.random.default_rng(0))
    assert run("encode", tmp_path, tmp_path).splitlines()[-1] == "(12,)"


def _written(folder: Path, settings: Settings) -> Path:
    path = folder / "own.yaml"
    path.write_text(settings.to_yaml(), encoding="utf-8")
    return path


@pytest.mark.slow
def test_the_optuna_example_runs_two_trials(tmp_path: Path, tiny_config: Path) -> None:
    run("optuna_study", tmp_path, tiny_config)
    assert len(list((tmp_path / "logs" / "tiny").glob("version_*/summary.json"))) == 2


@pytest.mark.slow  # a Ray cluster
def test_the_ray_tune_example_prints_the_best(tmp_path: Path, tiny_config: Path) -> None:
    assert "learn_rate" in run("ray_tune", tmp_path, tiny_config).splitlines()[-1]


@pytest.mark.slow  # a Ray cluster
def test_the_search_example_prints_its_trials(tmp_path: Path, tiny_config: Path) -> None:
    result, best, *trials = run("search", tmp_path, tiny_config).splitlines()
    assert result.startswith("<themo.TuneResult ")
    assert "learn_rate" in best
    assert len(trials) == 2
