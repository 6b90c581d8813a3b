"""Asynchronous successive halving (ASHA) in its promoting form: trials pause at rungs, the best are promoted.

Li et al., 2018, https://arxiv.org/abs/1810.05934, algorithm 2: a trial that reaches a rung pauses there. Its
checkpoint is kept and its slot is freed, until the trial is among the best 1/eta that ever reached the rung.
A free slot takes the promotable trial of the highest rung, or a new trial. The stopping form, which Ray
offers too, decides once, by comparison with the trials that happened to arrive first.

Beyond the paper, for searches that end: when no new trial will start and none is running, the best trial of
each rung is promoted even if 1/eta of its trials is less than one. So the search's best trial is always a
complete one.
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
    """ASHA in its promoting form.

    Attributes:
        rungs: The rungs, where trials pause.
        search: The search's limits, which decide whether another trial will start.
        most: Returns the maximum number of trials (`tune.study.tried.most_trials`); None: `num_samples`.
    """

    rungs: Rungs
    search: SearchSettings
    most: Callable[[Study], int] | None = None

    def is_judged(self, number: int, before: int, pairs: int) -> bool:  # noqa: ARG002 -- all trials alike
        """Whether there is a rung between two reports."""
        return self.rungs.between(before, pairs) is not None

    def judge(self, study: Study, number: int, before: int) -> State:
        """PAUSED at a rung, unless the trial would be promoted next; PRUNED if no report was finite."""
        trial = study[number]
        if self.rungs.between(before, trial.pairs_seen) is None:
            return "RUNNING"
        if trial.best(study.mode) is None:
            return "PRUNED"
        return "RUNNING" if self.next_paused(study, arriving=number) == number else "PAUSED"

    def next_paused(self, study: Study, arriving: int | None = None) -> int | None:
        """The trial to promote next: the best one of the highest rung with a promotable trial.

        Ties go to the earlier trial.

        Args:
            study: All trials so far.
            arriving: A trial that has just reached a rung and counts as paused.
        """
        waiting = {t.number for t in study if t.number == arriving or is_waiting(t)}
        is_any_running = any(t.state == "RUNNING" and t.number != arriving for t in study)
        most = self.search.num_samples if self.most is None else self.most(study)
        at_least = 0 if is_any_running or begins_more(study, self.search, most) else 1
        able = [t for t in study if "FAIL" not in (t.state, t.verdict)]  # failed trials take no place
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
    """Whether a trial may be resumed; also one left paused at the end of a search that is later enlarged."""
    return trial.state in ("PAUSED", "PRUNED") and trial.checkpoint is not None
