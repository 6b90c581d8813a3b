"""Forecasts of all trials of a search: the end of each, and the gain of its further training.

A pure function of the record, so that a resumed search and `why` compute the same forecasts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from scipy.special import ndtr

from tune.forecasts.coordinates import Coordinates, Floats, stack
from tune.forecasts.covariance import Reports, time_of
from tune.forecasts.curve_process import CurveProcess
from tune.forecasts.scale import scale_of
from tune.forecasts.selection import SeenReport, choose_reports, last_report
from tune.space.dimensions import Scalar
from tune.space.search_space import Space
from tune.study.study import Study
from tune.study.trial_record import Trial

_MOST_FITTED = 120
"""Maximum number of reports that the hyperparameters are fitted to; the time grows with their cube."""
_MOST_KNOWN = 360
"""Maximum number of reports that predictions use, beside the assumed ends of running trials. A trial with no
report among them is predicted from its own last report as well."""
_MOST_FAILED = 20
"""Number of latest failed trials that count as ended with the worst objective of all, among the above."""
_N_DRAWS, _N_PARENTS, _N_NEAR = 256, 8, 24
"""Candidates for the next trial: points drawn uniformly, number of best trials, points beside each."""
_REDRAWN, _MOVED, _STEP = 0.2, 0.6, 0.1
"""Beside a trial: probability that a coordinate is drawn, that it is drawn or moved, deviation of a move."""
_NEW = -(10**9)
"""Trial number of points that are not trials; carried trials have small negative numbers."""


@dataclass(frozen=True)
class End:
    """Predicted end of a trial, and expected gain of training it further.

    Attributes:
        mean: The predicted score at the end.
        gain: Expected gain over the best score so far, for each whole trial's worth of pairs that it costs.
        chance: Probability that the score exceeds the best one so far.
    """

    mean: float
    gain: float
    chance: float


class Forecasts:
    """Forecasts from the reports of a search so far.

    Args:
        space: The search space, whose first rung is a share of a whole trial.
        study: The record, with reports of two trials at least (`are_possible`).
        arriving: A trial that has just reported and is judged; None: no trial. Other running trials count as
            ended at their predictions.
        coordinates: Coordinates of the space from earlier forecasts; None: new ones.
    """

    def __init__(
        self,
        space: Space,
        study: Study,
        arriving: int | None = None,
        coordinates: Coordinates | None = None,
    ) -> None:
        self._space, self.coordinates = space, coordinates or Coordinates(space)
        self._whole, self._mode = space.search.whole_pairs, study.mode
        self._reported = [trial for trial in (*study.carried, *study) if trial.values]
        self._entropy = [space.search.seed, len(study), *study.salt]
        objectives = np.array([value for trial in self._reported for value in trial.values.values()])
        self.scale = scale_of(study.mode, objectives)
        worst = float(objectives.min() if study.mode == "max" else objectives.max())
        failed = [SeenReport(trial, self._whole, worst) for trial in study if trial.state == "FAIL"]
        failed = failed[-_MOST_FAILED:]
        fitted = [*choose_reports(self._reported, study.mode, _MOST_FITTED - len(failed)), *failed]
        known = [*choose_reports(self._reported, study.mode, _MOST_KNOWN - len(failed)), *failed]
        self._known, self._scores = self._reports(known), self._scores_of(known)
        own = [value for trial in study if trial.is_scored for value in trial.values.values()]
        self.best_score = float(self.scale.scores(np.array(own)).max() if own else self._scores.max())
        self._fitted = CurveProcess(self.coordinates, self._reports(fitted), self._scores_of(fitted))
        if len(known) > len(fitted):
            self._fitted = CurveProcess(self.coordinates, self._known, self._scores, like=self._fitted)
        self._process = self._fitted
        running = [trial for trial in study if trial.state == "RUNNING" and trial.number != arriving]
        if running:
            self._assume_running_trials_end(running)

    def _assume_running_trials_end(self, running: Sequence[Trial]) -> None:
        """Count running trials as ended at their predictions, so that no other trial repeats them."""
        ends = self._ends_of(running)
        means, _ = self._predict(self._fitted, running)
        known = Reports(
            *(np.concatenate([a, b]) for a, b in zip(_arrays(self._known), _arrays(ends), strict=True))
        )
        self._process = CurveProcess(
            self.coordinates, known, np.concatenate([self._scores, means]), like=self._fitted
        )
        self.best_score = max(self.best_score, float(means.max()))

    def _rows(self, trials: Sequence[Trial], pairs: Sequence[float]) -> Reports:
        settings = [self.coordinates.of(trial.params) for trial in trials]
        return Reports(
            stack(settings, self.coordinates.n),
            np.array([time_of(seen, self._whole) for seen in pairs]),
            np.array([trial.number for trial in trials], dtype=np.int64),
        )

    def _reports(self, reports: Sequence[SeenReport]) -> Reports:
        return self._rows([report.trial for report in reports], [report.pairs for report in reports])

    def _scores_of(self, reports: Sequence[SeenReport]) -> Floats:
        return self.scale.scores(np.array([report.best for report in reports]))

    def _ends_of(self, trials: Sequence[Trial]) -> Reports:
        return self._rows(trials, [self._whole] * len(trials))

    def _predict(self, process: CurveProcess, trials: Sequence[Trial]) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the final scores of trials, each of shape (trials,)."""
        means, deviations = process.predict(self._ends_of(trials))
        known = set(self._known.trials.tolist())
        missing = [i for i, trial in enumerate(trials) if trial.values and trial.number not in known]
        if missing:
            seen = [last_report(trials[i], self._mode) for i in missing]
            means[missing], deviations[missing] = process.predict_after(
                self._ends_of([trials[i] for i in missing]), self._reports(seen), self._scores_of(seen)
            )
        return means, deviations

    @cached_property
    def predicted(self) -> dict[int, tuple[float, float]]:
        """Mean and standard deviation of the final score of each trial with a report."""
        means, deviations = self._predict(self._fitted, self._reported)
        deviations = np.hypot(deviations, self._fitted.noise)
        return {
            trial.number: (float(mean), float(deviation))
            for trial, mean, deviation in zip(self._reported, means, deviations, strict=True)
        }

    @cached_property
    def ends(self) -> dict[int, End]:
        """The `End` of each trial with a report, carried ones included, by number."""
        means, deviations = self._predict(self._process, self._reported)
        seen = np.array([trial.pairs_seen for trial in self._reported]) / self._whole
        costs = np.maximum(1 - seen, 0.0) + 0.5 * self._interval
        ends = self._gains_per_cost(means, deviations, costs)
        return dict(zip((trial.number for trial in self._reported), ends, strict=True))

    @property
    def _interval(self) -> float:
        """The share of a whole trial between two judgements."""
        return self._space.search.first_pairs / self._whole

    def _gains_per_cost(self, means: Floats, deviations: Floats, costs: Floats) -> list[End]:
        gains, chances = expected_gain(means, deviations, self.best_score)
        return list(map(End, means.tolist(), (gains / costs).tolist(), chances.tolist()))

    @cached_property
    def best_new(self) -> End:
        """The `End` of the most promising new trial."""
        return self._new[1]

    def proposals(self) -> Iterator[dict[str, Scalar]]:
        """Settings for a new trial, the most promising ones first."""
        places, _ = self._new
        yield from (self.coordinates.params(row) for row in places)

    @cached_property
    def _new(self) -> tuple[Floats, End]:
        """Points of the unit cube, the most promising first, and the `End` of the first one."""
        places = self._candidates()
        settings = self.coordinates.of_places(places)
        asked = Reports(settings, np.zeros(len(places)), np.full(len(places), _NEW, dtype=np.int64))
        means, deviations = self._process.predict(asked)
        gains, _ = expected_gain(means, deviations, self.best_score)
        order = np.argsort(-gains, kind="stable")
        first = order[:1]
        return places[order], self._gains_per_cost(means[first], deviations[first], np.ones(1))[0]

    def _candidates(self) -> Floats:
        """Points of the unit cube, float64 of shape (points, n)."""
        n = self.coordinates.n
        random = np.random.default_rng(np.random.SeedSequence(self._entropy))
        drawn = random.random((_N_DRAWS, n))
        ranked = sorted(self._reported, key=lambda trial: (-self.ends[trial.number].mean, trial.number))
        parents = [self.coordinates.places(trial.params) for trial in ranked[:_N_PARENTS]]
        near = np.repeat(stack(parents, n), _N_NEAR, axis=0)
        change, fresh = random.random(near.shape), random.random(near.shape)
        moved = np.clip(near + _STEP * random.standard_normal(near.shape), 0.0, 1.0)
        near = np.where(change < _REDRAWN, fresh, np.where(change < _MOVED, moved, near))
        return np.concatenate([drawn, near])


def are_possible(study: Study) -> bool:
    """Whether a forecast is possible: at least two trials have reported."""
    return sum(bool(trial.values) for trial in (*study.carried, *study)) >= 2


def expected_gain(means: Floats, deviations: Floats, best: float) -> tuple[Floats, Floats]:
    """Expected excess over the best score, and the probability of any, of normally distributed scores.

    Jones et al., 1998, "Efficient Global Optimization of Expensive Black-Box Functions".
    """
    z = (means - best) / deviations
    chances: Floats = ndtr(z)
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    gains: Floats = deviations * (z * chances + density)
    return gains, chances


_latest: WeakKeyDictionary[Study, tuple[Space, object, Forecasts]] = WeakKeyDictionary()
"""Cache of the latest forecasts of each record, shared by a decision and the next proposal."""


def forecasts_of(space: Space, study: Study, arriving: int | None = None) -> Forecasts:
    """Return the `Forecasts` of a record, cached until the record changes."""
    states = tuple(
        (
            tuple(trial.values.values()),  # a trial that repeats reports may not repeat their values
            trial.pairs_seen,
            trial.state == "FAIL",
            trial.state == "RUNNING" and trial.number != arriving,
        )
        for trial in study
    )
    known = _latest.get(study)
    if known is not None and known[0] is space and known[1] == states:
        return known[2]
    coordinates = known[2].coordinates if known is not None and known[0] is space else None
    found = Forecasts(space, study, arriving, coordinates)
    _latest[study] = (space, states, found)
    return found


def _arrays(reports: Reports) -> tuple[Floats, Floats, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    return reports.settings, reports.times, reports.trials
