"""The interface of schedulers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from tune.study.study import Study
from tune.study.trial_record import State


class Scheduler(ABC):
    """Decides which trials continue. Stateless, so that a resumed search makes the same decisions."""

    @abstractmethod
    def is_judged(self, number: int, before: int, pairs: int) -> bool:
        """Whether a trial is judged at a report and therefore writes a checkpoint.

        Args:
            number: The trial.
            before: Sentence pairs at its previous report.
            pairs: Sentence pairs at this report.
        """

    @abstractmethod
    def judge(self, study: Study, number: int, before: int) -> State:
        """The state of a trial after its last report: RUNNING, PAUSED or PRUNED.

        Args:
            study: All trials so far, including this report.
            number: The trial.
            before: Sentence pairs at its previous report.
        """

    def next_paused(self, study: Study) -> int | None:  # noqa: ARG002 -- for schedulers without pauses
        """The paused trial to resume before a new one starts; None if there is none."""
        return None

    def donor(self, study: Study, number: int) -> int | None:  # noqa: ARG002 -- for schedulers without takeovers
        """The trial that a paused one takes over (`population.take_over`); None: it continues itself."""
        return None
