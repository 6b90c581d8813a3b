"""Population based training: the worst trials continue from checkpoints of the best, with changed settings.

Jaderberg et al., 2017, https://arxiv.org/abs/1711.09846, in rounds: all trials of the search form the
population. Each trains for an interval and waits for the others. Then each trial of the worst quarter takes
over settings and checkpoint of a trial of the best quarter (truncation selection), and its changeable
settings (`tune.space.search_settings.CHANGEABLE`) are multiplied by 0.8 or 1.2. Rounds make the outcome
independent of the number of slots and of timing; the price is idle slots at the end of a round.

A trial's record then holds the reports of the trials that it descends from; `lineage` lists its takeovers.
No single configuration repeats such a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tune.schedulers.explanation import NOT_FINITE, Explanation
from tune.schedulers.rungs import Interval
from tune.schedulers.scheduler import Scheduler
from tune.space.dimensions import FloatRange, Scalar
from tune.space.search_settings import CHANGEABLE
from tune.space.search_space import Space
from tune.study.study import Study
from tune.study.trial_record import Trial, loss_of

if TYPE_CHECKING:
    import numpy as np

_QUANTILE = 0.25
_FACTORS = (0.8, 1.2)


@dataclass(frozen=True)
class PopulationBased(Scheduler):
    """Population based training in rounds.

    Attributes:
        points: Ends of the rounds, in sentence pairs.
        num_samples: Size of the population.
        seed: Seed of the search.
    """

    points: Interval
    num_samples: int
    seed: int

    def explain(self, study: Study, number: int, before: float) -> Explanation:
        """PAUSED at the end of a round; PRUNED if the report there was not finite, so that it has no rank."""
        trial = study[number]
        pairs = trial.pairs_seen
        if not self.is_judged(number, before, pairs):
            return Explanation("RUNNING", pairs)
        where, value = self._where(trial), trial.values.get(pairs)
        if value is None:
            return Explanation("PRUNED", pairs, where, None, rule=NOT_FINITE)
        return Explanation(
            "PAUSED", pairs, where, value, rule="every trial waits for the others of its round"
        )

    def explain_waiting(self, study: Study, number: int) -> Explanation:
        """A trial's rank at the end of its round: the worst quarter takes over trials of the best quarter."""
        trial = study[number]
        ended = self._round(trial)
        results = {t.number: r for t in study if (r := self._result(t, ended)) is not None}
        value = results.pop(number, None)
        if value is None:
            return Explanation(trial.state, trial.pairs_seen, self._where(trial))
        ranked = self._order({**results, number: value}, study)
        size = int(len(ranked) * _QUANTILE)
        threshold = results[ranked[-size - 1]] if number in ranked[len(ranked) - size :] else None
        rule = f"the worst {size} of {len(ranked)} take over settings and checkpoints of the best {size}"
        return Explanation(
            trial.state,
            trial.pairs_seen,
            self._where(trial),
            value,
            results,
            ranked.index(number) + 1,
            threshold,
            rule,
        )

    def _where(self, trial: Trial) -> str:
        return f"end of round {self._round(trial)}"

    def next_paused(self, study: Study) -> int | None:
        """The trial to resume when all have ended the round; takeovers first, while the checkpoints exist."""
        under_way = [trial for trial in study if not trial.is_done]
        if len(study) < self.num_samples or not under_way:
            return None
        ended = min(self._round(trial) for trial in under_way)
        waiting = [t.number for t in under_way if t.state == "PAUSED" and self._round(t) == ended]
        worst = self._ranked(study, ended)[1]
        return min(waiting, key=lambda number: (number not in worst, number), default=None)

    def donor(self, study: Study, number: int) -> int | None:
        """The trial whose settings and checkpoint a paused trial takes over; None: no takeover."""
        ended = self._round(study[number])
        best, worst = self._ranked(study, ended)
        if number not in worst:
            return None
        donors = [
            n
            for n, result in best.items()
            if study[n].state == "PAUSED" and self._round(study[n]) == ended and result != worst[number]
        ]
        if not donors:
            return None
        random = _random(self.seed, number, ended)
        return donors[int(random.integers(len(donors)))]

    def _ranked(self, study: Study, ended: int) -> tuple[dict[int, float], dict[int, float]]:
        """Results of the best and the worst quarter of a round, best first; ties go to the earlier trial."""
        results = {t.number: r for t in study if (r := self._result(t, ended)) is not None}
        ranked = self._order(results, study)
        size = int(len(ranked) * _QUANTILE)
        best, worst = ranked[:size], ranked[len(ranked) - size :]
        return {n: results[n] for n in best}, {n: results[n] for n in worst}

    def _order(self, results: Mapping[int, float], study: Study) -> list[int]:
        """Numbers of trials, best first; ties go to the earlier trial."""
        return sorted(results, key=lambda n: (loss_of(results[n], study.mode), n))

    def _round(self, trial: Trial) -> int:
        """Number of rounds that a trial has ended."""
        return int(trial.pairs_seen // self.points.amount)

    def _result(self, trial: Trial, ended: int) -> float | None:
        """A trial's own objective at the end of a round, also if it took over another trial there."""
        for step in trial.lineage:
            if step.pairs // self.points.amount == ended:
                return step.value
        reports = sorted(trial.values)
        end = next((pairs for pairs in reports if pairs >= ended * self.points.amount), None)
        return None if end is None else trial.values[end]


def take_over(space: Space, study: Study, number: int, donor: int) -> None:
    """Continue a trial from another one's checkpoint, with changeable settings multiplied by 0.8 or 1.2."""
    trial = study[number]
    random = _random(space.search.seed, number, trial.pairs_seen)
    study.take_over(number, donor, explore(space, study[donor].params, random))


def explore(space: Space, params: Mapping[str, Scalar], random: np.random.Generator) -> dict[str, Scalar]:
    """The settings with changeable ones multiplied by 0.8 or 1.2, clipped to their ranges."""
    changed = dict(params)
    for name in CHANGEABLE:
        dimension, value = space.dimensions.get(name), params.get(name)
        if isinstance(dimension, FloatRange) and isinstance(value, int | float):
            factor = _FACTORS[int(random.integers(2))]
            changed[name] = min(max(value * factor, dimension.low), dimension.high)
    return changed


def _random(*entropy: int) -> np.random.Generator:
    import numpy as np  # not at the top: `status` and `why` do without it

    return np.random.default_rng(np.random.SeedSequence(entropy))
