from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune.forecasts.selection import choose_reports, last_report
from tune.study.study import Study
from tune.study.trial_record import Mode


def study_of(lengths: list[int], mode: Mode = "max") -> Study:
    """Trials with so many reports; the objective of each rises, and the later trial is the better one."""
    study = Study(None, mode)
    for length in lengths:
        number = study.add({"rate": 0.5}).number
        for step in range(1, length + 1):
            value = 100.0 * number + step
            study.report(number, {"pairs_seen": step, "o": value if mode == "max" else -value}, "o")
    return study


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=30),
    st.integers(2, 60),
    st.sampled_from(["max", "min"]),
)
def test_reports_are_distinct_and_bounded(lengths: list[int], most: int, mode: Mode) -> None:
    trials = list(study_of(lengths, mode))
    chosen = choose_reports(trials, mode, most)
    rows = [(report.trial.number, report.pairs) for report in chosen]
    assert len(rows) == len(set(rows)) <= most
    if 2 * len(trials) <= most:
        assert {(trial.number, trial.pairs_seen) for trial in trials} <= set(rows)
    assert last_report(trials[-1], mode) in chosen  # of the best trial


def test_good_and_bad_trials_are_represented() -> None:
    chosen = choose_reports(list(study_of([3] * 40)), "max", 20)
    assert len(chosen) == 20
    assert {report.trial.number for report in chosen} == {3 + 4 * i for i in range(10)} | {38, 37, 36}


def test_reports_at_doubled_distances_are_chosen() -> None:
    chosen = choose_reports(list(study_of([13])), "max", 100)
    assert sorted(report.pairs for report in chosen) == [1, 2, 4, 8, 13]


def test_a_report_has_the_best_objective_until_then() -> None:
    study = Study(None, "max")
    number = study.add({"rate": 0.5}).number
    for step, value in enumerate((0.3, 0.5, 0.4), 1):
        study.report(number, {"pairs_seen": step, "o": value}, "o")
    assert [(r.pairs, r.best) for r in sorted(choose_reports(list(study), "max", 9))] == [
        (1, 0.3),
        (2, 0.5),
        (3, 0.5),
    ]


def test_a_trial_without_reports_is_refused() -> None:
    with pytest.raises(ValueError, match="trial 0 has no report"):
        choose_reports([Study(None, "max").add({"rate": 0.5})], "max", 9)
