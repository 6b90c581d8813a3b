"""Libraries that propose a setting with a budget, and receive its score when the budget is used."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from benchmarks.searches.replay import Job, Method
from tune.space.dimensions import Scalar


@dataclass(frozen=True)
class Proposal:
    """A setting and its training budget.

    Attributes:
        setting: The library's name of the setting.
        params: The settings.
        n_reports: Reports, counted from the start of the training, after which the score is due.
        handle: The library's object to which the score is reported.
    """

    setting: Hashable
    params: dict[str, Scalar]
    n_reports: int
    handle: Any


@dataclass
class _Training:
    asked: Proposal
    is_running: bool = True
    is_over: bool = False
    n_reports: int = 0
    pairs: int = 0
    value: float = 0.0


WORST = 0.0
"""Score of a training that diverged: all objectives of the tables lie between 0 and 1."""


class Budgeted(Method):
    """A method of proposals with budgets.

    A setting that is proposed again continues from its checkpoint. If its first training still runs (some
    libraries propose a setting even then), a second training starts from scratch.
    """

    def __init__(self) -> None:
        self._trainings: list[_Training] = []
        self._latest: dict[Hashable, int] = {}

    @abstractmethod
    def propose(self) -> Proposal | None:
        """The library's next setting and budget; None if it has no more."""

    @abstractmethod
    def tell(self, asked: Proposal, value: float, *, failed: bool) -> None:
        """Give the library the score of a proposal, higher is better."""

    def ask(self) -> Job | None:
        """The next proposal that needs training; a finished training's score is reported at once."""
        while (asked := self.propose()) is not None:
            number = self._number(asked)
            training = self._trainings[number]
            if not training.is_over and training.n_reports < asked.n_reports:
                training.asked, training.is_running = asked, True
                return Job(number, asked.params, training.pairs)
            training.is_running = False
            self.tell(asked, training.value, failed=False)
        return None

    def _number(self, asked: Proposal) -> int:
        number = self._latest.get(asked.setting)
        if number is None or self._trainings[number].is_running:
            number = self._latest[asked.setting] = len(self._trainings)
            self._trainings.append(_Training(asked))
        return number

    def report(self, trial: int, pairs: int, value: float, *, is_last: bool) -> bool:
        """Continue the training until the budget is used."""
        training = self._trainings[trial]
        training.n_reports += 1
        training.pairs, training.value, training.is_over = pairs, value, is_last
        if not is_last and training.n_reports < training.asked.n_reports:
            return True
        training.is_running = False
        self.tell(training.asked, value, failed=False)
        return False

    def fail(self, trial: int) -> None:
        """Give a diverged training the worst score; if its budget ended there, its next proposal has it."""
        training = self._trainings[trial]
        was_running = training.is_running
        training.is_running, training.is_over, training.value = False, True, WORST
        if was_running:
            self.tell(training.asked, WORST, failed=True)
