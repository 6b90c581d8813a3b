"""Reads the dimensions of a search space and their conditions, and checks them against the base settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from themo.config.settings import Settings, known_leaves, option
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
    rules: Mapping[str, object], settings: Settings, source: str, problems: list[str]
) -> tuple[dict[str, Dimension], dict[str, Condition]]:
    """The valid dimensions and conditions of a file's ``space``; adds a line for each problem to `problems`.

    Args:
        rules: Content of ``space``.
        settings: Base settings of the search; both ends of every range must be valid overrides.
        source: Name of the file in messages.
        problems: Lines for the user.
    """
    dimensions: dict[str, Dimension] = {}
    raw_conditions: dict[str, object] = {}
    for name, rule in rules.items():
        if isinstance(rule, Mapping) and "when" in rule:
            raw_conditions[name] = rule["when"]
            rule = {key: value for key, value in rule.items() if key != "when"}
        try:
            dimensions[name] = _dimension(name, rule, f"{source}: space.{name}")
            if name not in raw_conditions:  # else its ends are checked beside values of its parents
                _refuse_ends(name, dimensions[name], {}, settings, source)
        except InputError as error:
            dimensions.pop(name, None)
            problems.append(str(error))
    unread = set(rules) - set(dimensions)
    readable = {
        name: when
        for name, when in raw_conditions.items()
        if name in dimensions and not (isinstance(when, Mapping) and unread & set(when))
    }
    return dimensions, _conditions(readable, dimensions, settings, source, problems)


def _dimension(name: str, rule: object, where: str) -> Dimension:
    leaves = known_leaves()
    if name not in leaves:
        raise InputError(f"{where}: no setting of this name{did_you_mean(name, leaves)}")
    section, _ = leaves[name]
    if section in FIXED_SECTIONS or name in FIXED_LEAVES:
        raise InputError(f"{where}: this setting must be equal for all trials; set it with {option(name)}")
    distribution = read_rule(rule, where)
    if name in data_leaves() and not isinstance(distribution, Choice):
        raise InputError(f"{where}: a setting of the data must be a choice, got {rule!r}")
    return distribution


def _refuse_ends(
    name: str, dimension: Dimension, beside: Mapping[str, Scalar], settings: Settings, source: str
) -> None:
    refusals = []
    for value in ends_of(dimension):
        try:
            settings.override({**beside, name: value}, source=source)
        except InputError as error:
            refusals.append(str(error))
    if refusals:
        raise InputError("; ".join(dict.fromkeys(refusals)))


def _conditions(
    raw_conditions: Mapping[str, object],
    dimensions: Mapping[str, Dimension],
    settings: Settings,
    source: str,
    problems: list[str],
) -> dict[str, Condition]:
    """The conditions of the space; none if any is invalid."""
    conditions: dict[str, Condition] = {}
    n_before = len(problems)
    for name, when in raw_conditions.items():
        try:
            conditions[name] = read_condition(name, when, dimensions, f"{source}: space.{name}.when")
        except InputError as error:
            problems.append(str(error))
    if circle := find_circle(conditions):
        problems.append(
            f"{source}: space: settings must not depend on each other in a circle, got {' on '.join(circle)}"
        )
    if len(problems) > n_before:
        return {}
    boxes = split_into_boxes(dimensions, conditions)
    for name in conditions:
        box = next((box for box in boxes if name in box), None)
        if box is None:
            problems.append(
                f"{source}: space.{name}.when: must be satisfiable, but its parents are never active together"
            )
            continue
        beside = {parent: value_at(box[parent], 0) for parent in ancestors(name, conditions)}
        try:
            _refuse_ends(name, dimensions[name], beside, settings, source)
        except InputError as error:
            problems.append(str(error))
    return conditions
