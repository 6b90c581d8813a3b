"""Reads a search space from YAML into typed dimensions, and reports all its problems at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from themo.config.settings import Settings, known_leaves, option
from themo.config.yaml_files import read_yaml
from themo.errors import InputError
from tune.space.dimensions import (
    Choice,
    Dimension,
    Scalar,
    choices_of,
    contains,
    ends_of,
    n_values,
    read_rule,
    rule_of,
)
from tune.space.search_settings import SearchSettings, contradictions

FIXED_SECTIONS = ("paths", "benchmarks")
"""Sections whose settings do not affect a student and cannot be searched."""

FIXED_LEAVES = (
    "objective",
    "report_pairs",
    "validation",
    "validation_pairs",
    "validation_captions",
    "validation_images",
)
"""Settings that must be equal for all trials, so that their scores can be compared."""

_OPTIONS = {"seed": "--search-seed"}


@dataclass(frozen=True)
class Space:
    """A search space, its trusted settings, and the settings of the search.

    Attributes:
        dimensions: The distribution of each searched setting by its leaf name, in the file's order.
        first: Trusted settings, tried before any proposal and never stopped early. Each names some of the
            dimensions.
        search: Settings of the search.
    """

    dimensions: Mapping[str, Dimension]
    first: tuple[Mapping[str, Scalar], ...] = ()
    search: SearchSettings = field(default_factory=SearchSettings)

    def combinations(self, leaves: frozenset[str]) -> list[dict[str, Scalar]]:
        """All combinations of values of the searched settings among `names`, all of which are choices."""
        names = [name for name in self.dimensions if name in leaves]
        values = [choices_of(self.dimensions[name]) for name in names]
        return [dict(zip(names, combination, strict=True)) for combination in itertools.product(*values)]

    @property
    def n_points(self) -> float:
        """Number of distinct settings in the space; infinity with a range of real numbers."""
        return math.prod(n_values(dimension) for dimension in self.dimensions.values())

    def ends(self, name: str) -> list[Scalar]:
        """The lowest and the highest value of a range, or all values of a choice."""
        return ends_of(self.dimensions[name])

    def searched_by(self, **changes: object) -> Space:
        """A copy with other settings of the search; settings that become unused are reset.

        Raises:
            InputError: A value is invalid; the message names its option.
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
            raise InputError(f"{option_of}: must be {_rule_text(item)}, got {item['input']!r}") from None
        for name in kept.unused():
            kept = kept.model_copy(update={name: SearchSettings.model_fields[name].default})
        space = replace(self, search=kept)
        for name, problem in contradictions(space.search, self.dimensions):
            raise InputError(f"{option(name)}: {problem}")
        return space

    def to_tree(self) -> dict[str, Any]:
        """The content of the file, inverse to `from_tree`."""
        return {
            "space": {name: rule_of(distribution) for name, distribution in self.dimensions.items()},
            "first": [dict(point) for point in self.first],
            "search": self.search.model_dump(mode="json", exclude=set(self.search.unused())),
        }


def data_leaves() -> frozenset[str]:
    """Settings that the training data depends on; data is prepared for each of their values."""
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
        settings: Base settings of the search; every end of every range must be a valid override.

    Raises:
        InputError: All problems in one line, each with file, key, rule and value.
    """
    return from_tree(read_yaml(path), settings, source=str(path))


def from_tree(tree: Mapping[str, Any], settings: Settings, source: str) -> Space:
    """Read a search space from a file's content; see `load`.

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
    problems += [f"{source}: search.{name}: {rule}" for name, rule in contradictions(search, dimensions)]
    if problems:
        raise InputError("; ".join(problems))
    return Space(dimensions, first, search)


def _dimension(name: str, rule: object, settings: Settings, where: str) -> Dimension:
    leaves = known_leaves()
    if name not in leaves:
        raise InputError(f"{where}: no setting of this name")
    section, _ = leaves[name]
    if section in FIXED_SECTIONS or name in FIXED_LEAVES:
        raise InputError(f"{where}: this setting must be equal for all trials; set it with {option(name)}")
    distribution = read_rule(rule, where)
    if name in data_leaves() and not isinstance(distribution, Choice):
        raise InputError(f"{where}: a setting of the data must be a choice, got {rule!r}")
    refusals = []
    for value in ends_of(distribution):
        try:
            settings.override({name: value}, source=where.rpartition(":")[0])
        except InputError as error:
            refusals.append(str(error))
    if refusals:
        raise InputError("; ".join(dict.fromkeys(refusals)))
    return distribution


def _first(
    points: object,
    dimensions: Mapping[str, Dimension],
    unread: set[str],
    settings: Settings,
    source: str,
    problems: list[str],
) -> tuple[dict[str, Scalar], ...]:
    """The trusted settings, completed with the base settings' values that lie in the space."""
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
                problems.append(f"{source}: first[{number}].{name}: must be a setting of space")
            elif not contains(dimensions[name], value):
                rule = rule_of(dimensions[name])
                problems.append(f"{source}: first[{number}].{name}: must lie in {rule}, got {value!r}")
        whole = {**preset, **point}
        if whole not in completed or whole.keys() != dimensions.keys():
            completed.append(whole)  # else it duplicates an earlier one
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
                problems.append(f"{source}: {key}: must be {_rule_text(item)}, got {item['input']!r}")
        return SearchSettings()
    problems.extend(
        f"{source}: search.{name}: must be left out, {owner} {getattr(search, owner)} has no such setting, "
        f"got {getattr(search, name)!r}"
        for name, owner in search.unused().items()
        if name in search.model_fields_set
    )
    return search


def _rule_text(item: Any) -> str:
    """Pydantic's message, shortened to the rule: the part after "must be"."""
    return str(item["msg"]).removeprefix("Input should be ")
