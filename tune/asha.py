"""Early stopping: asynchronous successive halving over sentence pairs seen.

Li et al., 2018, https://arxiv.org/abs/1810.05934, in the stopping form: rungs stand at r * eta^k pairs (r is
`grace_pairs`, eta `reduction_factor`); at each a trial goes on if it is among the best 1/eta of those that
have come by. Decisions are functions of the record (`tune.study`), so that a resumed search decides as it
would have done.
"""

from __future__ import annotations

import math

from tune.space import SearchSettings
from tune.study import Mode, Study


class Rungs:
    """What the trials had reached when they passed each rung.

    Args:
        search: Where the rungs stand.
        mode: Whether the objective is to be great or small.
    """

    def __init__(self, search: SearchSettings, mode: Mode) -> None:
        self.search = search
        self.mode: Mode = mode
        self._passed: dict[int, dict[int, float]] = {}

    @classmethod
    def of(cls, study: Study, search: SearchSettings) -> Rungs:
        """The rungs as the trials of a study have passed them."""
        rungs = cls(search, study.mode)
        for trial in study:
            last = 0
            for pairs in sorted(trial.values):
                rung = rung_between(search, last, pairs)
                if rung is not None:
                    rungs._enter(rung, trial.number, trial.best(study.mode, up_to=pairs))
                last = pairs
        return rungs

    @property
    def passed(self) -> dict[int, dict[int, float]]:
        """What the trials had reached, by their numbers, at each rung that any passed, in order."""
        return dict(sorted(self._passed.items()))

    def goes_on(self, number: int, pairs_before: int, pairs: int, best: float | None) -> bool:
        """Whether a trial goes on after a report; its result at a rung just passed is entered.

        Args:
            number: The trial.
            pairs_before: Sentence pairs at its report before this one.
            pairs: Sentence pairs now.
            best: Its best objective so far; None where no report was finite, which stops it at a rung.
        """
        rung = rung_between(self.search, pairs_before, pairs)
        if rung is None or number in self._passed.get(rung, {}):
            return True
        others = list(self._passed.get(rung, {}).values())
        self._enter(rung, number, best)
        return best is not None and is_among_best(best, others, self.search.reduction_factor, self.mode)

    def _enter(self, rung: int, number: int, best: float | None) -> None:
        if best is not None:
            self._passed.setdefault(rung, {})[number] = best


def is_among_best(value: float, others: list[float], reduction_factor: float, mode: Mode) -> bool:
    """Whether a value is among the best 1/eta of itself and the others, rounded down, but at least the best.

    Equal values pass together. As the paper counts; Ray's ASHA compares with an interpolated quantile of the
    others, by which the second best of three passes a rung where one in three should (EXPERIMENTS.md).
    """
    n_better = sum(other > value if mode == "max" else other < value for other in others)
    return n_better < max(1, math.floor((len(others) + 1) / reduction_factor))


def rung_between(search: SearchSettings, before: int, pairs: int) -> int | None:
    """The highest rung that lies above `before` and not above `pairs`; None where there is none."""
    highest, rung = None, float(search.grace_pairs)
    while rung <= pairs:
        if rung > before:
            highest = round(rung)
        rung *= search.reduction_factor
    return highest
