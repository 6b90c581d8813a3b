"""Builds the scheduler of a search."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from tune.schedulers.asha import Asha
from tune.schedulers.explanation import Explanation
from tune.schedulers.hyperband import HyperBand
from tune.schedulers.median import Median
from tune.schedulers.pausing import PausingAsha
from tune.schedulers.population import PopulationBased
from tune.schedulers.rungs import Interval, Rungs
from tune.schedulers.scheduler import Scheduler
from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space
from tune.study.study import Study
from tune.study.tried import most_trials


@dataclass(frozen=True)
class Never(Scheduler):
    """Scheduler that stops no trial; checkpoints are written at intervals."""

    def explain(self, study: Study, number: int, before: float) -> Explanation:  # noqa: ARG002
        """RUNNING for every trial."""
        return Explanation("RUNNING", study[number].pairs_seen)


def scheduler_of(search: SearchSettings, space: Space | None = None) -> Scheduler:
    """Return the scheduler of a search.

    Args:
        search: Settings of the search; its first rung is known.
        space: The search space, needed to know when a search ends; workers, which only ask whether a report
            is judged, leave it out.

    Raises:
        ValueError: The first rung is a share of a trial whose sentence pairs are unknown.
    """
    first = search.first_rung
    rungs = Rungs(first, search.reduction_factor, search.resource, search.second_objective)
    match search.scheduler:
        case "asha":
            return Asha(rungs)
        case "pausing-asha":
            most = None if space is None else partial(most_trials, space=space)
            return PausingAsha(rungs, search, most)
        case "freeze-thaw":
            from tune.schedulers.freeze_thaw import FreezeThaw  # SciPy takes a second

            most = None if space is None else partial(most_trials, space=space)
            return FreezeThaw(Interval(search.first_pairs), space, most)
        case "hyperband":
            return HyperBand(rungs, search.brackets)
        case "median":
            return Median(Interval(first), search.resource)
        case "pbt":
            return PopulationBased(Interval(search.first_pairs), search.num_samples, search.seed)
        case "none":
            return Never(Interval(first))
