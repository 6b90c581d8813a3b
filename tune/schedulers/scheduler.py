"""The interface of schedulers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from tune.schedulers.explanation import Explanation, Forecast
from tune.schedulers.rungs import Interval, Rungs
from tune.study.study import Study
from tune.study.trial_record import Trial


def rivals_in(study: Study) -> list[Trial]:
    """The trials that a decision compares; a failed one takes no place, since it cannot end best."""
    return [trial for trial in study if "FAIL" not in (trial.state, trial.verdict)]


@dataclass(frozen=True)
class Scheduler(ABC):
    """Decides which trials continue. Stateless, so that a resumed search makes the same decisions.

    The explanation contains the decision, so that `why` reports its actual reasons.

    Attributes:
        points: Points at which trials are judged.
    """

    points: Rungs | Interval

    def is_judged(self, number: int, before: float, now: float) -> bool:  # noqa: ARG002 -- for brackets
        """Whether a trial is judged at a report and therefore writes a checkpoint.

        Args:
            number: The trial.
            before: Amount of the search's resource (`tune.study.resource`) at its previous report.
            now: The amount at this report.
        """
        return self.points.between(before, now) is not None

    @abstractmethod
    def explain(self, study: Study, number: int, before: float) -> Explanation:
        """The decision about a trial after its last report, with its reasons.

        Args:
            study: All trials so far, including this report.
            number: The trial.
            before: Amount of the search's resource at its previous report.
        """

    def explain_waiting(self, study: Study, number: int) -> Explanation:
        """The rank of a paused trial among the others, which explains why it resumes or waits.

        Args:
            study: All trials so far.
            number: A paused trial, or one that is resumed next.
        """
        return Explanation(study[number].state, study[number].pairs_seen)

    def forecast(self, study: Study, number: int) -> Forecast | None:  # noqa: ARG002 -- for those that predict
        """The predicted end of a trial; None: the scheduler does not predict, or not yet."""
        return None

    def next_paused(self, study: Study) -> int | None:  # noqa: ARG002 -- for schedulers without pauses
        """The paused trial to resume before a new one starts; None if there is none."""
        return None

    def donor(self, study: Study, number: int) -> int | None:  # noqa: ARG002 -- for schedulers without takeovers
        """The trial whose checkpoint a paused one takes over (`population.take_over`); None: its own."""
        return None
