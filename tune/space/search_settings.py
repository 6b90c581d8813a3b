"""How a space is searched: searcher, scheduler and what each of them takes, checked as a section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from themo.config.sections import Section
from tune.space.dimensions import Choice, Dimension, FloatRange

SearcherName = Literal["tpe", "gp", "cmaes", "random", "quasi-random"]
SchedulerName = Literal["asha", "pausing-asha", "hyperband", "median", "pbt", "none"]

CHANGEABLE = ("learn_rate", "weight_decay", "temperature")
"""Settings that a checkpoint does not fix, so that population based training may change them on the way."""

_OF_SEARCHERS: Mapping[str, frozenset[str]] = {
    "tpe": frozenset({"startup_trials"}),
    "gp": frozenset({"startup_trials"}),
    "cmaes": frozenset({"startup_trials"}),
    "random": frozenset(),
    "quasi-random": frozenset(),
}
_OF_SCHEDULERS: Mapping[str, frozenset[str]] = {
    "asha": frozenset({"grace_pairs", "reduction_factor"}),
    "pausing-asha": frozenset({"grace_pairs", "reduction_factor"}),
    "hyperband": frozenset({"grace_pairs", "reduction_factor", "brackets"}),
    "median": frozenset({"grace_pairs"}),
    "pbt": frozenset({"grace_pairs"}),
    "none": frozenset({"grace_pairs"}),
}
"""Settings of the search that only some searchers and schedulers have."""


class SearchSettings(Section):
    """How the space is searched."""

    num_samples: int = Field(32, ge=1)
    """Trials in all."""
    seed: int = Field(0, ge=0)
    """Seed of the proposals; the trials' own seed is `training.seed`."""
    searcher: SearcherName = "tpe"
    """What proposes settings (`tune.searchers`)."""
    startup_trials: int = Field(8, ge=0)
    """Trials proposed at random before there are enough of them to learn from."""
    scheduler: SchedulerName = "asha"
    """What decides which trials go on (`tune.schedulers`)."""
    grace_pairs: int = Field(20_000, ge=1)
    """Sentence pairs that every trial may see: the first rung. Without rungs a trial is judged, and its
    checkpoint written, every so many pairs."""
    reduction_factor: float = Field(3.0, gt=1)
    """Factor from each rung to the next; one trial in this many passes a rung."""
    brackets: int = Field(3, ge=1)
    """HyperBand's brackets; each has its first rung where the one before has its second."""
    max_failures: int = Field(3, ge=0)
    """Deaths of its worker that a trial survives in a row, without a new checkpoint in between."""
    stop_after_no_gain: int | None = Field(None, ge=1)
    """No trial begins once this many that came after the best one have ended (`tune.study.limits`)."""

    @model_validator(mode="before")
    @classmethod
    def _population_is_drawn_at_random(cls, tree: Any) -> Any:
        if isinstance(tree, Mapping) and tree.get("scheduler") == "pbt":
            return {"searcher": "random", **tree}
        return tree

    def unused(self) -> dict[str, str]:
        """The settings that neither searcher nor scheduler has, and which of the two would have them."""
        searchers = dict.fromkeys(frozenset().union(*_OF_SEARCHERS.values()), "searcher")
        schedulers = dict.fromkeys(frozenset().union(*_OF_SCHEDULERS.values()), "scheduler")
        used = _OF_SEARCHERS[self.searcher] | _OF_SCHEDULERS[self.scheduler]
        return {name: owner for name, owner in (searchers | schedulers).items() if name not in used}


def contradictions(search: SearchSettings, dimensions: Mapping[str, Dimension]) -> list[tuple[str, str]]:
    """What of the search does not go together, by setting."""
    problems = []
    if search.searcher == "cmaes" and all(isinstance(d, Choice) for d in dimensions.values()):
        told = ", ".join(dimensions)
        problems.append(
            ("searcher", f"cmaes needs a range of numbers in the space, got choices only: {told}")
        )
    if search.scheduler == "pbt":
        if search.searcher not in ("random", "quasi-random"):
            told = "must be random or quasi-random with scheduler pbt, which draws all trials at the start"
            problems.append(("searcher", f"{told}, got {search.searcher!r}"))
        if not any(isinstance(dimensions.get(name), FloatRange) for name in CHANGEABLE):
            told = f"pbt needs a range of {', '.join(CHANGEABLE[:-1])} or {CHANGEABLE[-1]} in the space"
            problems.append(("scheduler", f"{told}, got {', '.join(dimensions)}"))
        if search.stop_after_no_gain is not None:
            told = "must be left out, scheduler pbt has no such setting: its trials all begin before any ends"
            problems.append(("stop_after_no_gain", f"{told}, got {search.stop_after_no_gain}"))
    return problems
