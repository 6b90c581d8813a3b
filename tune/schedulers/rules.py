"""The rule that a search names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from tune.schedulers.asha import Asha
from tune.schedulers.hyperband import HyperBand
from tune.schedulers.median import Median
from tune.schedulers.pausing import PausingAsha
from tune.schedulers.population import PopulationBased
from tune.schedulers.rungs import Rungs, crosses
from tune.schedulers.scheduler import Scheduler
from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space
from tune.study.study import Study
from tune.study.trial_record import State
from tune.study.tried import most_trials


@dataclass(frozen=True)
class Never(Scheduler):
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


def scheduler_of(search: SearchSettings, space: Space | None = None) -> Scheduler:
    """The rule that a search names.

    Args:
        search: Its settings.
        space: What is searched, where the rule is asked when a search ends; workers only ask where to report.
    """
    rungs = Rungs(search.grace_pairs, search.reduction_factor)
    match search.scheduler:
        case "asha":
            return Asha(rungs)
        case "pausing-asha":
            most = None if space is None else partial(most_trials, space=space)
            return PausingAsha(rungs, search, most)
        case "hyperband":
            return HyperBand(rungs, search.brackets)
        case "median":
            return Median(search.grace_pairs)
        case "pbt":
            return PopulationBased(search.grace_pairs, search.num_samples, search.seed)
        case "none":
            return Never(search.grace_pairs)
