"""Confirmations on a real Ray cluster, over a formula in place of training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import warm_start
from clusters import PATH, one_machine
from formula_search import a_search, no_data
from formula_training import SECONDS_VARIABLE, height, train

from themo.config.settings import Settings, load
from themo.data.dataset import TrainingData
from themo.data.preparation import prepare_data
from themo.tracking.unsent import marked
from themo.training.loop import Report
from themo.training.loop import train as real_train
from tune.cluster.resources import Resources
from tune.confirmation.verdict import Verdict, verdict
from tune.driver.session import run_search
from tune.results.best_trials import SearchResult
from tune.results.parent_run import send_search
from tune.results.report.page import write_report
from tune.results.status import read_status
from tune.space.search_space import from_tree
from tune.study.search import Search, new_search, read_search
from tune.study.study import Study

pytestmark = [
    # what mlflow, sqlalchemy and ray do among themselves
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]

CONFIRM = {"num_samples": 5, "confirm": 3.0, "confirm_seeds": 3}
"""Three seeds of trial 0, which has trusted settings and kills its worker once, and of trial 1: six runs."""


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Search, SearchResult]]:
    """A search in one slot and its confirmation, undisturbed."""
    with one_machine(num_cpus=2):
        search = a_search(
            tmp_path_factory.mktemp("confirmed"), "mine", Resources(max_concurrent=1), **CONFIRM
        )
        yield search, run_search(search, no_data, train)


def test_a_confirmed_search_states_its_lead(confirmed: tuple[Search, SearchResult]) -> None:
    search, result = confirmed
    found = result.confirmation
    assert found is not None
    assert result.is_whole
    assert (found.outcome, found.winner, [c.rival for c in found.comparisons]) == ("proven", 0, [1])
    study = Study.read(result.folder / "study.json")
    settings = search.settings
    ours, theirs = (
        [height(settings.override(study[number].params | {"seed": seed})) for seed in (1, 2, 3)]
        for number in (0, 1)
    )
    lead = sum(a - b for a, b in zip(ours, theirs, strict=True)) / 3
    assert found.comparisons[0].lead.mean == pytest.approx(lead)
    assert found.comparisons[0].lead.n_seeds == 3
    (line,) = found.lines()
    assert line.startswith("Trial 0 is better than the runner-up, trial 1: lead +0.8")
    assert (result.folder / "best.yaml").read_text(encoding="utf-8").startswith(f"# {line}\n")
    assert load(config=result.folder / "best.yaml") == settings.override(study[0].params)
    assert result.to_json()["confirmation"]["comparisons"][0]["is_better"]


def test_runs_are_recorded_apart_from_trials(confirmed: tuple[Search, SearchResult]) -> None:
    _, result = confirmed
    study = Study.read(result.folder / "study.json")
    assert len(study) == sum(result.counts.values()) == 5
    assert len((result.folder / "trials.csv").read_text(encoding="utf-8").splitlines()) == 6
    assert [(run.confirms, run.params["seed"]) for run in study.runs] == [
        (number, seed) for seed in (1, 2, 3) for number in (0, 1)
    ]
    assert {run.state for run in study.runs} == {"COMPLETE"}
    assert study.confirmation is not None
    assert study.confirmation.handed_over == 0


def test_students_of_runs_are_not_kept(confirmed: tuple[Search, SearchResult]) -> None:
    _, result = confirmed
    study, trials = Study.read(result.folder / "study.json"), result.folder / "trials"
    kept = {str(path.relative_to(trials)) for path in trials.rglob("checkpoint_*")}
    assert kept == {trial.checkpoint for trial in study if trial.checkpoint}
    assert not any(run.checkpoint for run in study.runs)


def test_mlflow_shows_runs_and_leads(confirmed: tuple[Search, SearchResult]) -> None:
    from mlflow import MlflowClient

    _, result = confirmed
    logs_dir = result.folder.parent.parent
    for left in marked(logs_dir):
        send_search(left, 300)
    client = MlflowClient(f"sqlite:///{logs_dir / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("default")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    parent = runs.pop("mine")
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["themo.confirmation"] == "proven"
    assert result.confirmation is not None
    assert parent.data.tags["themo.confirmation.runner-up"] == result.confirmation.lines()[0]
    runs_of_winner = [runs[f"trial 0 with seed {seed} of mine"] for seed in (1, 2, 3)]
    for seed, run in enumerate(runs_of_winner, start=1):
        assert run.info.status == "FINISHED"
        assert run.data.params["seed"] == str(seed)
        assert run.data.tags["themo.confirms"] == "0"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert len(runs) == 5 + 6
    assert "RUNNING" not in {run.info.status for run in runs.values()}


def test_all_views_state_the_lead(confirmed: tuple[Search, SearchResult]) -> None:
    search, result = confirmed
    status = read_status(result.folder)
    assert status.activity == "finished"
    assert result.confirmation is not None
    assert set(result.confirmation.lines()) <= set(status.lines())
    assert status.to_json()["confirmation"] == result.confirmation.to_json()
    (result.folder / "best" / "summary.json").write_text("{}")  # the formula writes none
    page = write_report(search, result.folder).read_text(encoding="utf-8")
    assert "Is the winner better?" in page
    assert result.confirmation.lines()[0] in page


def test_a_confirmed_search_resumes_to_the_same_result(
    confirmed: tuple[Search, SearchResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    search, result = confirmed
    monkeypatch.setattr("tune.driver.session.connect", lambda *_: pytest.fail("it needs no cluster"))
    again = run_search(read_search(search.folder), _unasked, train)
    assert again.confirmation == result.confirmation
    assert again.is_whole


def test_a_run_trains_a_finalists_settings_with_its_seed(
    confirmed: tuple[Search, SearchResult], tiny_settings: Settings
) -> None:
    """Real training, in the cluster of the fixture: a run equals `train` with that seed bit for bit."""
    tree = {
        "space": {"learn_rate": {"log_uniform": [1e-4, 1e-2]}},
        "search": {"num_samples": 2, "scheduler": "none", "confirm": 2.0, "confirm_seeds": 2},
    }
    space = from_tree(tree, tiny_settings, source="search.yaml")
    result = run_search(new_search("real", space, tiny_settings, Resources()), prepare_data)
    study = Study.read(result.folder / "study.json")
    assert len(study.runs) == 4
    run = study.runs[3]
    settings = tiny_settings.override(run.params | {"threads": 1})
    assert settings.training.seed == tiny_settings.training.seed + 2
    reports: list[Report] = []
    real_train(settings, prepare_data(settings), report=reports.append)
    again = {int(r.metrics["pairs_seen"]): r.metrics["val/match@01"] for r in reports}
    assert run.values == again
    assert run.values != study[run.confirms or 0].values


def test_kills_do_not_change_the_verdict(confirmed: tuple[Search, SearchResult], tmp_path: Path) -> None:
    folder = tmp_path / "tune" / "mine"
    settings = [f"{name}={value}" for name, value in CONFIRM.items()]
    first = _start(tmp_path, *settings, **warm_start.TO_ITS_GROUP)
    _wait_for(first, lambda: _begun_runs(folder) >= 1)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does: to all processes
    _, errors = first.communicate(timeout=500)
    assert first.returncode == 130, errors
    assert "The confirmation was interrupted; the search is done" in errors
    assert load(config=folder / "best.yaml").training.learn_rate == 1e-3
    assert read_status(folder).activity == "interrupted"

    second = _start(tmp_path, "--resume")
    _wait_for(second, lambda: _begun_runs(folder) >= 3)
    second.kill()
    second.communicate()

    third = _start(tmp_path, "--resume", seconds=0)
    _, errors = third.communicate(timeout=500)
    assert third.returncode == 0, errors
    assert _verdict(folder) == _verdict(confirmed[0].folder)
    assert _scores(folder) == _scores(confirmed[0].folder)
    assert (folder / "best.yaml").read_text().splitlines()[0] in (
        confirmed[0].folder / "best.yaml"
    ).read_text()


def _unasked(settings: Settings) -> TrainingData:
    raise AssertionError("data must not be prepared here")


def _verdict(folder: Path) -> Verdict | None:
    return verdict(Study.read(folder / "study.json"))


def _scores(folder: Path) -> list[tuple[int | None, object, dict[int, float]]]:
    runs = Study.read(folder / "study.json").runs
    return [(run.confirms, run.params["seed"], run.values) for run in runs]


def _begun_runs(folder: Path) -> int:
    """Runs of the confirmation with a checkpoint, or ended."""
    try:
        confirmation = json.loads((folder / "study.json").read_text()).get("confirmation")
    except FileNotFoundError:
        return 0
    runs = confirmation["runs"] if confirmation else []
    return sum(bool(run["checkpoint"]) or run["state"] != "RUNNING" for run in runs)


def _start(logs_dir: Path, *options: str, seconds: float = 0.3, **variables: str) -> subprocess.Popen[str]:
    script = str(Path(__file__).parents[1] / "formula_search.py")
    return subprocess.Popen(
        [*warm_start.PYTHON, script, str(logs_dir), "mine", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {SECONDS_VARIABLE: str(seconds), "PYTHONPATH": PATH} | variables,
        start_new_session=True,
    )


def _wait_for(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 600
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "it never came so far"
        time.sleep(0.05)
