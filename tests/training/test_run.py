"""`themo.train` and `themo.prepare`."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import themo
from themo.checkpoints.versions import is_training, read_summary, training_lock
from themo.config.settings import known_leaves
from themo.data.dataset import TrainingData
from themo.tracking.connection import open_experiment
from themo.tracking.mirror import Mirror
from themo.tracking.unsent import Destination, is_marked, mark
from themo.training.request import settings_of_run
from themo.training.run import training_run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # MLflow's


def test_training_returns_its_version_and_its_best(
    tiny_config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[themo.Report] = []
    result = themo.train(config=tiny_config, learn_rate=1e-3, report=seen.append)
    assert capfd.readouterr().out == ""
    assert result.version == tmp_path / "logs" / "tiny" / "version_0"
    assert result.state == "finished"
    assert result.reports == [report.metrics for report in seen]
    best = result.best
    assert best.score == best.metrics["val/match@01"] == max(r["val/match@01"] for r in result.reports)
    assert best.settings["learn_rate"] == 1e-3
    assert repr(result) == (
        f"<themo.TrainResult {str(result.version)!r}: best val/match@01 {best.score:.4f}, finished>"
    )
    assert best.load(device="cpu").encode("el perro").shape == (12,)
    assert (tmp_path / "logs" / "mlflow.db").exists()


def test_a_callback_stops_a_run_that_may_be_resumed(tiny_config: Path, tiny_data: TrainingData) -> None:
    stopped = themo.train(config=tiny_config, data=tiny_data, mlflow=False, report=lambda _: "stop")
    assert (stopped.state, len(stopped.reports)) == ("stopped early", 1)
    assert read_summary(stopped.version)["state"] == "stopped early"
    resumed = themo.train(resume=str(stopped.version), data=tiny_data, mlflow=False)
    whole = themo.train(config=str(tiny_config), data=tiny_data, mlflow=False)
    assert (resumed.version, resumed.state) == (stopped.version, "finished")
    assert resumed.best.metrics == whole.best.metrics
    np.testing.assert_array_equal(
        resumed.best.load().encode("el perro"), whole.best.load().encode("el perro")
    )


def test_a_version_that_another_process_trains_is_refused(tiny_config: Path, tiny_data: TrainingData) -> None:
    begun = themo.train(config=tiny_config, data=tiny_data, mlflow=False, report=lambda _: "stop")
    assert not is_training(begun.version)
    with (
        training_lock(begun.version),
        pytest.raises(themo.InputError, match=r"^--resume .*version_0: another process trains it$"),
    ):
        themo.train(resume=begun.version, data=tiny_data, mlflow=False)
    trained: list[bool] = []
    themo.train(
        resume=begun.version,
        data=tiny_data,
        mlflow=False,
        report=lambda _: trained.append(is_training(begun.version)),
    )
    assert all(trained)
    assert trained
    assert not (begun.version / ".lock").exists()


def test_stop_at_the_last_report_is_a_finished_run(tiny_config: Path, tiny_data: TrainingData) -> None:
    def report(now: themo.Report) -> str | None:
        return "stop" if now.is_last else None

    result = themo.train(config=tiny_config, data=tiny_data, mlflow=False, report=report)
    assert result.state == "finished"


def test_a_known_database_gets_its_runs_after_the_first_step(
    tiny_config: Path, tiny_data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    themo.train(config=tiny_config, data=tiny_data, epochs=0.1)
    asked, connect = [], Mirror.connect

    def note(mirror: Mirror) -> Any:
        asked.append(mirror)
        return connect(mirror)

    monkeypatch.setattr(Mirror, "connect", note)
    with training_run(settings_of_run(tiny_config, None, {"epochs": 0.1}, None), data=tiny_data) as run:
        assert not asked
        run.train()
    database = f"sqlite:///{tmp_path / 'logs' / 'mlflow.db'}"
    client, experiment = open_experiment(database, "tiny")
    assert [known.info.status for known in client.search_runs([experiment])] == ["FINISHED"] * 2


def test_a_deleted_experiment_is_refused_before_training(
    tiny_config: Path, tiny_data: TrainingData, tmp_path: Path
) -> None:
    themo.train(config=tiny_config, data=tiny_data, epochs=0.1)
    client, experiment = open_experiment(f"sqlite:///{tmp_path / 'logs' / 'mlflow.db'}", "tiny")
    client.delete_experiment(experiment)
    with pytest.raises(themo.InputError, match=r"MLflow experiment 'tiny' at .* was deleted"):
        themo.train(config=tiny_config, data=tiny_data, report=lambda _: pytest.fail("trained"))


def test_without_mlflow_no_database_is_made(
    tiny_config: Path, tiny_data: TrainingData, tmp_path: Path
) -> None:
    themo.train(config=tiny_config, data=tiny_data, mlflow=False, epochs=0.5)
    assert not (tmp_path / "logs" / "mlflow.db").exists()


def test_a_run_without_a_report_leaves_no_mark(tiny_config: Path, tiny_data: TrainingData) -> None:
    chosen = settings_of_run(tiny_config, None, {}, None)
    with training_run(chosen, data=tiny_data, mlflow=False) as run:
        mark(run.version, Destination(None, "tiny"))
        assert is_marked(run.version)
    assert not run.version.exists()


def test_a_quiet_run_prints_nothing(
    tiny_config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    import mlflow  # noqa: F401  # as a program may that logs runs of its own

    data = themo.prepare(config=tiny_config, cache_dir=tmp_path / "other", quiet=True)
    with caplog.at_level(logging.INFO, logger="mlflow"):  # MLflow's default
        themo.train(config=tiny_config, data=data, epochs=0.5, quiet=True)
    assert capfd.readouterr() == ("", "")
    assert len(data.train) > len(data.validation)


def test_an_error_in_a_callback_leaves_a_version_to_resume(
    tiny_config: Path, tiny_data: TrainingData, tmp_path: Path
) -> None:
    def fail(_: themo.Report) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        themo.train(config=tiny_config, data=tiny_data, mlflow=False, report=fail)
    version = tmp_path / "logs" / "tiny" / "version_0"
    assert themo.train(resume=version, data=tiny_data, mlflow=False).state == "finished"


@pytest.mark.parametrize("part", ["best", "trials/session-1/trial-0003/checkpoint_000002"])
def test_a_part_of_a_search_is_not_resumed_alone(
    tiny_config: Path,
    tiny_data: TrainingData,
    tmp_path: Path,
    part: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = themo.train(config=tiny_config, data=tiny_data, mlflow=False, report=lambda _: "stop")
    search = tmp_path / "logs" / "tune" / "mine"
    (search / part).parent.mkdir(parents=True)
    (search / "search.yaml").write_text("name: mine\nuid: u\n", encoding="utf-8")
    version = begun.version.rename(search / part)
    rule = (
        f"--resume {version}: is part of a search: resume the search by python -m themo tune --resume mine "
        f"--logs-dir {tmp_path}/logs, or train a version with its settings by python -m themo train "
        f"--config {version}/config.yaml"
    )
    with pytest.raises(themo.InputError, match=f"^{re.escape(rule)}$"):
        themo.train(resume=version, data=tiny_data, mlflow=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(themo.InputError, match="themo tune --resume mine, or train"):
        themo.train(resume=version, data=tiny_data, mlflow=False)
    (search / "search.yaml").unlink()
    if part != "best":  # as below `--storage-path`
        with pytest.raises(themo.InputError, match="themo tune --resume NAME, or train"):
            themo.train(resume=version, data=tiny_data, mlflow=False)
        version = version.rename(tmp_path / "copy")
    assert (
        themo.train(resume=version, data=tiny_data, mlflow=False).state == "finished"
    )  # a version of its own


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown setting": ({"bach_size": 3}, r"unknown setting 'bach_size' \(did you mean 'batch_size'\?\)"),
    "bad value": ({"batch_size": 0}, "--batch-size: must be greater than or equal to 1, got 0"),
    "two sources": ({"preset": "miniature"}, "--config and --preset cannot be combined"),
    "no such file": ({"config": "nosuch.yaml"}, r"nosuch\.yaml"),
    "settings of a resume": ({"resume": "v", "config": None, "seed": 1}, "--resume uses the settings"),
    "nothing to resume": ({"resume": "v", "config": None}, "v: must be a version directory"),
    "a toy teacher": ({"config": None, "corpus": ["a.tsv"]}, "--corpus a.tsv needs a teacher"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_one_line(tiny_config: Path, tmp_path: Path, case: str) -> None:
    given, message = REFUSED[case]
    with pytest.raises(themo.InputError, match=message) as refusal:
        themo.train(**{"config": tiny_config} | given)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("answer", [True, "Stop", 1, False])
def test_other_answers_of_a_callback_are_refused(
    tiny_config: Path, tiny_data: TrainingData, answer: Any
) -> None:
    with pytest.raises(themo.InputError, match=f"report must return None or 'stop', got {answer!r}"):
        themo.train(config=tiny_config, data=tiny_data, mlflow=False, report=lambda _: answer)


@pytest.mark.parametrize("function", [themo.train, themo.prepare, themo.tune])
def test_no_argument_has_the_name_of_a_setting(function: Callable[..., object]) -> None:
    names = {n for n, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert names
    assert not names & known_leaves().keys()


def test_the_top_level_lists_its_names() -> None:
    assert set(themo.__all__) <= set(dir(themo))
    for name in themo.__all__:
        assert getattr(themo, name) is not None
    with pytest.raises(AttributeError, match="module 'themo' has no attribute 'tain'"):
        themo.tain  # noqa: B018
