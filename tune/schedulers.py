"""Which trials go on: the rules by name, all of them pure functions of the record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tune.asha import Asha
from tune.hyperband import HyperBand
from tune.median import Median
from tune.pausing import PausingAsha
from tune.population import PopulationBased
from tune.record import State
from tune.rungs import Rungs, crosses
from tune.search_settings import SearchSettings
from tune.study import Study


class Scheduler(Protocol):
    """A rule. It holds no state, so that a resumed search decides as it would have done."""

    def is_judged(self, number: int, before: int, pairs: int) -> bool:
        """Whether a trial is judged at a report, and so writes a checkpoint there.

        Args:
            number: The trial.
            before: Sentence pairs at its report before.
            pairs: Sentence pairs at this one.
        """

    def judge(self, study: Study, number: int, before: int) -> State:
        """What becomes of a trial after its last report: RUNNING, PAUSED or PRUNED.

        Args:
            study: All trials so far, this report entered.
            number: The trial.
            before: Sentence pairs at its report before.
        """

    def next_paused(self, study: Study) -> int | None:
        """The paused trial that goes on before a new one is begun; None where none may."""

    def donor(self, study: Study, number: int) -> int | None:
        """The trial that a paused one goes on as (`tune.population.take_over`); None: as itself."""


@dataclass(frozen=True)
class Never:
    """No trial is stopped; checkpoints are written all the same.

    Attributes:
        interval: Sentence pairs between checkpoints.
    """

    interval: int

    def is_judged(self, number: int, before: int, pairs: int) -> bool:  # noqa: ARG002 -- all trials alike
        """Whether a multiple of the interval lies between two reports."""
        return crosses(self.interval, before, pairs)

    def judge(self, study: Study, number: int, before: int) -> State:  # noqa: ARG002 -- whatever it reached
        """RUNNING: every trial goes on."""
        return "RUNNING"

    def next_paused(self, study: Study) -> None:
        """None: nothing is paused."""

    def donor(self, study: Study, number: int) -> None:
        """None: trials go on as themselves."""


def scheduler_of(search: SearchSettings) -> Scheduler:
    """The rule that a search names."""
    rungs = Rungs(search.grace_pairs, search.reduction_factor)
    match search.scheduler:
        case "asha":
            return Asha(rungs)
        case "pausing-asha":
            return PausingAsha(rungs, search)
        case "hyperband":
            return HyperBand(rungs, search.brackets)
        case "median":
            return Median(search.grace_pairs)
        case "pbt":
            return PopulationBased(search.grace_pairs, search.num_samples, search.seed)
        case "none":
            return Never(search.grace_pairs)
