from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from power_laws import COORDINATES, TIMES, curve, ends_of, reports_of
from threadpoolctl import threadpool_limits

from tune.forecasts import covariance, curve_fit, curve_process
from tune.forecasts.coordinates import Floats
from tune.forecasts.covariance import Reports
from tune.forecasts.curve_process import CurveProcess


def test_one_thread_computes_fit_and_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = np.random.default_rng(1).random((6, 2))
    scores = np.concatenate([curve(s, np.random.default_rng(2)) for s in settings])
    seen: list[int] = []

    def threads() -> list[int]:
        # those that NumPy and SciPy use: another test may have loaded more
        known = covariance._BLAS.info()
        return [library["num_threads"] for library in known if library["user_api"] == "blas"]

    def noting(compute: Callable[..., Floats]) -> Callable[..., Floats]:
        return lambda *args, **options: (seen.extend(threads()), compute(*args, **options))[1]

    monkeypatch.setattr(curve_fit, "cho_solve", noting(curve_fit.cho_solve))
    monkeypatch.setattr(curve_process, "solve_triangular", noting(curve_process.solve_triangular))
    with threadpool_limits(2, user_api="blas"):
        before = threads()
        process = CurveProcess(COORDINATES, reports_of(settings, [5] * 6), scores)
        n_fitting = len(seen)
        process.predict(ends_of(settings, np.arange(6)))
        assert threads() == before
    assert 0 < n_fitting < len(seen)
    assert set(seen) == {1} != set(before)


def test_a_forecast_gets_surer_the_longer_the_curve() -> None:
    random = np.random.default_rng(2)
    settings = random.random((8, 2))
    curves = [curve(s, random) for s in settings]
    deviations = []
    for length in (1, 3, 5):
        lengths = [5] * 7 + [length]
        scores = np.concatenate([c[:n] for c, n in zip(curves, lengths, strict=True)])
        process = CurveProcess(COORDINATES, reports_of(settings, lengths), scores)
        mean, deviation = process.predict(ends_of(settings[7:], np.array([7])))
        deviations.append(float(deviation[0]))
    assert deviations == sorted(deviations, reverse=True)
    assert float(mean[0]) == pytest.approx(curves[7][-1], abs=0.1)


def test_a_new_setting_is_predicted_from_its_neighbours() -> None:
    random = np.random.default_rng(3)
    settings = random.random((20, 2))
    scores = np.concatenate([curve(s, random) for s in settings])
    process = CurveProcess(COORDINATES, reports_of(settings, [5] * 20), scores)
    asked = np.array([[0.1, 0.5], [0.9, 0.5]])
    (low, high), _ = process.predict(ends_of(asked, np.array([-5, -5])))
    assert low == pytest.approx(1.2, abs=0.3)
    assert high == pytest.approx(2.8, abs=0.3)


def test_ends_lie_in_intervals_that_say_something() -> None:
    """120 curves, cut after two to four of five reports."""
    random = np.random.default_rng(4)
    n_inside, widths = 0, []
    for _ in range(12):
        settings = random.random((10, 2))
        lengths = [2, 3, 4, 2, 3, 4, 2, 3, 4, 2]
        curves = [curve(s, random) for s in settings]
        scores = np.concatenate([c[:n] for c, n in zip(curves, lengths, strict=True)])
        process = CurveProcess(COORDINATES, reports_of(settings, lengths), scores)
        means, deviations = process.predict(ends_of(settings, np.arange(10)))
        half = 1.6449 * np.hypot(deviations, process.noise)
        n_inside += int((np.abs(means - [c[-1] for c in curves]) < half).sum())
        widths += list(2 * half)
    assert n_inside >= 0.85 * 120
    assert np.median(widths) < 1.0  # all ends lie between 1 and 3


@examples(max_examples=40, deadline=None)
@given(st.lists(st.integers(-3, 5).map(float) | st.floats(-1e3, 1e3), min_size=10, max_size=10))
@example([-1 / 3, 5.0, 0.0, 5.0, 4.0, 0.0, 0.0, 0.0, 4.0, 5.0])
def test_any_scores_can_be_fitted(scores: list[float]) -> None:
    settings = np.array([[0.1, 0.2], [0.1, 0.2], [0.9, 0.4], [0.5, 0.5]])
    process = CurveProcess(COORDINATES, reports_of(settings, [5, 3, 1, 1]), np.array(scores))
    means, deviations = process.predict(ends_of(settings, np.arange(4)))
    assert np.isfinite(means).all()
    assert (deviations > 0).all()


@examples(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 4))
def test_a_further_report_counts_as_a_known_one(seed: int, n_seen: int) -> None:
    random = np.random.default_rng(seed)
    settings = random.random((6, 2))
    curves = [curve(s, random) for s in settings]
    known = reports_of(settings[:5], [5, 5, 3, 2, 1])
    scores = np.concatenate([c[:n] for c, n in zip(curves, [5, 5, 3, 2, 1], strict=False)])
    process = CurveProcess(COORDINATES, known, scores)
    seen = Reports(settings[5:], TIMES[[n_seen]], np.array([5]))
    with_it = Reports(
        np.concatenate([known.settings, seen.settings]),
        np.concatenate([known.times, seen.times]),
        np.concatenate([known.trials, seen.trials]),
    )
    score = curves[5][[n_seen]]
    whole = CurveProcess(COORDINATES, with_it, np.concatenate([scores, score]), like=process)
    ends = ends_of(settings[5:], np.array([5]))
    assert np.allclose(process.predict_after(ends, seen, score), whole.predict(ends), atol=1e-6)


def test_equal_hyperparameters_can_be_taken_over() -> None:
    random = np.random.default_rng(5)
    settings = random.random((5, 2))
    scores = np.concatenate([curve(s, random) for s in settings])
    known = reports_of(settings, [5] * 5)
    fitted = CurveProcess(COORDINATES, known, scores)
    taken = CurveProcess(COORDINATES, known, scores, like=fitted)
    asked = ends_of(settings, np.arange(5))
    assert np.array_equal(fitted.predict(asked), taken.predict(asked))
