"""What every rule answers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from tune.study.study import Study
from tune.study.trial_record import State


class Scheduler(ABC):
    """Which trials go on. A rule holds no state, so that a resumed search decides as it would have done."""

    @abstractmethod
    def is_judged(self, number: int, before: int, pairs: int) -> bool:
        """Whether a trial is judged at a report, and so writes a checkpoint there.

        Args:
            number: The trial.
            before: Sentence pairs at its report before.
            pairs: Sentence pairs at this one.
        """

    @abstractmethod
    def judge(self, study: Study, number: int, before: int) -> State:
        """What becomes of a trial after its last report: RUNNING, PAUSED or PRUNED.

        Args:
            study: All trials so far, this report entered.
            number: The trial.
            before: Sentence pairs at its report before.
        """

    def next_paused(self, study: Study) -> int | None:  # noqa: ARG002 -- of a rule that pauses nothing
        """The paused trial that goes on before a new one is begun; None where none may."""
        return None

    def donor(self, study: Study, number: int) -> int | None:  # noqa: ARG002 -- all go on as themselves
        """The trial that a paused one goes on as (`population.take_over`); None: as itself."""
        return None
