from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from tune.forecasts import forecasts as module
from tune.forecasts.forecasts import Forecasts, are_possible, expected_gain, forecasts_of
from tune.space.dimensions import Choice, FloatRange, Scalar
from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space
from tune.study.study import Study

SPACE = Space(
    {"rate": FloatRange(0.0, 1.0), "loss": Choice(["mse", "cosine"])},
    search=SearchSettings(grace_share=0.1),
).for_trials(1000)


def enter(study: Study, params: dict[str, Scalar], n_reports: int = 10, state: str = "PAUSED") -> int:
    """A trial that rises to 0.9 at a rate of 0.7, to less elsewhere."""
    number = study.add(params).number
    end = 0.9 - 1.5 * (float(params["rate"]) - 0.7) ** 2 - 0.1 * (params["loss"] == "mse")
    for step in range(1, n_reports + 1):
        value = end - 0.3 * (10 - step) / 10
        study.report(number, {"pairs_seen": 100.0 * step, "o": value}, "o")
    if state != "RUNNING":
        study.finish(number, state)  # type: ignore[arg-type]
    return number


def a_study(path: Path | None = None) -> Study:
    """Trials 0 to 3 and 7 to 9 are whole, the best of the others is 4."""
    study = Study(path, "max")
    for i, rate in enumerate((0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 0.99, 0.9, 1.0)):
        enter(study, {"rate": rate, "loss": "mse" if i % 2 else "cosine"}, 3 if 4 <= i <= 6 else 10)
    return study


def test_better_settings_are_predicted_to_end_better() -> None:
    found = Forecasts(SPACE, a_study())
    ends = {number: end.mean for number, end in found.ends.items()}
    assert max(ends, key=lambda number: ends[number]) == 4
    assert min(ends, key=lambda number: ends[number]) == 0
    assert found.ends[4].chance > 0.5 > found.ends[0].chance
    assert found.ends[4].gain > found.ends[6].gain > found.ends[0].gain


def test_the_first_proposals_lie_where_trials_do_best() -> None:
    found = Forecasts(SPACE, a_study())
    rates = [float(params["rate"]) for params in islice(found.proposals(), 5)]
    assert all(0.55 < rate < 0.9 for rate in rates)
    assert found.best_new.gain > 0


def test_forecasts_are_a_function_of_the_record(tmp_path: Path) -> None:
    study = a_study(tmp_path / "study.json")
    found, again = Forecasts(SPACE, study), Forecasts(SPACE, Study.read(tmp_path / "study.json"))
    assert found.ends == again.ends
    assert list(found.proposals()) == list(again.proposals())


def drawn_rates(space: Space, study: Study) -> set[float]:
    """The rates of all candidates but those of a trial, which candidates beside it may keep, and the ends."""
    rates = {float(params["rate"]) for params in Forecasts(space, study).proposals()}
    return rates - {float(trial.params["rate"]) for trial in study} - {0.0, 1.0}


@pytest.mark.parametrize("changed", ["seed", "salt", "number"])
def test_seed_salt_and_number_move_the_candidates(changed: str) -> None:
    study, space = a_study(), SPACE
    before = drawn_rates(space, study)
    if changed == "seed":
        space = replace(SPACE, search=SPACE.search.model_copy(update={"seed": 1}))
    elif changed == "salt":
        study = Study(None, "max", study.trials, proposals=[{"rate": 0.5, "loss": "mse"}])
    else:
        study.add({"rate": 0.5, "loss": "mse"})
    after = drawn_rates(space, study)
    assert min(len(before), len(after)) > 256
    assert not before & after


def best_of(found: Forecasts, study: Study) -> float:
    """The best score of the trials that did not fail."""
    best = max(value for trial in study if trial.is_scored for value in trial.values.values())
    return float(found.scale.scores(np.array([best]))[0])


def test_a_failed_trial_is_no_best_to_beat() -> None:
    study = a_study()
    study[3].values = dict.fromkeys(study[3].values, 0.95)
    study[3].state = "FAIL"
    found = Forecasts(SPACE, study)
    assert found.best_score == pytest.approx(best_of(found, study))


def test_a_running_trial_that_will_win_is_the_one_to_beat() -> None:
    study = a_study()
    study[4].state = "RUNNING"
    found = Forecasts(SPACE, study)
    assert found.predicted[4][0] > best_of(found, study)
    assert found.best_score == pytest.approx(found.predicted[4][0])


def test_running_trials_are_not_proposed_twice() -> None:
    study = a_study()
    alone = next(Forecasts(SPACE, study).proposals())
    number = study.add(alone).number
    beside = Forecasts(SPACE, study)
    assert number not in beside.ends
    assert beside.best_new.gain < Forecasts(SPACE, study, arriving=number).best_new.gain


def test_a_running_trial_is_predicted_as_if_it_paused() -> None:
    study = a_study()
    paused = Forecasts(SPACE, study).predicted
    study[5].state = "RUNNING"
    running = Forecasts(SPACE, study)
    assert running.predicted == paused
    assert running.ends[6].mean != Forecasts(SPACE, study, arriving=5).ends[6].mean


def test_failures_keep_proposals_away() -> None:
    study = a_study()
    rates = [0.68, 0.7, 0.72, 0.74]
    before = float(next(Forecasts(SPACE, study).proposals())["rate"])
    for rate in rates:
        study.finish(study.add({"rate": rate, "loss": "cosine"}).number, "FAIL")
    after = next(Forecasts(SPACE, study).proposals())
    assert 0.55 < before < 0.9
    assert min(abs(float(after["rate"]) - rate) for rate in rates) > 0.04


def test_carried_trials_count_as_reports() -> None:
    old = a_study()
    carried = [replace(trial, number=-1 - trial.number) for trial in old]
    study = Study(None, "max", carried=carried)
    assert are_possible(study)
    found = Forecasts(SPACE, study)
    assert 0.55 < float(next(found.proposals())["rate"]) < 0.95


def test_a_value_below_zero_leaves_a_cosine_below_one() -> None:
    """The scale of a cosine does not depend on the sign of one report."""
    rising = [(0.1, 0.5, 0.9), (0.2, 0.6, 0.95), (0.1, 0.4, 0.7)]
    for first in (0.01, -0.01):
        study = Study(None, "max")
        for i, values in enumerate([*rising, (first,)]):
            number = study.add({"rate": 0.1 + 0.2 * i, "loss": "cosine"}).number
            for step, value in enumerate(values, start=1):
                study.report(number, {"pairs_seen": 200.0 * step, "o": value}, "o")
        found = Forecasts(SPACE, study)
        assert all(found.scale.objective(mean + 9 * spread) <= 1 for mean, spread in found.predicted.values())


def long_study() -> Study:
    """40 trials with one to ten reports."""
    study = Study(None, "max")
    random = np.random.default_rng(0)
    for _ in range(40):
        enter(study, {"rate": float(random.random()), "loss": "cosine"}, int(random.integers(1, 11)))
    return study


def test_a_long_search_is_forecast_from_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_FITTED", 20)
    monkeypatch.setattr(module, "_MOST_KNOWN", 30)
    study = long_study()
    found = Forecasts(SPACE, study)
    assert len(found._known) == 30
    best = study.leader()
    assert best is not None
    assert best.number in found._known.trials
    assert len(found.ends) == 40
    for _ in range(12):
        study.finish(study.add({"rate": 0.5, "loss": "mse"}).number, "FAIL")
    assert len(Forecasts(SPACE, study)._known) == 30


def test_a_trial_is_forecast_from_its_own_last_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no report of it is among those that predictions use, and its settings say nothing."""
    monkeypatch.setattr(module, "_MOST_FITTED", 20)
    monkeypatch.setattr(module, "_MOST_KNOWN", 30)
    study = Study(None, "max")
    for end in np.random.default_rng(0).uniform(0.1, 0.9, size=40).tolist():
        number = study.add({"rate": 0.5, "loss": "cosine"}).number
        for pairs in (500, 1000):
            study.report(number, {"pairs_seen": pairs, "o": end * pairs / 1000}, "o")
    found = Forecasts(SPACE, study)
    missing = set(found.ends) - set(found._known.trials.tolist())
    assert len(missing) > 10
    for number in missing:
        mean, _ = found.predicted[number]
        assert found.scale.objective(mean) == pytest.approx(study[number].values[1000], abs=0.05)


def test_the_same_record_is_fitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    study = a_study()
    found = forecasts_of(SPACE, study)
    assert forecasts_of(SPACE, study) is found
    enter(study, {"rate": 0.6, "loss": "cosine"}, 1)
    assert forecasts_of(SPACE, study) is not found


def test_an_arriving_trial_has_forecasts_of_its_own() -> None:
    study = a_study()
    study[5].state = "RUNNING"
    assert forecasts_of(SPACE, study, 5) is not forecasts_of(SPACE, study)


def test_a_repeated_report_with_another_value_is_fitted_again() -> None:
    """A trial that a kill sets back may repeat its reports with other values on a GPU."""
    study = a_study()
    number = enter(study, {"rate": 0.6, "loss": "cosine"}, 1, "RUNNING")
    before = forecasts_of(SPACE, study, number)
    study.rewind(number)
    study.report(number, {"pairs_seen": 100.0, "o": 0.89}, "o")
    assert forecasts_of(SPACE, study, number).predicted[number] != before.predicted[number]


def test_two_trials_with_reports_are_needed() -> None:
    study = Study(None, "max")
    assert not are_possible(study)
    enter(study, {"rate": 0.5, "loss": "mse"}, 2)
    assert not are_possible(study)
    enter(study, {"rate": 0.6, "loss": "mse"}, 1)
    assert are_possible(study)
    assert set(Forecasts(SPACE, study).ends) == {0, 1}


def test_the_expected_gain_is_that_of_drawn_scores() -> None:
    draws = norm.rvs(0.4, 0.2, size=200_000, random_state=0)
    gains, chances = expected_gain(np.array([0.4]), np.array([0.2]), 0.5)
    assert gains[0] == pytest.approx(np.maximum(draws - 0.5, 0).mean(), abs=1e-3)
    assert chances[0] == pytest.approx((draws > 0.5).mean(), abs=5e-3)
