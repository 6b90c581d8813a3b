"""The ``search`` section: searcher, scheduler and their settings, validated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_serializer, field_validator, model_validator
from pydantic_core import PydanticCustomError

from themo.config.sections import Section
from tune.space.dimensions import Choice, Dimension, FloatRange

SearcherName = Literal["tpe", "gp", "forecast", "cmaes", "random", "quasi-random"]
SchedulerName = Literal["asha", "pausing-asha", "freeze-thaw", "hyperband", "median", "pbt", "none"]
SecondObjective = Literal["mb", "ms"]
"""Cost of a student that a search minimises too (`tune.study.front`): the MB of its files, or the
milliseconds of one text on one thread."""
Resource = Literal["pairs", "seconds"]
"""Amount at which trials are compared: sentence pairs, or seconds of training (`tune.study.resource`)."""

CHANGEABLE = ("learn_rate", "weight_decay", "temperature")
"""Settings that may change when training resumes, as population based training does."""

OFF = "off"
"""Value of `confirm` without a confirmation, and of the limits in place of null."""

GRACES = ("grace_pairs", "grace_seconds", "grace_share")
"""Settings that define the first rung; a file has one of these."""

NAMING_RULES = frozenset({"searcher", "scheduler", "grace_pairs", "reduction_factor", "brackets"})
"""Settings that name a searcher or scheduler, or belong to some of them: with one of these in a file, Themo
does not choose (`tune.space.automatic`)."""

DEFAULT_SHARE = 0.055
"""First rung where none is given, as a share of a whole trial; the next ones are at a sixth and at a half."""

EARLY_ENDS = ("stop_after_no_gain", "stop_gain", "stop_chance")
"""Settings that end a search before its last trial."""

DEFAULT_STOP_CHANCE = 0.05

_OF_SEARCHERS: Mapping[str, frozenset[str]] = {
    "tpe": frozenset({"startup_trials"}),
    "gp": frozenset({"startup_trials"}),
    "forecast": frozenset({"startup_trials"}),
    "cmaes": frozenset({"startup_trials"}),
    "random": frozenset(),
    "quasi-random": frozenset(),
}
_OF_CONFIRMATION = frozenset({"confirm", "confirm_seeds"})
_OF_SCHEDULERS: Mapping[str, frozenset[str]] = {
    "asha": frozenset({*GRACES, "reduction_factor"}) | _OF_CONFIRMATION,
    "pausing-asha": frozenset({*GRACES, "reduction_factor"}) | _OF_CONFIRMATION,
    "freeze-thaw": frozenset({*GRACES, "startup_trials"}) | _OF_CONFIRMATION,
    "hyperband": frozenset({*GRACES, "reduction_factor", "brackets"}) | _OF_CONFIRMATION,
    "median": frozenset(GRACES) | _OF_CONFIRMATION,
    "pbt": frozenset(GRACES),  # its settings change during training: no run can repeat a trial
    "none": frozenset(GRACES) | _OF_CONFIRMATION,
}
"""Settings that only some searchers and schedulers use."""

FOR_TWO_OBJECTIVES: Mapping[str, tuple[str, ...]] = {
    "searcher": ("tpe", "gp", "random", "quasi-random"),
    "scheduler": ("asha", "pausing-asha", "hyperband", "none"),
}
"""Searchers and schedulers that take a second objective."""

FOR_PBT = ("random", "quasi-random")
"""Searchers that draw the trials of `pbt`, all at the start."""

_IN_PAIRS = frozenset({"grace_pairs"})
_IN_SECONDS = frozenset({"grace_seconds", "trial_seconds"})
_WITHOUT_SECONDS = {
    "searcher": {"forecast": "it predicts ends of trials of known pairs"},
    "scheduler": {
        "freeze-thaw": "it predicts ends of trials of known pairs",
        "pbt": "its rounds are of equal sentence pairs",
    },
}
"""Searchers and schedulers that cannot count seconds, and why."""


class SearchSettings(Section):
    """Settings of a search."""

    num_samples: int = Field(32, ge=1)
    """Total number of trials."""
    seed: int = Field(0, ge=0)
    """Seed of the proposals; the seed of training is `training.seed`."""
    searcher: SearcherName = "tpe"
    """Algorithm that proposes settings (`tune.searchers`). Without searcher and scheduler Themo chooses both
    (`tune.space.automatic`)."""
    startup_trials: int = Field(8, ge=0)
    """Number of random trials before the searcher learns from results."""
    scheduler: SchedulerName = "asha"
    """Algorithm that stops or pauses trials (`tune.schedulers`)."""
    second_objective: SecondObjective | None = None
    """Cost of a student that the search minimises beside its objective: mb, the size of its files, or ms, the
    time of one text; null: one objective."""
    resource: Resource = "pairs"
    """Amount at which trials are compared: sentence pairs seen, or seconds of their own training."""
    trial_seconds: float | None = Field(None, gt=0)
    """Seconds of training after which a trial is complete, at its next report; null, with resource pairs: the
    epochs alone end a trial."""
    grace_pairs: int | None = Field(None, ge=1)
    """Sentence pairs at the first rung, which every trial reaches. For schedulers without rungs, the interval
    between judgements, and checkpoints, in sentence pairs. Null: `grace_share` of a trial; unknown until the
    search begins."""
    grace_seconds: float | None = Field(None, gt=0)
    """The same in seconds of training, with resource seconds; null: `grace_share` of `trial_seconds`."""
    grace_share: float | None = Field(None, gt=0, lt=1)
    """The same as a share of a whole trial: of its sentence pairs, or of `trial_seconds`; null: `grace_pairs`
    or `grace_seconds`, without these 0.055."""
    reduction_factor: float = Field(3.0, gt=1)
    """Ratio of each rung to the previous one; one trial in this many passes a rung."""
    brackets: int = Field(3, ge=1)
    """Number of HyperBand's brackets; each has its first rung at the second rung of the previous one."""
    max_failures: int = Field(3, ge=0)
    """Maximum worker deaths of a trial without a new checkpoint in between; one more fails the trial."""
    stop_after_no_gain: int | None = Field(None, ge=1)
    """Number of ended trials since the best one after which no trial starts (`tune.study.limits`); null or
    ``off``: no limit."""
    stop_gain: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Gain, in the objective's unit: no trial starts once the remaining ones hardly gain more
    (`tune.study.remaining_gain`); null or ``off``: no limit."""
    stop_chance: float | None = Field(None, gt=0, lt=1)
    """The chance below which they hardly do; null: 0.05."""

    confirm: float = Field(0.25)
    """Largest cost of the winner's confirmation with further seeds (`tune.confirmation`), as a share of the
    search's sentence pairs; ``off``: none."""
    confirm_seeds: int = Field(6, ge=2, le=6)
    """Largest number of further seeds of each finalist."""

    @property
    def gain_chance(self) -> float:
        """The chance of a gain above `stop_gain` below which no trial starts."""
        return DEFAULT_STOP_CHANCE if self.stop_chance is None else self.stop_chance

    @property
    def is_confirmed(self) -> bool:
        """Whether the winner is to be confirmed."""
        return self.confirm > 0 and self.scheduler != "pbt"

    @field_validator("confirm", mode="before")
    @classmethod
    def _read_confirm(cls, value: object) -> object:
        if value is False or value == OFF:  # YAML reads `off` as false
            return 0.0
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise PydanticCustomError("confirm", "Input should be off or a share above 0")
        return float(value)

    @field_validator("stop_after_no_gain", "stop_gain", mode="before")
    @classmethod
    def _read_off_as_none(cls, value: object) -> object:
        return None if value is False or value == OFF else value

    @field_serializer("confirm")
    def _write_confirm(self, value: float) -> float | str:
        return value or OFF

    @model_validator(mode="before")
    @classmethod
    def _population_is_drawn_at_random(cls, tree: Any) -> Any:
        if isinstance(tree, Mapping) and tree.get("scheduler") == "pbt":
            return {"searcher": "random", **tree}
        return tree

    @model_validator(mode="before")
    @classmethod
    def _first_rung_is_given(cls, tree: Any) -> Any:
        if isinstance(tree, Mapping) and all(tree.get(name) is None for name in GRACES):
            return {**tree, "grace_share": DEFAULT_SHARE}
        return tree

    @property
    def first_rung(self) -> float:
        """The first rung in the search's resource, sentence pairs or seconds.

        Raises:
            ValueError: The first rung is a share of a trial whose sentence pairs are unknown.
        """
        if self.grace_seconds is not None:
            return self.grace_seconds
        if self.trial_seconds is not None and self.grace_share is not None:
            return self.grace_share * self.trial_seconds
        return self.first_pairs

    @property
    def first_pairs(self) -> int:
        """Sentence pairs at the first rung.

        Raises:
            ValueError: The pairs are unknown: the first rung is a share, or in seconds.
        """
        if self.grace_pairs is None:
            raise ValueError(f"grace_share {self.grace_share} has no sentence pairs before the search begins")
        return self.grace_pairs

    @property
    def whole_pairs(self) -> float:
        """Sentence pairs of a whole trial.

        Raises:
            ValueError: The first rung is not a share of a trial, or its sentence pairs are unknown.
        """
        if self.grace_share is None:
            raise ValueError(f"grace_pairs {self.grace_pairs} does not determine the pairs of a full trial")
        return self.first_pairs / self.grace_share

    def unused(self) -> dict[str, str]:
        """Settings that this searcher or scheduler does not use, each with ``searcher`` or ``scheduler``."""
        searchers = dict.fromkeys(frozenset().union(*_OF_SEARCHERS.values()), "searcher")
        schedulers = dict.fromkeys(frozenset().union(*_OF_SCHEDULERS.values()), "scheduler")
        used = _OF_SEARCHERS[self.searcher] | _OF_SCHEDULERS[self.scheduler]
        return {name: owner for name, owner in (schedulers | searchers).items() if name not in used}

    def of_other_resource(self) -> frozenset[str]:
        """Settings that only the other resource has."""
        return _IN_SECONDS if self.resource == "pairs" else _IN_PAIRS

    def is_spent(self, training_seconds: float) -> bool:
        """Whether a trial is complete after so many seconds of training, at any epoch."""
        return self.trial_seconds is not None and training_seconds >= self.trial_seconds


def contradictions(search: SearchSettings, dimensions: Mapping[str, Dimension]) -> list[tuple[str, str]]:
    """Return contradictions between settings of the search, each with the setting to change."""
    problems = []
    if search.searcher == "cmaes" and all(isinstance(d, Choice) for d in dimensions.values()):
        names = ", ".join(dimensions)
        problems.append(
            ("searcher", f"cmaes needs a range of numbers in the space, got choices only: {names}")
        )
    if search.second_objective is not None:
        problems += [
            (
                owner,
                f"must be {_one_of(able)} with second_objective {search.second_objective}, got {name!r}",
            )
            for owner, able in FOR_TWO_OBJECTIVES.items()
            if (name := getattr(search, owner)) not in able
        ]
    problems += [
        (name, f"must be left out, resource {search.resource} has no such setting, got {value:g}")
        for name in sorted(search.of_other_resource())
        if (value := getattr(search, name)) is not None
    ]
    if search.resource == "seconds":
        problems += _contradictions_of_seconds(search)
    elif search.grace_pairs is None and search.grace_share is None:
        problems.append(("resource", "pairs needs grace_pairs or grace_share, the first rung"))
    if search.grace_share is None:
        rule = "needs grace_share: it predicts the end of a whole trial, of which the first rung is a share"
        if search.searcher == "forecast":
            problems.append(("searcher", f"forecast {rule}"))
        if search.scheduler == "freeze-thaw":
            problems.append(("scheduler", f"freeze-thaw {rule}"))
    if search.scheduler == "pbt":
        if search.searcher not in FOR_PBT:
            rule = "must be random or quasi-random with scheduler pbt, which draws all trials at the start"
            problems.append(("searcher", f"{rule}, got {search.searcher!r}"))
        if not any(isinstance(dimensions.get(name), FloatRange) for name in CHANGEABLE):
            rule = f"pbt needs a range of {', '.join(CHANGEABLE[:-1])} or {CHANGEABLE[-1]} in the space"
            problems.append(("scheduler", f"{rule}, got {', '.join(dimensions)}"))
        rule = "must be left out, scheduler pbt has no such setting: all trials start before any ends"
        given = {name: getattr(search, name) for name in EARLY_ENDS}
        problems += [(name, f"{rule}, got {value:g}") for name, value in given.items() if value is not None]
    if search.stop_chance is not None and search.stop_gain is None:
        rule = "needs stop_gain (--stop-gain 0.01): stop_chance is the chance of this gain"
        problems.append(("stop_chance", f"{rule}, got {search.stop_chance:g}"))
    return problems


def _one_of(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _contradictions_of_seconds(search: SearchSettings) -> list[tuple[str, str]]:
    """Return contradictions with seconds as the resource, each with the setting to change."""
    problems = [
        (owner, f"{name} needs resource pairs, {reasons[name]}, got 'seconds'")
        for owner, reasons in _WITHOUT_SECONDS.items()
        if (name := getattr(search, owner)) in reasons
    ]
    if search.trial_seconds is None:
        problems.append(
            (
                "resource",
                "seconds needs trial_seconds (--trial-seconds 10m), the training time of a whole trial",
            )
        )
    if search.grace_seconds is None and search.grace_share is None:
        problems.append(("resource", "seconds needs grace_share or grace_seconds, the first rung"))
    whole, first = search.trial_seconds, search.grace_seconds
    if whole is not None and first is not None and first >= whole:
        problems.append(("trial_seconds", f"must be above grace_seconds {first:g}, got {whole:g}"))
    return problems
