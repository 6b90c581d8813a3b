"""Reads a search space from YAML into typed dimensions, and reports all its problems at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from themo.config.settings import Settings, option
from themo.config.yaml_files import Problem, message_of, read_yaml
from themo.errors import InputError, did_you_mean
from tune.space import conditions as of_conditions
from tune.space.conditions import Box, Condition
from tune.space.dimensions import Dimension, Scalar, choices_of, contains, n_values, rule_of
from tune.space.read_dimensions import read_dimensions
from tune.space.search_settings import (
    EARLY_ENDS,
    FOR_PBT,
    GRACES,
    NAMING_RULES,
    OFF,
    SearchSettings,
    contradictions,
)

_OPTIONS = {"seed": "--search-seed"}


@dataclass(frozen=True)
class Space:
    """A search space, its trusted settings, and the settings of the search.

    Attributes:
        dimensions: The distribution of each searched setting by its leaf name, in the file's order.
        first: Trusted settings, tried before any proposal and never stopped early. Each names some of the
            dimensions.
        search: Settings of the search.
        conditions: Conditions of conditional settings, by name. A trial omits inactive settings; base values
            apply.
        is_automatic: Whether neither the file nor an option names a searcher, a scheduler or a setting that
            only some of them use (`tune.space.automatic`).
    """

    dimensions: Mapping[str, Dimension]
    first: tuple[Mapping[str, Scalar], ...] = ()
    search: SearchSettings = field(default_factory=SearchSettings)
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    is_automatic: bool = field(default=False, compare=False)

    def is_active(self, name: str, values: Mapping[str, Scalar]) -> bool:
        """Whether a setting of the space applies given other settings."""
        return of_conditions.is_active(name, values, self.conditions)

    def active(self, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
        """The settings of the space that are active among `values`, in the file's order."""
        return {
            name: values[name] for name in self.dimensions if name in values and self.is_active(name, values)
        }

    def is_complete(self, params: Mapping[str, Scalar]) -> bool:
        """Whether settings contain all dimensions that are active given them."""
        return all(name in params for name in self.dimensions if self.is_active(name, params))

    @cached_property
    def boxes(self) -> list[Box]:
        """The space as disjoint products of dimensions; one without conditions."""
        return of_conditions.split_into_boxes(self.dimensions, self.conditions)

    def combinations(self, leaves: frozenset[str]) -> list[dict[str, Scalar]]:
        """All combinations of values of the searched settings among `leaves`, all of which are choices."""
        found: list[dict[str, Scalar]] = []
        for box in self.boxes:
            names = [name for name in box if name in leaves]
            values = [choices_of(box[name]) for name in names]
            found += [dict(zip(names, drawn, strict=True)) for drawn in itertools.product(*values)]
        return [values for i, values in enumerate(found) if values not in found[:i]]

    @property
    def n_points(self) -> float:
        """Number of distinct settings in the space; infinity with a range of real numbers."""
        return sum(math.prod(map(n_values, box.values())) for box in self.boxes)

    def searched_by(self, **changes: object) -> Space:
        """A copy with other settings of the search; settings that become unused are reset.

        Raises:
            InputError: A value is invalid; the message names its option.
        """
        try:
            own = self.search.model_dump()
            if not changes.keys().isdisjoint(GRACES):
                own |= dict.fromkeys(GRACES)
            if changes.get("scheduler") == "pbt":
                replaced = EARLY_ENDS if own["searcher"] in FOR_PBT else ("searcher", *EARLY_ENDS)
                own = {name: value for name, value in own.items() if name not in replaced}
            if changes.get("stop_gain") == OFF:
                own["stop_chance"] = None
            kept = SearchSettings.model_validate(own | changes)
        except ValidationError as error:
            item = error.errors()[0]
            name = str(item["loc"][0])
            option_of = _OPTIONS.get(name, option(name))
            raise InputError(f"{option_of}: must be {_rule_text(item)}, got {item['input']!r}") from None
        for name, owner in kept.unused().items():
            if changes.get(name, OFF) not in (OFF, 0.0):
                rule = f"must be left out, {owner} {getattr(kept, owner)} has no such setting"
                raise InputError(f"{option(name)}: {rule}, got {changes[name]!r}")
        for name in kept.unused().keys() | (kept.of_other_resource() - changes.keys()):
            kept = kept.model_copy(update={name: SearchSettings.model_fields[name].default})
        is_automatic = self.is_automatic and NAMING_RULES.isdisjoint(changes)
        space = replace(self, search=kept, is_automatic=is_automatic)
        for name, problem in contradictions(space.search, self.dimensions):
            raise InputError(f"{option(name)}: {problem}")
        return space

    def with_first_rung(self, pairs: int | None) -> Space:
        """A copy with the sentence pairs of `grace_share`; `pairs` None: not yet known.

        With seconds as the resource, returns the space itself: its first rung is known from the start.
        """
        if self.search.grace_share is None or self.search.resource == "seconds":
            return self
        return replace(self, search=self.search.model_copy(update={"grace_pairs": pairs}))

    def for_trials(self, whole_pairs: float) -> Space:
        """A copy with its first rung in sentence pairs, at least one, for whole trials of `whole_pairs`."""
        share = self.search.grace_share
        return self if share is None else self.with_first_rung(max(1, math.floor(share * whole_pairs)))

    def to_tree(self) -> dict[str, Any]:
        """The content of the file, inverse to `from_tree`; the pairs of `grace_share` are left out."""
        is_share = self.search.grace_share is not None
        left_out = {*self.search.unused(), *self.search.of_other_resource()}
        left_out |= {"grace_pairs", "grace_seconds"} if is_share else {"grace_share"}
        return {
            "space": {name: self._rule_of(name) for name in self.dimensions},
            "first": [dict(point) for point in self.first],
            "search": self.search.model_dump(mode="json", exclude=left_out),
        }

    def _rule_of(self, name: str) -> dict[str, Any]:
        parents = self.conditions.get(name, {})
        when = {parent: choices_of(allowed) for parent, allowed in parents.items()}
        return rule_of(self.dimensions[name]) | ({"when": when} if when else {})


def load(path: Path, settings: Settings) -> Space:
    """Read a search space.

    Args:
        path: YAML with the mappings ``space`` and ``search`` and the list ``first``; see configs/search.yaml.
        settings: Base settings of the search; every end of every range must be a valid override.

    Raises:
        InputError: All problems, each with file, key, rule and value; several come one per line with line
            number.
    """
    return _read(read_yaml(path), settings, str(path), path)


def from_tree(tree: Mapping[str, Any], settings: Settings, source: str) -> Space:
    """Read a search space from a file's content; see `load`.

    Raises:
        InputError: All problems in one line.
    """
    return _read(tree, settings, source, None)


def _read(tree: Mapping[str, Any], settings: Settings, source: str, path: Path | None) -> Space:
    problems: list[Problem] = [
        ((key,), f"{source}: unknown key {key!r}; known keys: space, first, search")
        for key in tree
        if key not in ("space", "first", "search")
    ]
    rules = tree.get("space")
    if not isinstance(rules, Mapping) or not rules:
        problems.append(
            (("space",), f"{source}: space must be a mapping of settings to ranges, got {rules!r}")
        )
        rules = {}
    dimensions, conditions = read_dimensions(rules, settings, source, problems)
    unread = set(rules) - set(dimensions)
    shape = Space(dimensions, conditions=conditions)
    first = _first(tree.get("first") or [], shape, unread, settings, source, problems)
    rules_of_search = tree.get("search") or {}
    search = _search(rules_of_search, source, problems)
    is_automatic = isinstance(rules_of_search, Mapping) and NAMING_RULES.isdisjoint(rules_of_search)
    problems += [
        (("search", name), f"{source}: search.{name}: {rule}")
        for name, rule in contradictions(search, dimensions)
    ]
    if problems:
        raise InputError(message_of(problems, path))
    return Space(dimensions, first, search, conditions, is_automatic)


def _first(
    points: object,
    space: Space,
    unread: set[str],
    settings: Settings,
    source: str,
    problems: list[Problem],
) -> tuple[dict[str, Scalar], ...]:
    """The trusted settings, completed with the base settings' values that lie in the space."""
    dimensions = space.dimensions
    if not isinstance(points, list) or not all(isinstance(point, Mapping) for point in points):
        rule = "must be a list of mappings of settings to values"
        problems.append((("first",), f"{source}: first {rule}, got {points!r}"))
        return ()
    own = settings.leaves()
    preset = {name: own[name] for name, dimension in dimensions.items() if contains(dimension, own[name])}
    completed = []
    for number, point in enumerate(points):
        for name, value in point.items():
            if rule := _rule_of_trusted(name, value, {**preset, **point}, space, unread):
                problems.append((("first", number, name), f"{source}: first[{number}].{name}: {rule}"))
        whole = space.active({**preset, **point})
        if whole not in completed or not space.is_complete(whole):
            completed.append(whole)  # else it duplicates an earlier one
    return tuple(completed)


def _rule_of_trusted(
    name: str, value: object, point: Mapping[str, Scalar], space: Space, unread: set[str]
) -> str:
    """The rule that a value of a trusted setting breaks; empty if it is valid or its dimension is not."""
    if name in unread:
        return ""
    if name not in space.dimensions:
        return "must be a setting of space"
    if not contains(space.dimensions[name], value):
        return f"must lie in {rule_of(space.dimensions[name])}, got {value!r}"
    if not space.is_active(name, point):
        parents = of_conditions.in_words(space.conditions[name])
        return f"must be left out, it is active only {parents}, got {value!r}"
    return ""


def _search(tree: object, source: str, problems: list[Problem]) -> SearchSettings:
    graces = [name for name in GRACES if isinstance(tree, Mapping) and tree.get(name) is not None]
    if isinstance(tree, Mapping) and len(graces) > 1:
        values = " and ".join(str(tree[name]) for name in graces)
        rule = f"must have one of {' and '.join(graces)}, got {values}"
        problems.append((("search", graces[-1]), f"{source}: search: {rule}"))
    try:
        search = SearchSettings.model_validate(tree)
    except ValidationError as error:
        for item in error.errors():
            place = ("search", *item["loc"])
            key = ".".join(map(str, place))
            if item["type"] == "extra_forbidden":
                known = SearchSettings.model_fields
                hint = did_you_mean(str(item["loc"][-1]), known) or f"; known keys: {', '.join(known)}"
                problems.append((place, f"{source}: unknown key {key!r}{hint}"))
            else:
                rule = f"must be {_rule_text(item)}, got {item['input']!r}"
                problems.append((place, f"{source}: {key}: {rule}"))
        return SearchSettings()
    for name, owner in search.unused().items():
        if name in search.model_fields_set:
            rule = f"must be left out, {owner} {getattr(search, owner)} has no such setting"
            problems.append(
                (("search", name), f"{source}: search.{name}: {rule}, got {getattr(search, name)!r}")
            )
    return search


def _rule_text(item: Any) -> str:
    """Pydantic's message, shortened to the rule: the part after "must be"."""
    return str(item["msg"]).removeprefix("Input should be ")
