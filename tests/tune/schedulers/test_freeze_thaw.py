from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from simulation import play, space_of

from tune.schedulers.decisions import decisions
from tune.schedulers.freeze_thaw import FreezeThaw
from tune.schedulers.rules import scheduler_of
from tune.space.dimensions import Choice
from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space
from tune.study.study import Study
from tune.study.trial_record import Trial


def a_space(n_trials: int = 12, **search: object) -> Space:
    space = space_of("freeze-thaw", n_trials)
    return space.searched_by(searcher="forecast", startup_trials=4, **search).for_trials(900)


def rising(trial: Trial, step: int) -> float:
    """Best with small batches, worst with large ones."""
    return step / 9 * (1 - float(trial.params["batch_size"]) / 512)


def test_first_trials_begin_before_any_continues() -> None:
    study = play(a_space(), Study(None, "max"), rising)
    assert study.journal is not None
    begun = [event.number for event in study.journal if event.kind in ("add", "resume")]
    assert begun[:4] == [0, 1, 2, 3]


def test_the_best_trial_ends_and_poor_ones_stay_short() -> None:
    study = play(a_space(), Study(None, "max"), rising)
    assert study.counts()["RUNNING"] == study.counts()["PAUSED"] == 0
    winner = study.winner()
    assert winner is not None
    assert winner.state == "COMPLETE"
    assert float(winner.params["batch_size"]) == min(float(trial.params["batch_size"]) for trial in study)
    assert sum(len(trial.values) for trial in study) < 0.75 * 12 * 9
    worst = max(study, key=lambda trial: float(trial.params["batch_size"]))
    assert worst.pairs_seen < 900 / 2


@examples(max_examples=10, deadline=None)
@given(st.integers(2, 4), st.lists(st.integers(0, 5), max_size=60))
def test_decisions_in_many_slots_repeat_from_the_record(slots: int, order: list[int]) -> None:
    space = a_space(8)
    study = play(space, Study(None, "max"), rising, slots=slots, choices=order)
    found = list(decisions(study, space))
    assert found
    assert all(decision.is_repeated for decision in found)


def test_a_decision_says_forecast_and_reason(tmp_path: Path) -> None:
    space = a_space()
    study = play(space, Study(tmp_path / "study.json", "max"), rising)
    found = [d.explanation for d in decisions(study, space)]
    assert found[0].rule == "4 trials start before any continues"
    predicted = [explanation for explanation in found if explanation.forecast is not None]
    assert predicted
    for explanation in predicted:
        assert explanation.forecast is not None
        assert explanation.forecast.low <= explanation.forecast.value <= explanation.forecast.high <= 1
        assert explanation.value is not None
        assert explanation.forecast.low >= explanation.value - 1e-9
    rules = {re.sub(r"trial \d+", "trial N", explanation.rule) for explanation in found}
    assert "a new trial has a larger expected gain per pair" in rules
    assert "trial N has the largest expected gain per pair" in rules


def test_a_space_below_the_startup_trials_has_a_winner() -> None:
    """The space has four settings, fewer than the eight startup trials."""
    losses = Choice(["mse", "cosine", "infonce", "mse+cosine"])
    space = replace(a_space(40), dimensions={"loss": losses}).searched_by(startup_trials=8)
    study = play(space, Study(None, "max"), lambda trial, step: (trial.number + step / 9) / 5)
    assert len(study) == 4
    assert study.counts()["COMPLETE"] >= 1


def test_an_enlarged_search_resumes_a_promising_trial() -> None:
    """Trials 0 to 3 are whole, 4 paused on its way to the best end, and no trial was left to start."""
    study = Study(None, "max")
    for batch_size, n_reports in ((160, 9), (192, 9), (224, 9), (256, 9), (32, 6)):
        trial = study.add({"learn_rate": 1e-3, "batch_size": batch_size})
        for step in range(1, n_reports + 1):
            study.report(trial.number, {"pairs_seen": 100.0 * step, "o": rising(trial, step)}, "o")
        trial.enter_checkpoint("version")
        study.finish(trial.number, "COMPLETE" if n_reports == 9 else "PAUSED")
    for n_trials in (5, 9):
        assert scheduler_of(a_space(n_trials).search, a_space(n_trials)).next_paused(study) == 4
    grown = play(a_space(9), study, rising)
    assert grown[4].state == "COMPLETE"
    assert len(grown) == 9


def test_a_running_trial_has_a_forecast() -> None:
    space = a_space()
    study = Study(None, "max")
    scheduler = scheduler_of(space.search, space)
    for size in (32, 64):
        number = study.add({"learn_rate": 1e-3, "batch_size": size}).number
        assert scheduler.forecast(study, number) is None
        study.report(number, {"pairs_seen": 100.0, "o": 0.5 + 1 / size}, "o")
    found = scheduler.forecast(study, 0)
    assert found is not None
    assert found.low <= found.value <= found.high


def test_a_worker_knows_when_trials_are_judged() -> None:
    scheduler = scheduler_of(SearchSettings(scheduler="freeze-thaw", grace_pairs=100))
    assert isinstance(scheduler, FreezeThaw)
    assert scheduler.is_judged(0, 90, 100)
    assert not scheduler.is_judged(0, 100, 199)
    with pytest.raises(ValueError, match="without a search space"):
        scheduler.next_paused(Study(None, "max"))
