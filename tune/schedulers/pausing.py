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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tune.schedulers.asha import by_two_objectives, rung_rule
from tune.schedulers.explanation import NOT_FINITE, Explanation
from tune.schedulers.rungs import Rungs
from tune.schedulers.scheduler import Scheduler, rivals_in
from tune.space.search_settings import SearchSettings
from tune.study.front import places
from tune.study.limits import starts_another
from tune.study.resource import amount_of, in_words
from tune.study.study import Study
from tune.study.trial_record import is_waiting, loss_of

_AtRungs = Mapping[float, Mapping[int, float]]
"""Best objective of each trial at each rung that it reached: by rung, then by trial number."""


@dataclass(frozen=True)
class PausingAsha(Scheduler):
    """ASHA in its promoting form.

    Attributes:
        points: The rungs, where trials pause.
        search: The search's limits, which decide whether another trial will start.
        most: Returns the maximum number of trials (`tune.study.tried.most_trials`); None: `num_samples`.
    """

    points: Rungs
    search: SearchSettings
    most: Callable[[Study], int] | None = None

    def explain(self, study: Study, number: int, before: float) -> Explanation:
        """PAUSED at a rung, unless the trial would be promoted next; PRUNED if no report was finite."""
        trial = study[number]
        if self.points.between(before, amount_of(trial, self.points.resource)) is None:
            return Explanation("RUNNING", trial.pairs_seen)
        at_rungs, at_least = self._at_rungs(study), self._at_least(study, number)
        place = self._place(study, number, at_rungs, at_least)
        if trial.best(study.mode) is None:
            return replace(place, state="PRUNED", rule=NOT_FINITE)
        if place.value is None and self.points.resource == "seconds":  # its first report came later
            return Explanation("RUNNING", trial.pairs_seen)
        first = self._next(study, number, at_rungs, at_least)
        if first == number:
            return replace(place, state="RUNNING")
        if place.rank is not None and place.rank <= self._quota(len(place.compared) + 1, at_least):
            return replace(place, state="PAUSED", rule=f"{place.rule}; trial {first} is promoted before it")
        return replace(place, state="PAUSED")

    def explain_waiting(self, study: Study, number: int) -> Explanation:
        """A paused trial's place at its rung."""
        return self._place(study, number, self._at_rungs(study), self._at_least(study, None))

    def next_paused(self, study: Study) -> int | None:
        """The trial to promote next: the best one of the highest rung with a promotable trial.

        Ties go to the earlier trial.
        """
        return self._next(study, None, self._at_rungs(study), self._at_least(study, None))

    def _next(self, study: Study, arriving: int | None, at_rungs: _AtRungs, at_least: int) -> int | None:
        """The trial to promote next; `arriving` has just reached a rung and counts as paused."""
        waiting = {t.number for t in study if t.number == arriving or is_waiting(t)}
        further: set[int] = set()
        """Trials that have passed a higher rung."""
        for _, results in sorted(at_rungs.items(), reverse=True):
            for number in self._ranked(results, study)[: self._quota(len(results), at_least)]:
                if number in waiting - further:
                    return number
            further |= results.keys()
        return None

    def _place(self, study: Study, number: int, at_rungs: _AtRungs, at_least: int) -> Explanation:
        """A trial's rank at the highest rung that it has reached, and the number of promotions there."""
        trial = study[number]
        reached = self.points.between(0, amount_of(trial, self.points.resource))
        rung = max(self.points.values(trial, study.mode), default=reached)
        if rung is None:
            return Explanation(trial.state, trial.pairs_seen)
        results = at_rungs.get(rung, {})
        others = {other: value for other, value in results.items() if other != number}
        where, best = f"rung of {in_words(rung, self.points.resource)}", results.get(number)
        if best is None:
            return Explanation(trial.state, trial.pairs_seen, where, None, others)
        quota = self._quota(len(results), at_least)
        if self.points.second is not None:
            found = by_two_objectives(study, number, results, quota)
            rule = self._promotions(found.rule, quota, len(results))
            return replace(found, where=where, rule=rule, second=self.points.second)
        ranked = self._ranked(results, study)
        rivals = [other for other in ranked if other != number]
        threshold = others[rivals[quota - 1]] if 0 < quota <= len(rivals) else None
        rule = self._promotions(rung_rule(quota, len(results), threshold, study.mode), quota, len(results))
        rank = ranked.index(number) + 1
        return Explanation(trial.state, trial.pairs_seen, where, best, others, rank, threshold, rule)

    def _promotions(self, rule: str, quota: int, n: int) -> str:
        """The rule at a rung that `n` trials have reached, of which `quota` are promoted."""
        if not quota:
            return (
                f"no trial is promoted before {math.ceil(self.points.factor)} have reached the rung, {n} have"
            )
        return rule.replace("continue", "are promoted")

    def _at_rungs(self, study: Study) -> _AtRungs:
        """Best objective of each trial at each rung."""
        return self.points.results(rivals_in(study), study.mode)

    def _quota(self, n: int, at_least: int) -> int:
        """Number of promotions at a rung that `n` trials have reached."""
        return max(at_least, math.floor(n / self.points.factor))

    def _at_least(self, study: Study, arriving: int | None) -> int:
        """Minimum number of promotions at each rung: 1 once no new trial starts and none is running."""
        is_any_running = any(t.state == "RUNNING" and t.number != arriving for t in study)
        most = self.search.num_samples if self.most is None else self.most(study)
        return 0 if is_any_running or starts_another(study, self.search, most) else 1

    def _ranked(self, results: Mapping[int, float], study: Study) -> list[int]:
        """Numbers of the trials at a rung, best first; ties go to the earlier trial."""
        if self.points.second is not None:
            return list(places(study, results))
        return sorted(results, key=lambda number: (loss_of(results[number], study.mode), number))
