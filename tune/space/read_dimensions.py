"""Reads the dimensions of a search space and their conditions, and checks them against the base settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from themo.config.settings import Settings, known_leaves, option
from themo.config.yaml_files import Problem
from themo.errors import InputError, did_you_mean
from tune.space.conditions import Condition, ancestors, find_circle, read_condition, split_into_boxes
from tune.space.dimensions import Choice, Dimension, Scalar, ends_of, read_rule, value_at

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


def data_leaves() -> frozenset[str]:
    """Settings that the training data depends on; data is prepared for each of their values."""
    sections: Mapping[str, tuple[str, Any]] = known_leaves()
    return frozenset(
        leaf
        for leaf, (section, _) in sections.items()
        if section in ("data", "teacher") or leaf == "backbone"
    )


def read_dimensions(
    rules: Mapping[str, object], settings: Settings, source: str, problems: list[Problem]
) -> tuple[dict[str, Dimension], dict[str, Condition]]:
    """The valid dimensions and conditions of a file's ``space``; adds each problem to `problems`.

    Args:
        rules: Content of ``space``.
        settings: Base settings of the search; both ends of every range must be valid overrides.
        source: Name of the file in messages.
        problems: Problems of the file so far.
    """
    dimensions: dict[str, Dimension] = {}
    raw_conditions: dict[str, object] = {}
    for name, rule in rules.items():
        if isinstance(rule, Mapping) and "when" in rule:
            raw_conditions[name] = rule["when"]
            rule = {key: value for key, value in rule.items() if key != "when"}
        try:
            dimension = _dimension(name, rule, f"{source}: space.{name}")
        except InputError as error:
            problems.append((("space", name), str(error)))
            continue
        # the ends of a conditional setting are checked below, beside values of its parents
        refusals = [] if name in raw_conditions else _refused_ends(name, dimension, {}, settings, source)
        problems += refusals
        if not refusals:
            dimensions[name] = dimension
    unread = set(rules) - set(dimensions)
    readable = {
        name: when
        for name, when in raw_conditions.items()
        if name in dimensions and not (isinstance(when, Mapping) and unread & set(when))
    }
    return dimensions, _conditions(readable, dimensions, settings, source, problems)


def _dimension(name: object, rule: object, where: str) -> Dimension:
    leaves = known_leaves()
    if not isinstance(name, str):  # YAML reads `1`, `null` and `on` as other types
        raise InputError(f"{where}: must be the name of a setting, got {name!r}")
    if name not in leaves:
        raise InputError(f"{where}: no setting of this name{did_you_mean(name, leaves)}")
    section, _ = leaves[name]
    if section in FIXED_SECTIONS or name in FIXED_LEAVES:
        raise InputError(f"{where}: this setting must be equal for all trials; set it with {option(name)}")
    distribution = read_rule(rule, where)
    if name in data_leaves() and not isinstance(distribution, Choice):
        raise InputError(f"{where}: a setting of the data must be a choice, got {rule!r}")
    return distribution


def _refused_ends(
    name: str, dimension: Dimension, beside: Mapping[str, Scalar], settings: Settings, source: str
) -> list[Problem]:
    """The ends of a dimension that are invalid beside other settings."""
    refusals: list[Problem] = []
    for value in ends_of(dimension):
        try:
            settings.override({**beside, name: value}, source=source)
        except InputError as error:
            refusals.append((("space", name), str(error)))
    return refusals


def _conditions(
    raw_conditions: Mapping[str, object],
    dimensions: Mapping[str, Dimension],
    settings: Settings,
    source: str,
    problems: list[Problem],
) -> dict[str, Condition]:
    """The conditions of the space; none if any is invalid."""
    conditions: dict[str, Condition] = {}
    n_before = len(problems)
    for name, when in raw_conditions.items():
        try:
            conditions[name] = read_condition(name, when, dimensions, f"{source}: space.{name}.when")
        except InputError as error:
            problems.append((("space", name, "when"), str(error)))
    if circle := find_circle(conditions):
        rule = f"settings must not depend on each other in a circle, got {' on '.join(circle)}"
        problems.append((("space", circle[0], "when"), f"{source}: space: {rule}"))
    if len(problems) > n_before:
        return {}
    boxes = split_into_boxes(dimensions, conditions)
    for name in conditions:
        box = next((box for box in boxes if name in box), None)
        if box is None:
            rule = "must be satisfiable, but its parents are never active together"
            problems.append((("space", name, "when"), f"{source}: space.{name}.when: {rule}"))
            continue
        beside = {parent: value_at(box[parent], 0) for parent in ancestors(name, conditions)}
        problems += _refused_ends(name, dimensions[name], beside, settings, source)
    return conditions
