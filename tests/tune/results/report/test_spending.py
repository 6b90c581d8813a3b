"""The best objective against the sentence pairs of all trials."""

from __future__ import annotations

from pathlib import Path

import pytest

from tune.results.report.spending import best_by_pairs
from tune.study.study import Study


def study_of(mode: str = "max") -> Study:
    study = Study(None, mode)  # type: ignore[arg-type]
    for _ in range(2):
        study.add({"learn_rate": 1e-3})
    return study


def tell(study: Study, number: int, pairs: int, value: float) -> None:
    study.report(number, {"pairs_seen": float(pairs), "o": value}, "o")


def test_pairs_of_all_trials_count_in_the_order_of_reports() -> None:
    study = study_of()
    tell(study, 0, 100, 0.1)
    tell(study, 1, 100, 0.3)
    tell(study, 0, 200, 0.2)
    tell(study, 1, 200, 0.5)
    tell(study, 0, 300, 0.2)
    assert best_by_pairs(study) == [(100, 0.1), (200, 0.3), (400, 0.5), (500, 0.5)]


def test_the_least_loss_is_best_where_it_is_minimized() -> None:
    study = study_of("min")
    tell(study, 0, 100, 3.0)
    tell(study, 1, 100, 5.0)
    tell(study, 0, 200, 2.0)
    assert best_by_pairs(study) == [(100, 3.0), (300, 2.0)]


def test_pairs_trained_again_after_a_crash_count_twice(tmp_path: Path) -> None:
    study = study_of()
    tell(study, 0, 100, 0.1)
    study[0].enter_checkpoint("session-1/trial-0000")
    tell(study, 0, 200, 0.2)
    study.rewind(0)
    tell(study, 0, 200, 0.2)
    tell(study, 0, 300, 0.3)
    assert best_by_pairs(study) == [(100, 0.1), (200, 0.2), (400, 0.3)]


def test_scores_of_failed_trials_do_not_count_their_pairs_do() -> None:
    study = study_of()
    tell(study, 0, 100, 0.9)
    study.finish(0, "FAIL", "diverged")
    tell(study, 1, 100, 0.3)
    assert best_by_pairs(study) == [(200, 0.3)]
    assert best_by_pairs(study_of()) == []


def test_without_a_journal_trials_count_one_after_another() -> None:
    study = study_of()
    tell(study, 0, 100, 0.1)
    tell(study, 1, 100, 0.3)
    tell(study, 0, 200, 0.2)
    study.journal = None
    assert best_by_pairs(study) == [(100, 0.1), (200, 0.2), (300, 0.3)]


def test_a_takeover_continues_from_the_donors_pairs() -> None:
    study = study_of()
    tell(study, 0, 100, 0.1)
    tell(study, 1, 200, 0.3)
    for trial in study:
        trial.enter_checkpoint(f"trial-{trial.number}")
        trial.state = "PAUSED"
    study.take_over(0, 1, {"learn_rate": 2e-3})
    tell(study, 0, 300, 0.4)
    assert best_by_pairs(study) == [(100, 0.1), (300, 0.3), (400, pytest.approx(0.4))]
