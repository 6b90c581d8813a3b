import csv
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import warm_start
import yaml
from tiny import sentence_pairs, write_tsv

from themo.checkpoints.versions import find_part
from themo.cli.commands.train import _print_report
from themo.cli.main import main
from themo.config.settings import Settings
from themo.data.dataset import TrainingData
from themo.evaluation.version_run import send_version
from themo.models.student import load_student
from themo.tracking.unsent import Destination, mark, marked
from themo.training.loop import Report, train

Capture = pytest.CaptureFixture[str]
TINY = "TINY"
"""Replaced by the path of `tiny_config`, whose miniature takes a second to build."""


def refusal(capture: Capture, *arguments: object) -> str:
    """The one line with which a command is refused."""
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capture.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith(("Corpus ", "Training pairs are not"))]
    assert len(lines) == 1, err
    assert lines[0].startswith("Error: ")
    return lines[0].removeprefix("Error: ")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One MLflow database for many commands: making one takes seconds."""
    return tmp_path_factory.mktemp("logs")


# --- usage ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND (see python -m themo --help)"),
        (["trian"], "invalid choice: 'trian'"),
        (["train", "--preset", "big"], "--preset must be one of dfn5b-h-14-beto, miniature, "),
        (["train", "--config", "nosuch.yaml"], "nosuch.yaml: cannot be read: No such file or directory"),
        (["train", "--learn-rate", "fast"], "--learn-rate: must be a valid number, got 'fast'"),
        (["train", "--learn-rate", "-1"], "--learn-rate: must be greater than 0, got -1"),
        (["train", "--batch-size", "2.5"], "--batch-size: must be a valid integer, got 2.5"),
        (["train", "--loss", "huber"], "--loss: must be a mix of mse, cosine, infonce"),
        (["train", "--objective", "val/los"], "--objective: must be 'auto', 'val/retrieval@01'"),
        (["train", "--batch-size", "2", "--accumulate", "4"], "accumulate=4, batch_size=2"),
        (["train", "--columns", "en"], "--columns: must have two entries, got ['en']"),
        (
            ["train", "--corpus", "0*pairs.tsv"],
            "--corpus: a weight must be greater than 0, got ['0*pairs.tsv']",
        ),
        (["train", "--experiment", "a b"], "--experiment: must match pattern"),
        (["train", "--resume", "nosuch"], "nosuch: must be a version directory, but does not exist"),
        (["train", "--resume", "x", "--seed", "3"], "--resume uses the settings of the version"),
        (["test", "--logs-dir", "nosuch"], "nosuch must contain a version to test, but has none"),
        (
            ["test", "--version-path", "nosuch"],
            "nosuch: must be a version directory, but does not exist",
        ),
        (["test", "--version-path", "x", "--preset", "miniature"], "has its own settings"),
        (["tune", "--num-samples", "0"], "--num-samples: must be a whole number above 0, got '0'"),
    ],
)
def test_bad_usage(capsys: Capture, arguments: list[str], message: str) -> None:
    assert message in refusal(capsys, *arguments)


def test_all_problems_in_one_line(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("preset: miniature\ntraining: {sede: 1, epochs: 0}\n", encoding="utf-8")
    message = refusal(capsys, "train", "--config", path, "--seed", "x")
    assert f"{path}: unknown key 'training.sede' (did you mean 'seed'?)" in message
    assert f"{path}: training.epochs: must be greater than 0, got 0" in message
    assert "--seed: must be a valid integer, got 'x'" in message


def test_help_as_a_user_calls_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "themo", "--help"], capture_output=True, text=True, check=True
    )
    assert "python -m themo train --batch-size 256 --learn-rate 8e-5" in done.stdout
    assert done.stderr == ""


# --- interruptions ---


@pytest.fixture
def _ctrl_c_raises() -> Iterator[None]:
    """Also where these tests run in the background of a shell, or Ray Tune has left its own handler."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_raises")
def test_an_interrupted_exec_keeps_the_exit_code(tmp_path: Path) -> None:
    """`python -m` would end with the signal: see `themo.cli.main._keep_exit_code`."""
    (tmp_path / "program.py").write_text(
        "import sys, themo.cli.main as line\n"
        "line.parse = lambda words: exec('raise KeyboardInterrupt')\n"
        "sys.exit(line.main(['prepare']))"
    )
    words = [sys.executable, "-m", "program"]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, "Interrupted. To resume: python -m themo prepare\n")


@pytest.mark.usefixtures("_ctrl_c_raises")
def test_ctrl_c_while_libraries_load() -> None:
    program = (
        "import signal, sys, themo.__main__ as module\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'safetensors': signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "sys.exit(module.run())"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, "Interrupted.\n")


@pytest.mark.usefixtures("_ctrl_c_raises")
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "Interrupted"),
        (signal.SIGTERM, 143, "Terminated"),
        (signal.SIGHUP, 129, "The terminal was closed"),
    ],
)
@pytest.mark.parametrize(
    ("words", "step", "label"),
    [
        (
            ["prepare", "--config", TINY, "--tests", "--json"],
            "themo.data.test_files.fetch_parts",
            "To resume",
        ),
        (["prepare", "--config", TINY], "themo.data.test_files.fetch_captions", "To resume"),
        (["train", "--experiment", "8e-5"], "themo.training.run.fetch_captions", "To resume"),
        (["tune", "--num-samples", "3"], "tune.driver.request.begin", "To resume"),
        (["test", "--baseline"], "themo.cli.commands.test.score_and_record", "To start again"),
        (
            ["export", "--version-path", "my version", "--format", "onnx", "--output", "x"],
            "themo.cli.commands.export.find_version",
            "To start again",
        ),
    ],
)
def test_a_command_without_a_resume_names_itself(
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny_config: Path,
    words: list[str],
    step: str,
    label: str,
    number: int,
    code: int,
    said: str,
) -> None:
    monkeypatch.setattr(step, lambda *_, **__: signal.raise_signal(number))
    words = [str(tiny_config) if word is TINY else word for word in words]
    words += ["--logs-dir", str(tmp_path / "my logs")]
    assert main(words) == code
    *_, last = capsys.readouterr().err.splitlines()
    assert last == f"{said}. {label}: python -m themo {shlex.join(words)}"


# --- prepare ---


def test_prepare(capsys: Capture, tiny_config: Path, tiny_data: TrainingData) -> None:
    assert main(["prepare", "--config", str(tiny_config), "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert (result["train_pairs"], result["validation_pairs"]) == (
        len(tiny_data.train),
        len(tiny_data.validation),
    )
    assert result["dimension"] == 12
    assert "pairs.tsv: 400 of 400 pairs kept" in err
    assert main(["prepare", "--config", str(tiny_config)]) == 0
    assert capsys.readouterr().out.startswith(
        f"{len(tiny_data.train)} training and {len(tiny_data.validation)} validation pairs, teacher vectors"
    )


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def corpus(content: bytes) -> Callable[[Path], list[str]]:
    return lambda folder: ["--corpus", str(write(folder / "own.tsv", content))]


def targets(vectors: Any, **options: Any) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        np.save(folder / "own.npy", vectors, **options)
        return ["--targets", str(folder / "own.npy")]

    return make


ONES = np.ones((400, 4), dtype=np.float32)
BAD_DATA: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "missing corpus": (
        lambda _: ["--corpus", "nosuch.tsv"],
        "data.corpus: no such file or folder: nosuch.tsv",
    ),
    "empty corpus": (corpus(b""), "own.tsv: must contain at least one sentence pair, but is empty"),
    "header alone": (corpus(b"en\tes\n"), "own.tsv: must contain at least one sentence pair, got none"),
    "a tab too many": (corpus(b"en\tes\na\tb\na\tb\tc\n"), "own.tsv:3: must have 2 columns, got 3"),
    "invalid UTF-8": (corpus(b"en\tes\na\tb\nc\t\xff\n"), "own.tsv:3: must be UTF-8, got byte 0xff"),
    "wrong columns": (lambda _: ["--columns", "en,fr"], "--columns must name two columns of the header"),
    "too few pairs": (corpus(b"en\tes\na\tb\n"), "data.validation_pairs must be at most half of the 1 pairs"),
    "missing targets": (lambda _: ["--targets", "nosuch.npy"], "data.targets: no such file or folder"),
    "short targets": (
        targets(ONES[:-1]),
        "own.npy: must have a row for each of the corpus's 400 rows, got 399",
    ),
    "targets with NaN": (targets(ONES * np.nan), "own.npy: all values must be finite, rows 0"),
    "targets in double": (targets(ONES.astype(np.float64)), "must be (N, D) of float16 or float32"),
    "pickled targets": (targets(ONES.astype(object), allow_pickle=True), "own.npy: must be a .npy array: "),
    "no targets file": (
        lambda folder: ["--targets", str(write(folder / "own.npy", b"1 2 3"))],
        "own.npy: must be a .npy array: ",
    ),
    "unknown backbone": (
        lambda _: ["--backbone", "nosuch/model"],
        "student.backbone nosuch/model: is not a folder, and",
    ),
    "unknown teacher": (lambda _: ["--architecture", "X"], "teacher.architecture X: cannot be loaded: "),
    "a file for the cache": (
        lambda folder: ["--cache-dir", str(write(folder / "cache", b""))],
        "cache: backbone cannot be written: File exists",
    ),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(capsys: Capture, tiny_config: Path, tmp_path: Path, case: str) -> None:
    make, message = BAD_DATA[case]
    assert message in refusal(capsys, "prepare", "--config", tiny_config, *make(tmp_path))


def test_a_corrupt_cache_entry_is_built_again(capsys: Capture, tiny_config: Path, tmp_path: Path) -> None:
    assert main(["prepare", "--config", str(tiny_config)]) == 0
    files = [p for p in (tmp_path / "cache").rglob("*.npy") if "targets-" in str(p) or p.name == "ids.npy"]
    whole = {path: path.read_bytes() for path in files}
    assert len(files) == 4
    for path in files:
        path.write_bytes(whole[path][:-1] + bytes([whole[path][-1] ^ 1]))
    capsys.readouterr()
    assert main(["prepare", "--config", str(tiny_config)]) == 0
    assert capsys.readouterr().err.count("is damaged; building it again") == 4
    assert {path: path.read_bytes() for path in files} == whole


def test_a_full_disk(capsys: Capture, tiny_config: Path, tmp_path: Path) -> None:
    """The first entry of the cache is written where there is no room for it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(disk)]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a tmpfs")
    try:
        message = refusal(capsys, "prepare", "--config", tiny_config, "--cache-dir", disk)
        assert message.startswith(f"cache_dir {disk}: backbone cannot be written: ")
        assert re.search("no space left", message, re.IGNORECASE)
        assert [p for p in disk.iterdir() if p.suffix != ".lock"] == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)  # noqa: S607


# --- tune ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        (
            {"batch_size": {"log_integer": [16, 999]}},
            ["--batch-size", "2000"],  # no trial has it
            "training.batch_size must be at most the 340 training pairs, got 999",
        ),
        (
            {"hidden_size": {"choice": [32, 48, 40]}, "target": {"choice": ["embedding", "state"]}},
            [],
            "student.hidden_size must be a multiple of the head width 16, got 40",
        ),
    ],
)
def test_a_search_beyond_its_data_is_refused(
    capsys: Capture, tiny_config: Path, tmp_path: Path, space: Any, options: list[str], message: str
) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump({"space": space}), encoding="utf-8")
    command = ["tune", "--config", tiny_config, "--space", path, "--name", "wide", *options]
    assert main([*map(str, command), "--logs-dir", str(tmp_path / "logs")]) == 2
    *said, error = capsys.readouterr().err.splitlines()
    assert error == f"Error: the search space: {message}"
    go_on = f"python -m themo tune --resume wide --logs-dir {tmp_path / 'logs'}"
    assert f"To resume: {go_on}" in said
    assert not (tmp_path / "logs" / "tune" / "wide").exists()


# --- train and test ---


def test_the_line_of_a_report_fits_80_columns(capsys: Capture) -> None:
    names = ("train/loss", "val/loss", "val/match@01", "val/retrieval@01")
    metrics = {"epoch": 123.456, "pairs_per_second": 12345.6} | dict.fromkeys(names, 0.12344)
    _print_report(Report(metrics, is_best=True, is_last=False, save=lambda _: None), "val/retrieval@01")
    line = "epoch 123.46  train/loss 0.1234  val/loss 0.1234  val/retrieval@01 0.1234  best"
    assert capsys.readouterr().err == line + "\n"
    assert len(line) < 80


def table(version: Path) -> list[dict[str, str]]:
    with (version / "metrics.csv").open(encoding="utf-8", newline="") as file:
        times = ("seconds", "training_seconds", "pairs_per_second")
        return [{k: v for k, v in row.items() if k not in times} for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "999"], "training.batch_size must be at most the 340 training pairs, got 999"),
        (["--hidden-size", "40"], "student.hidden_size must be a multiple of the head width 16, got 40"),
    ],
)
def test_a_refused_training_leaves_no_files(
    capsys: Capture, tiny_config: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    assert refusal(capsys, "train", "--config", tiny_config, *options) == message
    assert not list(tmp_path.glob("logs/*/*"))


@pytest.mark.slow  # MLflow takes seconds to begin
def test_train_and_repeat_from_its_config(capsys: Capture, tiny_config: Path, logs: Path) -> None:
    arguments = ["train", "--config", str(tiny_config), "--logs-dir", str(logs), "--experiment", "again"]
    assert main([*arguments, "--learn-rate", "8e-5"]) == 0
    out, err = capsys.readouterr()
    version = logs / "again" / "version_0"
    assert out.startswith(f"{version}  best val/match@01 0.")
    assert "python -m themo test" not in err  # these settings name no test images
    assert "mlflow ui --backend-store-uri sqlite:///" in err
    settings = yaml.safe_load((version / "config.yaml").read_text(encoding="utf-8"))
    assert settings["training"]["learn_rate"] == 8e-5
    assert main(["train", "--config", str(version / "config.yaml")]) == 0
    assert table(logs / "again" / "version_1") == table(version)
    for name in ("model.safetensors", "head.safetensors"):
        again, first = (logs / "again" / v / "student" / name for v in ("version_1", "version_0"))
        assert again.read_bytes() == first.read_bytes()


@pytest.mark.slow  # MLflow takes seconds to begin
def test_a_diverged_run(capsys: Capture, tiny_config: Path, logs: Path) -> None:
    arguments = ["--config", str(tiny_config), "--logs-dir", str(logs), "--learn-rate", "1e30"]
    assert main(["train", *arguments, "--experiment", "diverged"]) == 1
    assert list((logs / "diverged").iterdir()) == []  # there was no report
    err = capsys.readouterr().err
    assert re.search(r"^Failed: loss is .* at step \d+ \(learn_rate=.*e\+\d\d\)$", err, re.MULTILINE)
    assert "Traceback" not in err


def test_an_unreachable_server(
    capsys: Capture, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    message = refusal(capsys, "train", "--config", tiny_config)
    assert message.startswith(f"MLFLOW_TRACKING_URI: no MLflow server answers at {uri}: ")
    assert not (tmp_path / "logs").exists()
    assert not (tmp_path / "cache").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_data: TrainingData, request: Any) -> Path:
    """A version directory of an unfinished run; to be copied before it is damaged."""
    folder = tmp_path_factory.mktemp("trained")
    backbone, teacher, corpus_file = (
        request.getfixturevalue(name) for name in ("tiny_backbone", "tiny_teacher", "tiny_corpus")
    )
    tree = {
        "paths": {"cache_dir": str(folder / "cache"), "logs_dir": str(folder / "logs")},
        "data": {"corpus": [str(corpus_file)], "validation_pairs": 60},
        "teacher": {"architecture": str(teacher), "target": "embedding"},
        "student": {"backbone": str(backbone), "backbone_weights": False, "max_length": 16},
        "training": {"report_pairs": 200, "epochs": 2.0, "threads": 1, "device": "cpu"},
        "benchmarks": {"captions": str(folder), "images": str(folder)},
    }

    class Stop(Exception):  # noqa: N818 -- no error
        pass

    def report(last: Any) -> None:
        last.save(folder / "version")
        raise Stop

    with pytest.raises(Stop):
        train(Settings.model_validate(tree), tiny_data, report=report)
    return folder / "version"


DAMAGED_FOR_RESUME: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (
        lambda v: (v / "config.yaml").unlink(),
        "must be a version directory, but has no config.yaml",
    ),
    "a broken config": (lambda v: write(v / "config.yaml", b"a: [1"), "config.yaml:1: is not valid YAML"),
    "no checkpoint": (
        lambda v: shutil.rmtree(v / "checkpoint"),
        "must be a version directory, but has no checkpoint/",
    ),
    "a truncated checkpoint": (
        lambda v: os.truncate(v / "checkpoint" / "state.safetensors", 999),
        "checkpoint: is not a complete checkpoint: ",
    ),
    "broken progress": (
        lambda v: write(v / "checkpoint" / "progress.json", b"{"),
        "checkpoint: is not a complete checkpoint: ",
    ),
    "no student": (lambda v: shutil.rmtree(v / "student"), "but has no student/"),
    "a truncated student": (
        lambda v: os.truncate(v / "student" / "model.safetensors", 999),
        "the checkpoint does not match the settings: ",
    ),
}


@pytest.mark.slow  # MLflow takes seconds to begin
@pytest.mark.parametrize("case", DAMAGED_FOR_RESUME)
def test_resume_of_a_damaged_version(
    capsys: Capture, trained: Path, tmp_path: Path, logs: Path, case: str
) -> None:
    version = shutil.copytree(trained, tmp_path / "version")
    use_logs(version, logs)
    damage, message = DAMAGED_FOR_RESUME[case]
    damage(version)
    found = refusal(capsys, "train", "--resume", version)
    assert str(version) in found
    assert message in found


@pytest.mark.slow  # MLflow takes seconds to begin
@pytest.mark.parametrize("text", [b"", b"{", b"{}", b'{"last": {}}'])
def test_resume_needs_no_summary(
    capsys: Capture, trained: Path, tmp_path: Path, logs: Path, text: bytes
) -> None:
    """The file is written before the checkpoint, and restored from it."""
    version = shutil.copytree(trained, tmp_path / "version")
    use_logs(version, logs)
    write(version / "summary.json", text)
    assert main(["train", "--resume", str(version)]) == 0
    assert json.loads((version / "summary.json").read_text(encoding="utf-8"))["state"] == "finished"
    capsys.readouterr()
    assert "is finished" in refusal(capsys, "train", "--resume", version)


@pytest.mark.slow  # MLflow takes seconds to begin
def test_an_interrupted_run_resumes_in_mlflow(
    capsys: Capture, trained: Path, tmp_path: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = shutil.copytree(trained, tmp_path / "version")  # it does not tell its run
    use_logs(version, logs, "interrupted")
    left = logs / "tune" / "an earlier search"
    left.mkdir(parents=True)
    mark(left, Destination(None, "e"))

    def begin_and_stop(*arguments: Any, report: Callable[[Any], None], **options: Any) -> None:
        def report_and_stop(last: Any) -> None:
            report(last)
            raise KeyboardInterrupt

        train(*arguments, report=report_and_stop, **options)

    command = ["train", "--resume", str(version)]
    with monkeypatch.context() as patched:
        patched.setattr("themo.training.run.train_student", begin_and_stop)
        assert main(command) == 130
    assert states_of_runs(logs, "interrupted") == ["KILLED"]
    assert f"python -m themo send '{left}'" in capsys.readouterr().err
    shutil.rmtree(left)
    assert main(command) == 0
    assert states_of_runs(logs, "interrupted") == ["FINISHED"]
    assert "themo send" not in capsys.readouterr().err


@pytest.mark.parametrize("names_tests", [True, False])
def test_a_finished_run_is_not_resumed(
    capsys: Capture, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names_tests: bool
) -> None:
    """Interrupted after its last report, and while MLflow is waited for."""
    version = shutil.copytree(trained, tmp_path / "version")
    use_logs(version, tmp_path / "logs")
    if not names_tests:
        tree = yaml.safe_load((version / "config.yaml").read_text(encoding="utf-8"))
        tree["benchmarks"] = {"captions": None, "images": None}
        (version / "config.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    begun = shutil.copytree(version, tmp_path / "begun")

    def stop_after_the_last(*arguments: Any, **options: Any) -> None:
        train(*arguments, **options)
        raise KeyboardInterrupt

    tracking = MagicMock()
    tracking.return_value.__exit__.return_value = False
    monkeypatch.setattr("themo.training.run.Tracking", tracking)
    with monkeypatch.context() as patched:
        patched.setattr("themo.training.run.train_student", stop_after_the_last)
        assert main(["train", "--resume", str(version)]) == 130
    *_, last = capsys.readouterr().err.splitlines()
    test_it = f" To resume: python -m themo test --version-path {version}" if names_tests else ""
    assert last == f"Interrupted.{test_it}"
    tracking.return_value.__exit__.side_effect = KeyboardInterrupt
    assert main(["train", "--resume", str(begun)]) == 130
    out, err = capsys.readouterr()
    assert out.startswith(f"{begun}  best val/match@01 0.")
    assert err.splitlines()[-1] == f"Interrupted. To resume: python -m themo send {begun}"


def test_train_says_that_its_test_is_unrelated_to_the_corpus(
    capsys: Capture, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = shutil.copytree(trained, tmp_path / "version")
    use_logs(version, tmp_path / "logs")
    tracking = MagicMock()
    tracking.return_value.__exit__.return_value = False
    monkeypatch.setattr("themo.training.run.Tracking", tracking)
    monkeypatch.setattr("themo.config.worlds.note_on_tests", lambda _: "Note: unrelated")
    assert main(["train", "--resume", str(version)]) == 0
    lines = capsys.readouterr().err.splitlines()
    at = lines.index("Note: unrelated")
    assert lines[at + 1] == f"Test it:       python -m themo test --version-path {version}"


@pytest.mark.slow  # MLflow takes seconds to begin
def test_interrupted_before_the_first_report_is_restarted(
    capsys: Capture, tiny_config: Path, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("themo.training.run.train_student", stop)
    words = ["train", "--config", str(tiny_config), "--logs-dir", str(logs), "--experiment", "early"]
    assert main(words) == 130
    assert list((logs / "early").iterdir()) == []
    assert states_of_runs(logs, "early") == ["KILLED"]
    *_, last = capsys.readouterr().err.splitlines()
    assert last == f"Interrupted. To resume: python -m themo {shlex.join(words)}"


def use_logs(version: Path, logs: Path, experiment: str = "resumed") -> None:
    tree = yaml.safe_load((version / "config.yaml").read_text(encoding="utf-8"))
    tree["paths"] |= {"logs_dir": str(logs), "experiment": experiment}
    (version / "config.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")


DAMAGED_FOR_TEST: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing there": (shutil.rmtree, "must be a version directory, but does not exist"),
    "no test data": (lambda _: None, "test_image_names.txt"),
}


@pytest.mark.slow  # MLflow takes seconds to begin
@pytest.mark.parametrize("case", DAMAGED_FOR_TEST)
def test_of_a_damaged_version(capsys: Capture, trained: Path, tmp_path: Path, logs: Path, case: str) -> None:
    version = shutil.copytree(trained, tmp_path / "version")
    damage, message = DAMAGED_FOR_TEST[case]
    damage(version)
    assert message in refusal(capsys, "test", "--version-path", version, "--logs-dir", logs)
    assert not (version / "test.json").exists()


# --- whole commands ---


def themo(*arguments: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [*warm_start.PYTHON, "-m", "themo", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=500)


def start(*arguments: object, cwd: Path) -> "subprocess.Popen[bytes]":
    """A command whose standard error goes to a file."""
    command = [*warm_start.PYTHON, "-m", "themo", *map(str, arguments)]
    with (cwd / "stderr").open("wb") as said:
        return subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=said)


@pytest.mark.slow
def test_the_miniature_from_prepare_to_test(tiny_miniature: Path, tmp_path: Path) -> None:
    prepared = themo("prepare", "--config", tiny_miniature, "--json", cwd=tmp_path)
    assert prepared.returncode == 0, prepared.stderr
    assert json.loads(prepared.stdout)["dimension"] == 64
    trained = themo("train", "--config", tiny_miniature, "--learn-rate", "8e-5", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    version = tmp_path / "logs" / "miniature" / "version_0"
    assert trained.stdout.startswith(str(version))
    tested = themo("test", "--version-path", version, "--baseline", "--json", cwd=tmp_path)
    assert tested.returncode == 0, tested.stderr
    scores = json.loads(tested.stdout)
    assert scores == json.loads((version / "test.json").read_text(encoding="utf-8"))
    assert set(scores) >= {"student", "ceiling", "n", "ci95"}
    assert set(scores["student"]) == {
        f"{task}@{k}" for task in ("retrieval", "accuracy") for k in ("01", "05", "10")
    }
    table_of = themo("test", "--version-path", version, "--task", "retrieval", cwd=tmp_path)
    assert {"Retrieval", "student", "ceiling", "@01", "@05", "@10"} <= set(table_of.stdout.split())
    assert "Accuracy" not in table_of.stdout
    baseline = themo("test", "--config", tiny_miniature, "--baseline", cwd=tmp_path)
    assert baseline.returncode == 0, baseline.stderr
    assert "student" not in baseline.stdout
    assert not (tmp_path / "mlflow.db").exists()  # it lies with the logs


# what mlflow and sqlalchemy do among themselves
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.slow
def test_a_killed_run_is_resumed_to_the_same_end(tiny_config: Path, tmp_path: Path) -> None:
    """SIGKILL at random moments: all files are readable, and the result is that of an undisturbed run."""
    arguments = ["--config", tiny_config, "--epochs", "24", "--dropout", "0.1"]
    whole = themo("train", *arguments, "--experiment", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    version = tmp_path / "logs" / "cut" / "version_0"
    process = start("train", *arguments, "--experiment", "cut", cwd=tmp_path)
    kills = 0
    for _ in range(3):
        known = checkpoint_time(version)
        while checkpoint_time(version) == known and process.poll() is None:
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        load_student(find_part(version, "student"))
        process = start("train", "--resume", version, cwd=tmp_path)
    assert process.wait(timeout=500) == 0
    assert kills == 3
    expected = tmp_path / "logs" / "whole" / "version_0"
    assert table(version) == table(expected)
    for name in ("model.safetensors", "head.safetensors"):
        assert (version / "student" / name).read_bytes() == (expected / "student" / name).read_bytes()
    said, logs = (tmp_path / "stderr").read_text(), tmp_path / "logs"
    assert marked(logs) == [] or "are not all sent yet; send them with: python -m themo send" in said
    assert states_of_runs(logs, "cut") == ["FINISHED"]
    assert marked(logs) == []


def states_of_runs(logs: Path, experiment: str) -> list[str]:
    """Statuses of an MLflow experiment's runs, after all queued records have been sent."""
    from mlflow import MlflowClient

    for left in marked(logs):
        if left.parent.name == experiment:
            send_version(left, 300)
    client = MlflowClient(f"sqlite:///{logs / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return [run.info.status for run in found]


def checkpoint_time(version: Path) -> int:
    try:
        return (version / "checkpoint" / "progress.json").stat().st_mtime_ns
    except OSError:
        return 0


# what mlflow and sqlalchemy do among themselves
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "Interrupted"),
        (signal.SIGTERM, 143, "Terminated"),
        (signal.SIGHUP, 129, "The terminal was closed"),
    ],
)
def test_interrupted(tiny_config: Path, tmp_path: Path, number: int, code: int, said: str) -> None:
    """Ctrl-C or a kill: exit code, command to resume, and a final status in MLflow."""
    command = [*warm_start.PYTHON, "-m", "themo", "train", "--config", str(tiny_config), "--epochs", "3000"]
    # where these tests run in the background of a shell, they, and so their children, ignore Ctrl-C
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    version = tmp_path / "logs" / "tiny" / "version_0"
    while not checkpoint_time(version):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    err = process.communicate(timeout=300)[1]
    assert process.returncode == code
    assert err.splitlines()[-1] == f"{said}. To resume: python -m themo train --resume logs/tiny/version_0"
    assert "Traceback" not in err
    assert states_of_runs(tmp_path / "logs", "tiny") == ["KILLED"]


@pytest.mark.slow
def test_own_corpus_and_own_targets(tiny_config: Path, tmp_path: Path) -> None:
    path = write_tsv(tmp_path / "own.tsv", sentence_pairs())
    np.save(tmp_path / "own.npy", np.random.default_rng(0).normal(size=(400, 6)).astype(np.float16))
    done = themo(
        "train", "--config", tiny_config, "--corpus", path, "--targets", tmp_path / "own.npy", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    student, _ = load_student(tmp_path / "logs" / "tiny" / "version_0" / "student")
    assert student.head.dimension == 6
