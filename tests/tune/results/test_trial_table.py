from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from themo.config import settings as config
from tune.results.trial_table import TRIALS_FILE, TrialTable
from tune.space.search_space import Space, from_tree
from tune.study.study import Study


@pytest.fixture(scope="module")
def space() -> Space:
    tree = {"space": {"learn_rate": {"log_uniform": [1e-5, 1e-2]}, "loss": {"choice": ["mse", "cosine"]}}}
    return from_tree(tree, config.load(), source="search.yaml")


def test_a_row_a_trial(space: Space, tmp_path: Path) -> None:
    study = Study(None, "max")
    for number, (rate, values) in enumerate([(1e-3, [0.2, 0.6, 0.5]), (1e-4, [0.1]), (1e-2, [])]):
        study.add({"learn_rate": rate, "loss": "mse"}).enter_attempt(100.0 + number, 104.0 + number)
        for n, value in enumerate(values, start=1):
            study.report(number, {"pairs_seen": 10 * n, "o": value}, "o")
    study.finish(0, "COMPLETE")
    study.finish(1, "PRUNED")
    study.finish(2, "FAIL", 'diverged, "early"')
    TrialTable(study, space, tmp_path).write()
    with (tmp_path / TRIALS_FILE).open() as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["COMPLETE", "PRUNED", "FAIL"]
    assert rows[0]["objective"] == "0.6"
    assert (rows[0]["best_pairs"], rows[0]["pairs_seen"]) == ("20", "30")
    assert (rows[0]["started"], rows[0]["ended"]) == ("100.000", "104.000")
    assert rows[0]["learn_rate"] == "0.001"
    assert (rows[2]["objective"], rows[2]["reason"]) == ("", 'diverged, "early"')


STEPS = ("add", "report", "pause", "resume", "stop", "complete", "fail", "take over")


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 3)), max_size=40))
def test_rows_that_are_kept_are_those_that_would_be_made(
    steps: list[tuple[str, int]], space: Space, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Trials start, report, pause, resume after their end and take over others, in any order."""
    study = Study(None, "max")
    kept = tmp_path_factory.mktemp("kept")
    table = TrialTable(study, space, kept)
    for moment, (step, number) in enumerate(steps):
        act(study, step, number % len(study) if len(study) else 0, moment)
        table.write()
    fresh = tmp_path_factory.mktemp("fresh")
    table.write()
    TrialTable(study, space, fresh).write()
    assert (kept / TRIALS_FILE).read_bytes() == (fresh / TRIALS_FILE).read_bytes()


def act(study: Study, step: str, number: int, moment: int) -> None:
    if step == "add" or not len(study):
        study.add({"learn_rate": 10.0 ** -(2 + moment % 3), "loss": "mse"})
        return
    trial = study[number]
    if step == "report":
        study.report(number, {"pairs_seen": trial.pairs_seen + 10, "o": moment % 7}, "o")
        trial.enter_attempt(trial.started or float(moment), moment + 0.5)
        trial.seconds += 0.5
    elif step == "resume":
        study.resume(number)
    elif step == "take over":
        if trial.values and study[0].values:
            study.take_over(number, 0, {"learn_rate": 3e-4, "loss": "cosine"})
    else:
        state = {"pause": "PAUSED", "stop": "PRUNED", "complete": "COMPLETE", "fail": "FAIL"}[step]
        study.finish(number, state, f"{step} at {moment}")  # type: ignore[arg-type]
