"""The search space: from YAML to typed dimensions, everything wrong with it refused at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import Field, ValidationError, model_validator

from themo.config import Settings, known_leaves, option
from themo.errors import InputError
from themo.sections import Section
from themo.yaml_files import read_yaml

Scalar = bool | int | float | str | None
"""A value that a searched setting may take."""

FIXED_SECTIONS = ("paths", "benchmarks")
"""Settings of these sections change nothing about a student, so there is nothing to search."""

FIXED_LEAVES = (
    "objective",
    "report_pairs",
    "validation",
    "validation_pairs",
    "validation_captions",
    "validation_images",
)
"""What trials are compared by, at and on: must be the same for all of them."""

_KINDS = ("uniform", "log_uniform", "integer", "log_integer", "choice")

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

_OPTIONS = {"seed": "--search-seed"}


class SearchSettings(Section):
    """How the space is searched."""

    num_samples: int = Field(32, ge=1)
    """Trials in all."""
    seed: int = Field(0, ge=0)
    """Seed of the proposals; the trials' own seed is `training.seed`."""
    searcher: SearcherName = "tpe"
    """What proposes settings (`tune.proposals`)."""
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
    """No trial begins once this many that came after the best one have ended (`tune.limits`)."""

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


@dataclass(frozen=True)
class Space:
    """What is searched, how, and from where.

    Attributes:
        dimensions: The distribution of each searched setting by its leaf name, in the file's order.
        first: Settings that are trusted: tried before anything is proposed, each to its end. Each names some
            of the dimensions.
        search: How the space is searched.
    """

    dimensions: Mapping[str, BaseDistribution]
    first: tuple[Mapping[str, Scalar], ...] = ()
    search: SearchSettings = field(default_factory=SearchSettings)

    def combinations(self, leaves: frozenset[str]) -> list[dict[str, Scalar]]:
        """Every combination of the searched ones among the given settings, all of which are choices."""
        names = [name for name in self.dimensions if name in leaves]
        values = [_choices(self.dimensions[name]) for name in names]
        return [dict(zip(names, combination, strict=True)) for combination in itertools.product(*values)]

    def ends(self, name: str) -> list[Scalar]:
        """Lowest and highest value of a range, or all choices."""
        return _ends(self.dimensions[name])

    def searched_by(self, **changes: object) -> Space:
        """The space with other settings of the search; those that then have no use are forgotten.

        Raises:
            InputError: A value is no valid one; the message names its option.
        """
        try:
            own = self.search.model_dump()
            if changes.get("scheduler") == "pbt":
                del own["searcher"], own["stop_after_no_gain"]
            kept = SearchSettings.model_validate(own | changes)
        except ValidationError as error:
            item = error.errors()[0]
            name = str(item["loc"][0])
            option_of = _OPTIONS.get(name, option(name))
            raise InputError(f"{option_of}: must be {_told(item)}, got {item['input']!r}") from None
        for name in kept.unused():
            kept = kept.model_copy(update={name: SearchSettings.model_fields[name].default})
        space = replace(self, search=kept)
        for name, problem in _contradictions(space.search, self.dimensions):
            raise InputError(f"{option(name)}: {problem}")
        return space

    def to_tree(self) -> dict[str, Any]:
        """The space as `from_tree` reads it."""
        return {
            "space": {name: _rule(distribution) for name, distribution in self.dimensions.items()},
            "first": [dict(point) for point in self.first],
            "search": self.search.model_dump(mode="json", exclude=set(self.search.unused())),
        }


def data_leaves() -> frozenset[str]:
    """The settings that the training data depends on: data are prepared for each of their choices."""
    sections: Mapping[str, tuple[str, Any]] = known_leaves()
    return frozenset(
        leaf
        for leaf, (section, _) in sections.items()
        if section in ("data", "teacher") or leaf == "backbone"
    )


def load(path: Path, settings: Settings) -> Space:
    """Read a search space.

    Args:
        path: YAML with the mappings ``space`` and ``search`` and the list ``first``; see configs/search.yaml.
        settings: What the search starts from; every end of every range must be a valid change to it.

    Raises:
        InputError: All problems in one line, each with file, key, rule and value.
    """
    return from_tree(read_yaml(path), settings, source=str(path))


def from_tree(tree: Mapping[str, Any], settings: Settings, source: str) -> Space:
    """As `load`, from the file's content.

    Raises:
        InputError: All problems in one line.
    """
    problems = [
        f"{source}: unknown key {key!r}, known are space, first, search"
        for key in tree
        if key not in ("space", "first", "search")
    ]
    rules = tree.get("space")
    if not isinstance(rules, Mapping) or not rules:
        problems.append(f"{source}: space must be a mapping of settings to ranges, got {rules!r}")
        rules = {}
    dimensions = {}
    for name, rule in rules.items():
        try:
            dimensions[name] = _dimension(name, rule, settings, f"{source}: space.{name}")
        except InputError as error:
            problems.append(str(error))
    unread = set(rules) - set(dimensions)
    first = _first(tree.get("first") or [], dimensions, unread, settings, source, problems)
    search = _search(tree.get("search") or {}, source, problems)
    problems += [f"{source}: search.{name}: {told}" for name, told in _contradictions(search, dimensions)]
    if problems:
        raise InputError("; ".join(problems))
    return Space(dimensions, first, search)


def contains(distribution: BaseDistribution, value: object) -> bool:
    """Whether a dimension can take the value; a float dimension takes integers too, none takes NaN."""
    match distribution:
        case CategoricalDistribution():
            return any(type(choice) is type(value) and choice == value for choice in distribution.choices)
        case IntDistribution(low=low, high=high, step=step):
            whole = isinstance(value, int) and not isinstance(value, bool)
            return whole and low <= value <= high and (value - low) % step == 0  # type: ignore[operator]
        case FloatDistribution(low=low, high=high):
            return _is_number(value) and low <= value <= high  # type: ignore[operator]
        case _:
            raise TypeError(f"no dimension of a search space: {distribution!r}")


def _dimension(name: str, rule: object, settings: Settings, where: str) -> BaseDistribution:
    leaves = known_leaves()
    if name not in leaves:
        raise InputError(f"{where}: no setting of this name")
    section, _ = leaves[name]
    if section in FIXED_SECTIONS or name in FIXED_LEAVES:
        raise InputError(f"{where}: this setting must be equal for all trials; set it with {option(name)}")
    distribution = _read_rule(rule, where)
    if name in data_leaves() and not isinstance(distribution, CategoricalDistribution):
        raise InputError(f"{where}: a setting of the data must be a choice, got {rule!r}")
    refusals = []
    for value in _ends(distribution):
        try:
            settings.override({name: value}, source=where.rpartition(":")[0])
        except InputError as error:
            refusals.append(str(error))
    if refusals:
        raise InputError("; ".join(dict.fromkeys(refusals)))
    return distribution


def _read_rule(rule: object, where: str) -> BaseDistribution:
    kinds = [key for key in rule if key in _KINDS] if isinstance(rule, Mapping) else []
    if not isinstance(rule, Mapping) or len(kinds) != 1:
        raise InputError(f"{where}: must be a mapping with one of {', '.join(_KINDS)}, got {rule!r}")
    kind, values = kinds[0], rule[kinds[0]]
    allowed = {kind, "step"} if kind == "integer" else {kind}
    if extra := set(rule) - allowed:
        raise InputError(f"{where}: {kind} does not take {', '.join(sorted(map(str, extra)))}, got {rule!r}")
    if kind == "choice":
        return _choice(values, where)
    if not isinstance(values, list) or len(values) != 2 or not all(map(_is_number, values)):
        raise InputError(f"{where}: {kind} must be two numbers [low, high], got {values!r}")
    low, high = values
    if not low < high:
        raise InputError(f"{where}: `low < high` must hold, got low={low}, high={high}")
    if kind.startswith("log") and low <= 0:
        raise InputError(f"{where}: `low > 0` must hold in {kind}, got low={low}")
    if not kind.endswith("integer"):
        return FloatDistribution(low, high, log=kind == "log_uniform")
    step = rule.get("step", 1)
    for label, value in (("low", low), ("high", high), ("step", step)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise InputError(f"{where}: {label} must be a whole number, got {value!r}")
    if step < 1 or (high - low) % step:
        raise InputError(
            f"{where}: high must lie whole steps above low, got low={low}, high={high}, step={step}"
        )
    return IntDistribution(low, high, log=kind == "log_integer", step=step)


def _choice(values: object, where: str) -> CategoricalDistribution:
    if not isinstance(values, list) or not values:
        raise InputError(f"{where}: choice must be a list with at least one value, got {values!r}")
    for value in values:
        if not isinstance(value, bool | int | float | str | None):
            raise InputError(f"{where}: a choice must be a string, number, bool or null, got {value!r}")
    if len({(type(value), value) for value in values}) < len(values):
        raise InputError(f"{where}: a choice stands twice, got {values!r}")
    return CategoricalDistribution(values)


def _first(
    points: object,
    dimensions: Mapping[str, BaseDistribution],
    unread: set[str],
    settings: Settings,
    source: str,
    problems: list[str],
) -> tuple[dict[str, Scalar], ...]:
    """The trusted settings, completed by the preset's own values where these lie in the space."""
    if not isinstance(points, list) or not all(isinstance(point, Mapping) for point in points):
        problems.append(f"{source}: first must be a list of mappings of settings to values, got {points!r}")
        return ()
    own = settings.leaves()
    preset = {name: own[name] for name, dimension in dimensions.items() if contains(dimension, own[name])}
    completed = []
    for number, point in enumerate(points):
        for name, value in point.items():
            if name in unread:
                continue
            if name not in dimensions:
                problems.append(f"{source}: first[{number}].{name}: is not searched; it must stand in space")
            elif not contains(dimensions[name], value):
                rule = _rule(dimensions[name])
                problems.append(f"{source}: first[{number}].{name}: must lie in {rule}, got {value!r}")
        completed.append({**preset, **point})
    return tuple(completed)


def _search(tree: object, source: str, problems: list[str]) -> SearchSettings:
    try:
        search = SearchSettings.model_validate(tree)
    except ValidationError as error:
        for item in error.errors():
            key = ".".join(["search", *map(str, item["loc"])])
            if item["type"] == "extra_forbidden":
                known = ", ".join(SearchSettings.model_fields)
                problems.append(f"{source}: unknown key {key!r}, known are {known}")
            else:
                problems.append(f"{source}: {key}: must be {_told(item)}, got {item['input']!r}")
        return SearchSettings()
    problems.extend(
        f"{source}: search.{name}: must be left out, {owner} {getattr(search, owner)} has no such setting, "
        f"got {getattr(search, name)!r}"
        for name, owner in search.unused().items()
        if name in search.model_fields_set
    )
    return search


def _contradictions(
    search: SearchSettings, dimensions: Mapping[str, BaseDistribution]
) -> list[tuple[str, str]]:
    """What of the search does not go together, by setting."""
    problems = []
    if search.searcher == "cmaes" and all(
        isinstance(d, CategoricalDistribution) for d in dimensions.values()
    ):
        told = ", ".join(dimensions)
        problems.append(
            ("searcher", f"cmaes needs a range of numbers in the space, got choices only: {told}")
        )
    if search.scheduler == "pbt":
        if search.searcher not in ("random", "quasi-random"):
            told = "must be random or quasi-random with scheduler pbt, which draws all trials at the start"
            problems.append(("searcher", f"{told}, got {search.searcher!r}"))
        if not any(isinstance(dimensions.get(name), FloatDistribution) for name in CHANGEABLE):
            told = f"pbt needs a range of {', '.join(CHANGEABLE[:-1])} or {CHANGEABLE[-1]} in the space"
            problems.append(("scheduler", f"{told}, got {', '.join(dimensions)}"))
        if search.stop_after_no_gain is not None:
            told = "must be left out, scheduler pbt has no such setting: its trials all begin before any ends"
            problems.append(("stop_after_no_gain", f"{told}, got {search.stop_after_no_gain}"))
    return problems


def _told(item: Any) -> str:
    """A rule of pydantic's, as the end of a sentence."""
    return str(item["msg"]).removeprefix("Input should be ")


def _rule(distribution: BaseDistribution) -> dict[str, Any]:
    match distribution:
        case CategoricalDistribution():
            return {"choice": list(distribution.choices)}
        case IntDistribution(low=low, high=high, log=True):
            return {"log_integer": [low, high]}
        case IntDistribution(low=low, high=high, step=step):
            return {"integer": [low, high]} | ({"step": step} if step != 1 else {})
        case FloatDistribution(low=low, high=high, log=log):
            return {"log_uniform" if log else "uniform": [low, high]}
        case _:
            raise TypeError(f"no dimension of a search space: {distribution!r}")


def _ends(distribution: BaseDistribution) -> list[Scalar]:
    match distribution:
        case CategoricalDistribution():
            return _choices(distribution)
        case IntDistribution(low=low, high=high) | FloatDistribution(low=low, high=high):
            return [low, high]
        case _:
            raise TypeError(f"no dimension of a search space: {distribution!r}")


def _choices(distribution: BaseDistribution) -> list[Scalar]:
    if not isinstance(distribution, CategoricalDistribution):
        raise TypeError(f"has no finite choices: {distribution!r}")
    return list(distribution.choices)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
