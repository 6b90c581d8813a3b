"""Searches on a real Ray cluster, over a formula in place of training."""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import formula_device
import formula_storage
import pytest
import warm_start
from away_storage import AWAY, fail_from_uri
from clusters import PATH, one_machine
from filelock import FileLock
from formula_search import a_search, no_data
from formula_training import REPORTS, SECONDS_VARIABLE, height, train
from machines import head
from optuna.trial import TrialState

from themo.config.settings import Settings, load
from themo.data.dataset import TrainingData
from themo.errors import InputError
from themo.files import disk_space
from themo.files.disk_space import Patience
from themo.tracking.comparison import VIEW_TAG
from themo.tracking.unsent import marked
from tune.cluster.connection import ClusterError
from tune.cluster.resources import Resources
from tune.cluster.storage import Storage
from tune.driver import outcome, session
from tune.driver.checkpoints import checkpoints_to_keep
from tune.driver.outcome import TimeIsUpError, finish
from tune.driver.session import run_search
from tune.driver.session_state import SessionState
from tune.results.best_trials import SearchResult
from tune.results.mlflow_runs import axes_of
from tune.results.parent_run import send_search
from tune.searchers.history import to_optuna
from tune.space.search_space import from_tree
from tune.study.growth import grow
from tune.study.search import Search, has_pairs, new_search, read_search
from tune.study.study import Study
from tune.study.work_time import most_at_once

if TYPE_CHECKING:
    from mlflow import MlflowClient

# what mlflow, sqlalchemy and ray do among themselves
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def test_a_second_process_is_refused(tmp_path):
    search = a_search(tmp_path, "mine", Resources())
    with (
        FileLock(tmp_path / "tune" / "mine" / ".lock"),
        pytest.raises(InputError, match=r"--resume: another process runs the search at .*mine"),
    ):
        run_search(search, no_data, train)


@pytest.mark.parametrize(
    ("begun", "address", "device", "machines"),
    [
        (False, "head:6379", "auto", [{}]),
        (True, None, "auto", [{}]),
        (True, "head:6379", "auto", [{}, {"CPU": 1.0}]),
        (True, "head:6379", "cuda", [{}, {"CPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}]),
    ],
)
def test_a_resumed_search_waits_for_the_machines_of_its_cluster(
    tmp_path, monkeypatch, begun, address, device, machines
):
    back = iter(machines)
    there = [next(back)]
    cluster = argparse.Namespace(machines=lambda: dict(enumerate(there)), dashboard=None)

    def later(_: float) -> None:
        there.append(next(back))

    class RoomError(Exception):
        pass

    def has_room(*_: object) -> None:
        raise RoomError

    monkeypatch.setattr(session, "connect", lambda *_: nullcontext(cluster))
    monkeypatch.setattr(session, "_refuse_unshared", has_room)  # the next that asks machines for anything
    clock = argparse.Namespace(monotonic=time.monotonic, sleep=later)
    monkeypatch.setattr("tune.cluster.slots.time", clock)
    search = a_search(tmp_path, "mine", Resources(address=address))
    search = replace(search, settings=search.settings.override({"device": device}))
    if begun:
        folder = tmp_path / "tune" / "mine"
        folder.mkdir(parents=True, exist_ok=True)
        Study(folder / "study.json", search.mode).add({"learn_rate": 1e-3})
    refusal = pytest.raises(InputError, match=r"--cpus-per-trial must be at most 0, .* got 1")
    with pytest.raises(RoomError) if len(machines) > 1 else refusal:
        run_search(search, _unasked, train)
    assert next(back, None) is None


def test_preparation_counts_in_the_time_budget(tmp_path, monkeypatch):
    now = 100.0
    cluster = argparse.Namespace(machines=lambda: {"here": {"CPU": 4.0}}, dashboard=None)

    def prepare(settings: Settings) -> TrainingData:
        nonlocal now
        now += 61.0
        return no_data(settings)

    monkeypatch.setattr("tune.driver.stoppers.time", argparse.Namespace(monotonic=lambda: now))
    tracking = argparse.Namespace(experiment_id="1")
    monkeypatch.setattr(session, "Tracking", lambda *_, **__: nullcontext(tracking))
    monkeypatch.setattr(session, "connect", lambda *_: nullcontext(cluster))
    monkeypatch.setattr(session, "Loop", None)  # no trial may start
    search = a_search(tmp_path, "mine", Resources())
    with pytest.raises(TimeIsUpError, match=r"first checkpoint in time: .* --resume mine$"):
        run_search(search, prepare, train, time_budget=60.0)
    assert now == 161.0
    assert len(Study.reopen(search.folder / "study.json")) == 0


def test_a_wait_for_machines_takes_the_rest_of_the_budget(tmp_path, monkeypatch):
    now, waits = 100.0, []

    class WaitError(Exception):
        pass

    def connect(*_: object) -> object:
        nonlocal now
        now += 20.0
        return nullcontext(None)

    def slots(*_: object, wait: float) -> None:
        waits.append(wait)
        raise WaitError

    monkeypatch.setattr("tune.driver.stoppers.time", argparse.Namespace(monotonic=lambda: now))
    tracking = argparse.Namespace(experiment_id="1")
    monkeypatch.setattr(session, "Tracking", lambda *_, **__: nullcontext(tracking))
    monkeypatch.setattr(session, "connect", connect)
    monkeypatch.setattr(session, "Slots", slots)
    search = a_search(tmp_path, "mine", Resources(address="head:6379"))
    Study(search.folder / "study.json", search.mode).add({"learn_rate": 1e-3})
    with pytest.raises(WaitError):
        run_search(search, _unasked, train, time_budget=60.0)
    assert waits == [40.0]


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.timeout(1500)
def test_a_search_resumed_before_its_worker_is_back(tmp_path):
    with head(cpus=0) as cluster:
        resources = Resources(max_concurrent=1, address=cluster.joining["RAY_ADDRESS"])
        search = a_search(tmp_path, "mine", resources, num_samples=1)
        study = Study(tmp_path / "tune" / "mine" / "study.json", search.mode)
        study.add({"learn_rate": 1e-3, "batch_size": 32, "weight_decay": 0.1, "warmup_steps": 10})
        process = _start(tmp_path, "--resume", seconds=0.0, **cluster.joining)
        assert process.stderr is not None
        assert "the search waits for one" in process.stderr.readline()
        with cluster.worker(PYTHONPATH=PATH):
            _, told = process.communicate(timeout=500)
    assert process.returncode == 0, told
    assert "The cluster has room for trials again" in told
    assert Study.reopen(tmp_path / "tune" / "mine" / "study.json").counts()["COMPLETE"] == 1


@dataclass(frozen=True)
class Searched:
    search: Search
    result: SearchResult
    study: Study
    logs_dir: Path

    @property
    def folder(self) -> Path:
        return self.result.folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with one_machine(num_cpus=2):
        yield


@pytest.fixture(scope="module")
def searched(cluster, tmp_path_factory) -> Searched:
    return _run(tmp_path_factory.mktemp("searched"), Resources())


@pytest.fixture(scope="module")
def in_one_slot(cluster, tmp_path_factory) -> Searched:
    return _run(tmp_path_factory.mktemp("in-one-slot"), Resources(max_concurrent=1))


def _run(logs_dir: Path, resources: Resources, **changes: object) -> Searched:
    search = a_search(logs_dir, "mine", resources, **changes)
    result = run_search(search, no_data, train)
    return Searched(search, result, Study.reopen(result.folder / "study.json"), logs_dir)


@pytest.mark.slow
def test_ctrl_c_after_a_search_is_not_swallowed(cluster, tmp_path):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run_search(a_search(tmp_path, "mine", Resources(), num_samples=2), no_data, train)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_no_resume_while_the_results_are_written(cluster, tmp_path, monkeypatch):
    search = a_search(tmp_path, "mine", Resources(), num_samples=1)
    write_winner, written = outcome.write_winner, []

    def write(*arguments: Any) -> None:
        with pytest.raises(InputError, match="another process runs the search"):
            grow(search, 40)
        write_winner(*arguments)
        written.append(arguments)

    monkeypatch.setattr(outcome, "write_winner", write)
    run_search(search, no_data, train)
    assert len(written) == 1
    assert grow(search, 40).space.search.num_samples == 40


@pytest.mark.slow
def test_every_trial_is_accounted_for(searched):
    assert len(searched.study) == 8
    assert searched.study.counts()["RUNNING"] == 0
    assert searched.result.counts == searched.study.counts()
    assert searched.result.slots == 2
    assert 0 < searched.result.busy <= 1
    with (searched.folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == [trial.state for trial in searched.study]


@pytest.mark.slow
def test_a_trial_whose_worker_died_ends_as_if_it_had_not(searched):
    trial = searched.study[0]
    assert trial.state == "COMPLETE"
    whole = height(searched.search.settings.override(trial.params))
    assert trial.values == {100 * step: whole * step / REPORTS for step in range(1, REPORTS + 1)}


@pytest.mark.slow
def test_optuna_prunes_a_stopped_trial_with_its_reports(in_one_slot):
    trial = next(trial for trial in in_one_slot.study if trial.reason == "stopped at 100 pairs")
    assert trial.state == "PRUNED"
    seen = to_optuna(in_one_slot.search.space, in_one_slot.study).trials[trial.number]
    assert seen.state == TrialState.PRUNED
    assert list(seen.intermediate_values) == [100]


@pytest.mark.slow
def test_trusted_settings_are_trained_to_their_ends(in_one_slot):
    good, worse = in_one_slot.study[0], in_one_slot.study[1]
    assert worse.state == "COMPLETE"
    assert worse.values[100] < good.values[100]


@pytest.mark.slow
def test_a_diverged_trial_fails_and_says_why(searched):
    trial = searched.study[2]
    assert (trial.state, trial.reason) == ("FAIL", "diverged: loss is nan at step 2 (learn_rate=1.0e-03)")
    assert to_optuna(searched.search.space, searched.study).trials[2].state == TrialState.FAIL
    assert not (searched.folder / "failures" / "trial-0002.txt").exists()


@pytest.mark.slow
def test_a_raising_trial_fails_alone_with_its_traceback(searched):
    trial = searched.study[3]
    assert (trial.state, trial.reason) == ("FAIL", "RuntimeError: a bug")
    assert "formula_training.py" in (searched.folder / "failures" / "trial-0003.txt").read_text()


@pytest.mark.slow
def test_the_winner_is_left_as_settings_and_as_a_version(searched):
    assert searched.result.best.number == 0
    assert searched.result.value == 1.0
    settings = load(config=searched.folder / "best.yaml")
    assert settings == searched.search.settings.override(searched.study[0].params)
    assert load(config=searched.folder / "best" / "config.yaml") == settings
    assert json.loads((searched.folder / "best" / "progress.json").read_text())["step"] == REPORTS
    assert searched.result.to_json()["best"]["trial"] == 0


@pytest.mark.slow
def test_a_trial_keeps_its_newest_version_only_and_ray_no_state(searched):
    for trial in searched.study:
        # a trial whose worker died resumed in another folder
        kept = list((searched.folder / "trials").glob(f"session-*/trial-{trial.number:04d}*/checkpoint_*"))
        assert [str(path.relative_to(searched.folder / "trials")) for path in kept] == (
            [trial.checkpoint] if trial.checkpoint else []
        )
    assert not list((searched.folder / "trials").rglob("*.pkl"))


@pytest.mark.slow
def test_mlflow_has_one_parent_and_one_child_a_trial(searched):
    client = _mlflow(searched.logs_dir)
    experiment = client.get_experiment_by_name("default")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    parent = runs.pop("mine")
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["best/val/match_at_01"] == 1.0
    assert set(runs) == {f"trial {trial.number} of mine" for trial in searched.study}
    statuses = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
    for trial in searched.study:
        run = runs[f"trial {trial.number} of mine"]
        assert run.info.status == statuses[trial.state]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert set(run.data.params) == {*trial.params, "log10_learn_rate"}
        if trial.values:
            history = client.get_metric_history(run.info.run_id, "val/match_at_01")
            assert {entry.step: entry.value for entry in history} == trial.values
    view = json.loads(experiment.tags[f"{VIEW_TAG}{read_search(searched.folder).uid}"])
    found = client.search_runs([experiment.experiment_id], view["searchFilter"])
    assert {run.info.run_name for run in found} == set(runs)
    axes = axes_of(
        [trial.params for trial in searched.study if trial.values], searched.search.space.dimensions
    )
    assert len(axes) > 1
    assert view["compareRunCharts"][0]["selectedParams"] == axes
    assert len(client.get_metric_history(runs["trial 0 of mine"].info.run_id, "val/match_at_01")) == REPORTS


@pytest.mark.slow
def test_too_many_gpus_are_refused_before_preparing_data(cluster, tmp_path):
    search = a_search(tmp_path, "mine", Resources(gpus_per_trial=1))
    with pytest.raises(InputError, match=r"--gpus-per-trial must be at most 0, .* got 1"):
        run_search(search, _unasked, train)
    assert len(Study.reopen(tmp_path / "tune" / "mine" / "study.json")) == 0


@pytest.mark.slow
def test_training_on_gpus_is_refused_where_the_cluster_has_none(cluster, tmp_path):
    search = a_search(tmp_path, "mine", Resources())
    search = replace(search, settings=search.settings.override({"device": "cuda"}))
    with pytest.raises(InputError, match=r"--gpus-per-trial must be above 0, .* --device is cuda, got 0"):
        run_search(search, _unasked, train)


@pytest.mark.slow
def test_a_search_without_a_good_trial_says_so(cluster, tmp_path):
    search = a_search(tmp_path, "mine", Resources())
    only_bad = replace(
        search.space,
        first=search.space.first[3:],
        search=search.space.search.model_copy(update={"num_samples": 1}),
    )
    with pytest.raises(RuntimeError, match=r"all 1 trials failed; .*RuntimeError: a bug"):
        run_search(replace(search, space=only_bad), no_data, train)


@pytest.mark.slow
def test_a_broken_gpu_ends_the_session_and_not_the_search(cluster, tmp_path):
    search = a_search(tmp_path, "mine", Resources(max_concurrent=1), scheduler="none")
    good = {"learn_rate": 1e-3, "weight_decay": 0.1, "warmup_steps": 10}
    settings = search.space.search.model_copy(update={"max_failures": 0})
    search = replace(search, space=replace(search.space, first=(good,) * 8, search=settings))
    with pytest.raises(ClusterError) as caught:
        run_search(search, no_data, formula_device.train)
    folder = tmp_path / "tune" / "mine"
    said = rf"5 trials died or failed on [0-9.]+ without a report in between: see {folder}/failures"
    assert re.fullmatch(said, str(caught.value))
    study = Study.reopen(folder / "study.json")
    assert [trial.state for trial in study][:5] == ["FAIL"] * 5
    assert len(study) in (5, 6)  # another may have been begun
    assert study[0].reason.endswith("DeviceError: CUDA error: an illegal memory access was encountered")
    assert _statuses(tmp_path)["mine"] == "KILLED"
    assert run_search(search, no_data, train).counts["COMPLETE"] == 3


@pytest.mark.slow
def test_a_storage_that_fails_once_costs_one_retry(cluster, tmp_path):
    search = a_search(tmp_path, "mine", Resources(), num_samples=1)
    good = {"learn_rate": 1e-3, "weight_decay": 0.1, "warmup_steps": 10}
    search = replace(search, space=replace(search.space, first=(good,)))
    result = run_search(search, no_data, formula_storage.train)
    assert (result.best.state, result.best.pairs_seen) == ("COMPLETE", 100 * REPORTS)
    whole = height(search.settings.override(result.best.params))
    assert result.best.values == {100 * step: whole * step / REPORTS for step in range(1, REPORTS + 1)}
    account = (result.folder / "failures" / "trial-0000.txt").read_text()
    assert "StorageError: a report cannot be stored: " in account


def test_a_session_waits_for_an_unreachable_storage(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(disk_space, "SECONDS_BETWEEN_TRIES", 0.001)
    search = a_search(tmp_path, "mine", Resources(storage_path=str(tmp_path / "share")))
    fail_from_uri(monkeypatch, [OSError(AWAY)] * 2)
    storage = SessionState.of(search).storage
    assert storage.root == f"{tmp_path}/share/mine-{search.uid}"
    assert capsys.readouterr().err == f"Warning: waiting for the storage: {AWAY}\n"


@pytest.mark.parametrize(
    ("n_failed", "ended"),
    [
        (0, "no trial reached its first checkpoint in time"),
        (1, "no trial reached its first checkpoint in time, 1 failed (RuntimeError: a bug)"),
    ],
)
def test_a_time_budget_without_a_good_trial_names_the_resume(tmp_path, n_failed, ended):
    search, study = a_search(tmp_path, "mine", Resources()), Study(None, "max")
    for _ in range(n_failed + 2):  # the last one is under way
        study.add({})
    study[0].state, study[0].reason = "PAUSED", "paused at 20,000 pairs"
    for number in range(1, n_failed + 1):
        study.finish(number, "FAIL", "RuntimeError: a bug")
    with pytest.raises(InputError) as caught:
        finish(SessionState(search, study, Storage(str(search.folder / "trials")), Patience()), 1)
    assert str(caught.value) == f"--time-budget: {ended}: continue with --resume mine"


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_search_out_of_time_reports_and_resumes_to_equal_ends(in_one_slot, tmp_path):
    ends: list[str] = []
    seconds = 4.5
    while not ends or ends[-1] != "whole":
        seconds *= 2  # a crowded machine needs long for the first trial
        process = _start(tmp_path, f"time_budget={seconds}", *(["--resume"] if ends else []))
        out, err = process.communicate(timeout=500)
        if process.returncode == 2:
            assert "--time-budget: no trial reached its first checkpoint in time: " in err
            out = "nothing yet\n"
        else:
            assert process.returncode == 0, err
            assert (tmp_path / "tune" / "mine" / "best" / "config.yaml").exists()
        ends += out.splitlines()
        statuses = _statuses(tmp_path)
        if len(Study.read(tmp_path / "tune" / "mine" / "study.json")):  # else the start took all the time
            assert statuses["mine"] == ("FINISHED" if ends[-1] == "whole" else "KILLED")
        assert "RUNNING" not in statuses.values()
    assert len(ends) > 1, "it was never cut"
    assert _facts(tmp_path / "tune" / "mine") == _facts(in_one_slot.folder)


@pytest.mark.slow
def test_a_search_ends_when_trials_gain_nothing(cluster, tmp_path):
    search = a_search(tmp_path, "mine", Resources(max_concurrent=1), num_samples=50, stop_after_no_gain=3)
    result = run_search(search, no_data, train)
    study = Study.reopen(result.folder / "study.json")
    assert result.is_whole
    assert len(study) < 50
    assert [trial.number for trial in study][-3:] == [result.best.number + n for n in (1, 2, 3)]
    more = grow(search, stop_after_no_gain=6)
    assert len(Study.reopen(run_search(more, no_data, train).folder / "study.json")) >= len(study) + 3


@pytest.mark.slow
def test_a_search_ends_when_a_gain_is_unlikely(cluster, tmp_path, capsys):
    limits = {"num_samples": 30, "searcher": "random", "stop_gain": 0.01, "stop_chance": 0.5}
    search = a_search(tmp_path, "mine", Resources(max_concurrent=1), **limits)
    result = run_search(search, no_data, train)
    assert result.is_whole
    n_begun = sum(result.counts.values())
    assert 9 <= n_begun < 30
    assert result.early_end.n_left == 30 - n_begun
    assert result.to_json()["early_end"]["chance"] == result.early_end.chance < 0.5
    assert result.early_end.line(search.objective) in capsys.readouterr().err
    more = run_search(grow(search, stop_chance=0.1), no_data, train)
    assert sum(more.counts.values()) > n_begun


@pytest.mark.slow
def test_resuming_a_finished_search_reports_also_to_mlflow(searched, monkeypatch):
    client = _mlflow(searched.logs_dir)
    experiment = client.get_experiment_by_name("default")
    before = {run.info.run_id: run for run in client.search_runs([experiment.experiment_id])}
    for run_id, run in before.items():
        # as a kill leaves them that comes at the very end
        if run.info.run_name in ("mine", "trial 0 of mine"):
            client.update_run(run_id, status="RUNNING")
    trials = searched.folder / "trials"
    half = trials / "session-1" / "trial-0000" / "checkpoint_000099"  # a driver died before it was entered
    half.mkdir(parents=True)
    monkeypatch.setattr("tune.driver.session.connect", lambda *_: pytest.fail("it needs no cluster"))
    again = run_search(read_search(searched.folder), _unasked, train)
    kept = {str(path.relative_to(trials)) for path in trials.rglob("checkpoint_*")}
    assert kept == checkpoints_to_keep(searched.study)
    assert again.best == searched.study[0]
    assert again.counts == searched.result.counts
    assert again.slots == most_at_once(searched.study)  # whatever this machine could hold
    client = _mlflow(searched.logs_dir)
    after = {run.info.run_id: run for run in client.search_runs([experiment.experiment_id])}
    assert {i: run.info.status for i, run in after.items()} == {
        i: run.info.status for i, run in before.items()
    }


@pytest.mark.slow
def test_the_winner_of_real_training_repeats_bit_for_bit(cluster, tiny_settings):
    from themo.checkpoints.versions import read_summary
    from themo.data.preparation import prepare_data
    from themo.training.loop import Report
    from themo.training.loop import train as real_train

    tree = {
        "space": {
            "learn_rate": {"log_uniform": [1e-4, 1e-2]},
            "batch_size": {"integer": [16, 64], "step": 16},
            "loss": {"choice": ["mse", "cosine", "infonce"]},
            "max_pairs": {"choice": [200, None]},
        },
        "search": {"num_samples": 4, "grace_pairs": 200},
    }
    space = from_tree(tree, tiny_settings, source="search.yaml")
    result = run_search(new_search("real", space, tiny_settings, Resources()), prepare_data)
    settings = load(config=result.folder / "best.yaml")
    reports: list[Report] = []
    real_train(settings, prepare_data(settings), report=reports.append)
    again = {int(r.metrics["pairs_seen"]): r.metrics["val/match@01"] for r in reports}
    assert result.best.values == {pairs: again[pairs] for pairs in result.best.values}
    assert read_summary(result.folder / "best")["best"]["val/match@01"] == result.value


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_conditional_search_with_a_share_runs_to_its_end(
    tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from themo.data.preparation import prepare_data

    tree = {
        "space": {
            "loss": {"choice": ["mse", "infonce"]},
            "temperature": {"log_uniform": [0.02, 0.2], "when": {"loss": "infonce"}},
            "target": {"choice": ["state", "unit"], "when": {"loss": "mse"}},
        },
        "first": [{"loss": "mse"}, {"loss": "infonce"}],
        "search": {"num_samples": 4, "grace_share": 0.3, "startup_trials": 2},
    }
    space = from_tree(tree, tiny_settings, source="search.yaml")
    seen: list[tuple[bool, int, int]] = []
    monkeypatch.setattr(
        "tune.driver.session.print_idle_rungs",
        lambda search, data: seen.append((has_pairs(search), search.space.search.first_rung, len(data))),
    )
    result = run_search(
        new_search("shares", space, tiny_settings, Resources()), prepare_data, resume_command="do that"
    )
    assert "To resume: do that\nRuns in MLflow: " in capsys.readouterr().err
    search, study = read_search(result.folder), Study.read(result.folder / "study.json")
    whole = tiny_settings.training.epochs * prepare_data(tiny_settings).pairs_an_epoch
    assert search.space.search.first_rung == int(0.3 * whole)
    assert tiny_settings.teacher.target == "embedding"
    assert seen == [(False, search.space.search.first_rung, 3)]  # both searched targets and the base's
    assert result.counts["FAIL"] == 0
    assert len(study) == 4
    for trial in study:
        assert set(trial.params) == {
            "loss",
            {"mse": "target", "infonce": "temperature"}[str(trial.params["loss"])],
        }
    settings = load(config=result.folder / "best.yaml")
    assert settings.override(result.best.params) == settings
    assert "first_rung" in (result.folder / "search.yaml").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_interrupted_and_killed_searches_end_like_undisturbed(in_one_slot, tmp_path):
    folder = tmp_path / "tune" / "mine"
    first = _start(tmp_path, **warm_start.TO_ITS_GROUP)
    _wait_for(first, lambda: _reported(folder) >= 1)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does: to all processes
    _, errors = first.communicate(timeout=500)
    assert first.returncode == 130, errors
    assert errors.strip().splitlines()[-1] == "interrupted"
    assert "Stopping: waiting for running trials to report\n" in errors
    assert "Traceback" not in errors

    second = _start(tmp_path, "--resume")
    _wait_for(second, lambda: _reported(folder) >= 4)
    second.kill()
    second.communicate()

    third = _start(tmp_path, "--resume", seconds=0)
    _, errors = third.communicate(timeout=500)
    assert third.returncode == 0, errors
    assert _facts(folder) == _facts(in_one_slot.folder)
    assert _statuses(tmp_path) == _statuses(in_one_slot.logs_dir)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_terminated_search_ends_as_an_interrupted_one(tmp_path):
    """Ray's processes are spared: without them Ray would print its log and end the driver after 60 s."""
    folder = tmp_path / "tune" / "mine"
    process = _start(tmp_path, **warm_start.TO_ITS_GROUP)
    _wait_for(process, lambda: _reported(folder) >= 1)
    os.killpg(process.pid, signal.SIGTERM)  # as `timeout` and a shell's `kill %1` do: to all processes
    _, errors = process.communicate(timeout=500)
    assert process.returncode == 143, errors
    assert errors.strip().splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors
    statuses = _statuses(tmp_path)
    assert statuses["mine"] == "KILLED"
    assert "RUNNING" not in statuses.values()


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "changes",
    [
        # paused trials, and takeovers; schedulers/test_rules.py interrupts all schedulers, without Ray
        {"scheduler": "pausing-asha", "searcher": "cmaes"},
        {"scheduler": "pbt", "searcher": "random", "grace_pairs": 200},
        {"scheduler": "freeze-thaw", "searcher": "forecast", "grace_share": 0.2},
    ],
    ids=lambda changes: changes["scheduler"],
)
def test_other_schedulers_and_searchers_end_as_undisturbed_too(cluster, tmp_path, changes):
    whole = _run(tmp_path / "whole", Resources(max_concurrent=1), **changes)
    folder = tmp_path / "cut" / "tune" / "mine"
    first = _start(tmp_path / "cut", *(f"{name}={value}" for name, value in changes.items()))
    _wait_for(first, lambda: _reported(folder) >= 4)
    first.kill()
    first.communicate()
    second = _start(tmp_path / "cut", "--resume", seconds=0)
    _, errors = second.communicate(timeout=400)
    assert second.returncode == 0, errors
    assert _facts(folder) == _facts(whole.folder)
    assert _statuses(tmp_path / "cut") == _statuses(tmp_path / "whole")
    assert "RUNNING" not in _statuses(tmp_path / "whole").values()
    for trial in whole.study:  # a checkpoint shared by two trials is removed when both have their own
        kept = (whole.folder / "trials").glob(f"session-*/trial-{trial.number:04d}*/checkpoint_*")
        assert [str(path.relative_to(whole.folder / "trials")) for path in kept] == (
            [trial.checkpoint] if trial.checkpoint else []
        )


@pytest.fixture(scope="module")
def paused(cluster, tmp_path_factory) -> Searched:
    return _run(tmp_path_factory.mktemp("paused"), Resources(), scheduler="pausing-asha")


@pytest.mark.slow
def test_paused_trials_resume_best_first_from_checkpoints(paused):
    counts = paused.study.counts()
    assert counts["RUNNING"] == counts["PAUSED"] == 0
    assert counts["PRUNED"] >= 3
    best = paused.result.best
    assert best.state == "COMPLETE"
    whole = height(paused.search.settings.override(best.params))
    assert best.values == {100 * step: whole * step / REPORTS for step in range(1, REPORTS + 1)}
    stopped = [trial for trial in paused.study if trial.state == "PRUNED"]
    assert all(trial.reason == f"stopped at {trial.pairs_seen} pairs" for trial in stopped)
    assert {trial.pairs_seen for trial in stopped} <= {100, 300, 900}
    # to Ray, a trial resumed after a pause is a new one with its own folder
    assert any("-from-" in str(trial.checkpoint) for trial in paused.study)


def _unasked(settings: Settings) -> TrainingData:
    raise AssertionError("data must not be prepared here")


def _facts(folder: Path) -> list[tuple[object, ...]]:
    study = Study.reopen(folder / "study.json")
    return [
        # a checkpoint's folder names the session that wrote it
        (t.params, t.state, t.reason, t.values, [replace(step, checkpoint=None) for step in t.lineage])
        for t in study
    ]


def _start(
    logs_dir: Path,
    *options: str,
    seconds: float = 0.3,
    **variables: str,
) -> subprocess.Popen[str]:
    """The search as a process, whose trials take so long for a report: long enough to be cut in one."""
    script = str(Path(__file__).parents[1] / "formula_search.py")
    return subprocess.Popen(
        [*warm_start.PYTHON, script, str(logs_dir), "mine", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {SECONDS_VARIABLE: str(seconds), "PYTHONPATH": PATH} | variables,
        start_new_session=True,
    )


def _wait_for(process: subprocess.Popen[str], condition) -> None:
    end = time.monotonic() + 400
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "it never came so far"
        time.sleep(0.05)


def _reported(folder: Path) -> int:
    """Trials with an entry in the record."""
    try:
        entries = json.loads((folder / "study.json").read_text())["trials"]
    except FileNotFoundError:
        return 0
    return sum(bool(entry["checkpoint"]) or entry["state"] != "RUNNING" for entry in entries)


def _mlflow(logs_dir: Path) -> MlflowClient:
    """MLflow as it is once it has all that searches had no time to send."""
    from mlflow import MlflowClient

    for left in marked(logs_dir):
        send_search(left, 300)
    return MlflowClient(f"sqlite:///{logs_dir / 'mlflow.db'}")


def _statuses(logs_dir: Path) -> dict[str, str]:
    client = _mlflow(logs_dir)
    experiment = client.get_experiment_by_name("default")
    runs = client.search_runs([experiment.experiment_id])
    assert len({run.info.run_name for run in runs}) == len(runs)
    return {run.info.run_name: run.info.status for run in runs}
