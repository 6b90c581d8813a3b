"""The product's searchers and schedulers as a method of replays: its own record, proposals and decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from benchmarks.searches.replay import Job, Method
from tune.schedulers.decisions import decide
from tune.schedulers.rules import scheduler_of
from tune.searchers.by_name import propose
from tune.space.dimensions import Scalar
from tune.space.search_space import Space
from tune.study.limits import wants_more
from tune.study.study import Study
from tune.study.trial_record import State

OBJECTIVE = "objective"


class Ours(Method):
    """A search of `tune` without Ray.

    Args:
        space: The search space with searcher, scheduler and seed, its rungs in pairs (`Space.for_trials`).
        proposals: Settings of the first trials, in place of the searcher's.
    """

    def __init__(self, space: Space, proposals: Sequence[Mapping[str, Scalar]] = ()) -> None:
        self.study = Study(None, "max", proposals=proposals)
        self._space = space
        self._scheduler = scheduler_of(space.search, space)
        self._decide = partial(decide, self._scheduler, space)

    def ask(self) -> Job | None:
        """A promoted paused trial, or a new one."""
        paused = self._scheduler.next_paused(self.study)
        if paused is not None:
            trial = self.study.resume(paused)
        elif wants_more(self.study, self._space):
            trial = self.study.add(propose(self._space, self.study))
        else:
            return None
        return Job(trial.number, trial.params, trial.pairs_seen)

    def report(self, trial: int, pairs: int, value: float, *, is_last: bool) -> bool:
        """Record a report and decide."""
        record = self.study[trial]
        before = record.pairs_seen
        self.study.report(trial, {"pairs_seen": pairs, OBJECTIVE: value}, OBJECTIVE)
        state: State = "COMPLETE" if is_last else self._decide(self.study, trial, before).state
        if state == "RUNNING":
            return True
        record.checkpoint, record.checkpoint_pairs = "kept", pairs
        self.study.finish(trial, state)
        return False

    def fail(self, trial: int) -> None:
        """Record a diverged trial."""
        self.study.finish(trial, "FAIL", "diverged")
