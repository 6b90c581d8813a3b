"""Refusals that need no data come before heavy libraries are imported, as a fresh process shows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from themo.config import settings as config
from tune.cluster.resources import Resources
from tune.space.search_space import Space, from_tree
from tune.study.naming import STUDY_FILE
from tune.study.search import new_search
from tune.study.study import Study

HEAVY = [
    "cmaes",
    "mlflow",
    "numpy",
    "open_clip",
    "optuna",
    "pandas",
    "plotly",
    "pyarrow",
    "ray",
    "scipy",
    "tokenizers",
    "torch",
    "torchvision",
    "transformers",
]
"""Not among them: SQLAlchemy, a tenth of a second, which reads the address of MLflow."""
RUN = f"""
import json, sys
from themo.cli.main import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(set({HEAVY!r}) & set(sys.modules))]))
"""

REFUSED = {
    "wrong number": ["train", "--batch-size", "x"],
    "number out of range": ["train", "--epochs", "-1"],
    "two settings that contradict": ["train", "--accumulate", "512", "--batch-size", "64"],
    "unknown option": ["train", "--learning-rate", "1"],
    "unknown command": ["trian"],
    "unknown preset": ["train", "--preset", "minature"],
    "missing settings": ["train", "--config", "none.yaml"],
    "bad YAML": ["train", "--config", "bad.yaml"],
    "unknown key": ["train", "--config", "unknown.yaml"],
    "wrong type": ["train", "--config", "type.yaml"],
    "missing corpus": ["train", "--preset", "miniature", "--corpus", "none.tsv"],
    "own corpus without a teacher": ["train", "--corpus", "pairs.tsv"],
    "missing targets": ["train", "--corpus", "pairs.tsv", "--targets", "none.npy"],
    "resume of no version": ["train", "--resume", "nowhere"],
    "resume with settings": ["train", "--resume", "version", "--seed", "1"],
    "prepare: missing corpus": ["prepare", "--preset", "miniature", "--corpus", "none.tsv"],
    "wrong loss": ["prepare", "--config", "loss.yaml"],
    "wrong scheduler": ["tune", "--scheduler", "foo"],
    "wrong searcher": ["tune", "--searcher", "foo"],
    "cmaes over choices": ["tune", "--searcher", "cmaes", "--space", "choices.yaml"],
    "no trials": ["tune", "--num-samples", "0"],
    "name taken": ["tune", "--name", "taken"],
    "name of no directory": ["tune", "--name", "a/b"],
    "resume of no search": ["tune", "--resume", "none"],
    "resume that changes a search": ["tune", "--resume", "taken", "--searcher", "random"],
    "repeat of no search": ["tune", "--repeat", "none"],
    "warm start of no search": ["tune", "--warm-start", "none"],
    "missing space": ["tune", "--space", "none.yaml"],
    "reversed range": ["tune", "--space", "reversed.yaml"],
    "space of an unknown setting": ["tune", "--space", "unknown-space.yaml"],
    "tune: missing corpus": ["tune", "--preset", "miniature", "--corpus", "none.tsv"],
    "no CPUs for a trial": ["tune", "--cpus-per-trial", "0"],
    "keys in a storage's address": ["tune", "--storage-path", "s3://key:secret@bucket/folder"],
    "storage without a bucket": ["tune", "--storage-path", "s3://"],
    "test of no version": ["test", "--version-path", "nowhere"],
    "test without a version": ["test"],
    "test of a version without a student": ["test", "--version-path", "version"],
    "test without test data": ["test", "--baseline", "--config", "untested.yaml"],
    "test on missing images": ["test", "--baseline", "--captions", "none", "--images", "none"],
    "report without a version": ["test", "--baseline", "--report"],
    "status of no search": ["status", "none"],
    "why of no search": ["why", "none", "0"],
    "why of no trial": ["why", "taken", "7"],
    "why of no number": ["why", "taken", "x"],
    "report of no search": ["report", "none"],
    "report without searches": ["report", "--logs-dir", "empty"],
    "export: unknown format": ["export", "--format", "foo", "--output", "out"],
    "export: taken folder": [
        "export",
        "--format",
        "transformers",
        "--output",
        ".",
        "--version-path",
        "version",
    ],
    "export: --int8 of another format": ["export", "--format", "transformers", "--output", "out", "--int8"],
    "export of an unfinished run": [
        "export",
        "--format",
        "onnx",
        "--output",
        "out",
        "--version-path",
        "version",
    ],
    "search without pictures": ["search", "un gato", "--images", "empty"],
    "runtime on a GPU": ["search", "un gato", "--images", "empty", "--runtime", "onnx", "--device", "cuda"],
    "search for nothing": ["search", "", "--images", "empty"],
    "send of no file": ["send", "none.jsonl"],
}

ANSWERED = {
    "status of all searches": ["status"],
    "status of a search": ["status", "taken"],
    "status of a version": ["status", "version"],
    "why of a trial": ["why", "ended", "0"],
    "what there is to prepare": ["prepare", "--dry-run"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refusals")
    (folder / "bad.yaml").write_text("data: [")
    (folder / "unknown.yaml").write_text("preset: miniature\ntraining: {leran_rate: 1}")
    (folder / "type.yaml").write_text("preset: miniature\ntraining: {seed: high}")
    (folder / "loss.yaml").write_text("preset: miniature\nloss: {loss: mse+foo}")
    (folder / "untested.yaml").write_text(
        "preset: miniature\nbenchmarks: {captions: null, images: null, imagenet: null, prompts: null}"
    )
    (folder / "pairs.tsv").write_text("en\tes\na dog\tun perro\n")
    (folder / "reversed.yaml").write_text("space: {learn_rate: {uniform: [1, 0.1]}}")
    (folder / "unknown-space.yaml").write_text("space: {leran_rate: {uniform: [0.1, 1]}}")
    (folder / "choices.yaml").write_text("space: {loss: {choice: [mse, cosine]}}")
    (folder / "empty").mkdir()
    version = folder / "version"
    version.mkdir()
    settings = config.load(overrides={"logs_dir": str(folder / "logs")})
    (version / "config.yaml").write_text(settings.to_yaml())
    (version / "summary.json").write_text(json.dumps({"state": "running"}))
    new_search("taken", a_space(settings), settings, Resources())
    ended = new_search("ended", a_space(settings), settings, Resources())
    study = Study(ended.folder / STUDY_FILE, ended.mode)
    study.limit(32, None)
    study.report(
        study.add({"learn_rate": 1e-4}).number, {"pairs_seen": 1e6, ended.objective: 0.5}, ended.objective
    )
    study.finish(0, "COMPLETE")
    return folder


def a_space(settings: config.Settings) -> Space:
    ranges = {"learn_rate": {"log_uniform": [1e-5, 1e-3]}}
    return from_tree({"space": ranges, "search": {"grace_pairs": 20_000}}, settings, "a space")


def run(words: list[str], folder: Path) -> tuple[int, list[str], str]:
    done = subprocess.run([sys.executable, "-c", RUN, *words], cwd=folder, capture_output=True, text=True)
    code, loaded = json.loads(done.stdout.splitlines()[-1])
    return code, loaded, done.stderr


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_comes_before_heavy_imports(name: str, place: Path) -> None:
    code, loaded, said = run(REFUSED[name], place)
    assert (code, loaded) == (2, []), said
    assert said.count("Error: ") == 1


@pytest.mark.parametrize("words", [["train"], ["tune"]], ids=lambda words: words[0])
def test_a_refused_address_is_not_printed(
    words: list[str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ana:s3[cr@db/mlflow")
    code, loaded, said = run(words, place)
    assert (code, loaded) == (2, []), said
    (line,) = said.splitlines()
    assert line.startswith("Error: MLFLOW_TRACKING_URI: must be a valid address")
    assert "s3" not in line


@pytest.mark.parametrize("name", ANSWERED)
def test_readers_of_small_files_import_nothing_heavy(name: str, place: Path) -> None:
    code, loaded, said = run(ANSWERED[name], place)
    assert (code, loaded) == (0, []), said
