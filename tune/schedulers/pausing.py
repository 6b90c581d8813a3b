"""Asynchronous successive halving as its paper has it: trials wait at a rung, and the best of them go on.

Li et al., 2018, https://arxiv.org/abs/1810.05934, algorithm 2: a trial that comes to a rung waits there, its
checkpoint kept and its slot given to another, until it is among the best 1/eta that have ever come there.
A slot takes the promotable trial of the highest rung, or a new one. The stopping form, which Ray has too,
decides once and for all, by those who happened to come first.

Beyond the paper, for searches that end: when no new trial is to come and none is at work, the best of each
rung goes on even where one in eta would be none, so that the search's best trial is always a whole one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tune.schedulers.rungs import Rungs
from tune.schedulers.scheduler import Scheduler
from tune.space.search_settings import SearchSettings
from tune.study.limits import begins_more
from tune.study.study import Study
from tune.study.trial_record import State, Trial, loss_of


@dataclass(frozen=True)
class PausingAsha(Scheduler):
    """The promoting form.

    Attributes:
        rungs: Where trials wait.
        search: When no more trials are to come.
        most: Most trials of the search (`tune.study.tried.most_trials`); None: its `num_samples`.
    """

    rungs: Rungs
    search: SearchSettings
    most: Callable[[Study], int] | None = None

    def is_judged(self, number: int, before: int, pairs: int) -> bool:  # noqa: ARG002 -- all trials alike
        """Whether there is a rung between two reports."""
        return self.rungs.between(before, pairs) is not None

    def judge(self, study: Study, number: int, before: int) -> State:
        """PAUSED at a rung, unless the trial would be the next to go on; PRUNED if no report was finite."""
        trial = study[number]
        if self.rungs.between(before, trial.pairs_seen) is None:
            return "RUNNING"
        if trial.best(study.mode) is None:
            return "PRUNED"
        return "RUNNING" if self.next_paused(study, arriving=number) == number else "PAUSED"

    def next_paused(self, study: Study, arriving: int | None = None) -> int | None:
        """The trial that goes on next: of the highest rung where one may, the best; of equals the earlier.

        Args:
            study: All trials so far.
            arriving: A trial that has just come to a rung and waits like the others.
        """
        waiting = {t.number for t in study if t.number == arriving or is_waiting(t)}
        at_work = any(t.state == "RUNNING" and t.number != arriving for t in study)
        most = self.search.num_samples if self.most is None else self.most(study)
        at_least = 0 if at_work or begins_more(study, self.search, most) else 1
        able = [t for t in study if "FAIL" not in (t.state, t.verdict)]  # the others hold nobody's place
        further: set[int] = set()
        """Trials that have passed a higher rung."""
        for _, results in sorted(self.rungs.results(able, study.mode).items(), reverse=True):
            quota = max(at_least, math.floor(len(results) / self.rungs.factor))
            best = sorted(results, key=lambda number: (loss_of(results[number], study.mode), number))[:quota]
            for number in best:
                if number in waiting - further:
                    return number
            further |= results.keys()
        return None


def is_waiting(trial: Trial) -> bool:
    """Whether a trial could go on; one that waited when the search ended can, if the search is enlarged."""
    return trial.state in ("PAUSED", "PRUNED") and trial.checkpoint is not None
