"""Conditional settings: a setting of the space that only applies where other settings have certain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from themo.errors import InputError, did_you_mean
from tune.space.dimensions import Choice, Dimension, FloatRange, Scalar, contains, n_values, rule_of, value_at

Condition = Mapping[str, Choice]
"""Values of each parent setting at which a setting is active; all parents must have one of their values."""

Box = Mapping[str, Dimension]
"""A product of dimensions, in which all points have the same settings."""


def read_condition(name: str, when: object, dimensions: Mapping[str, Dimension], where: str) -> Condition:
    """Read the condition of a setting, such as ``{loss: [infonce]}``.

    Args:
        name: The setting.
        when: Content of its ``when``.
        dimensions: All dimensions of the space.
        where: Name of the condition in messages.

    Raises:
        InputError: The condition is invalid; the message starts with `where`.
    """
    if not isinstance(when, Mapping) or not when:
        raise InputError(f"{where}: must be a mapping of settings to their values, got {when!r}")
    if name in when:
        raise InputError(f"{where}: must name other settings, {name} depends on itself")
    return {
        parent: _values(values, parent, dimensions, f"{where}.{parent}") for parent, values in when.items()
    }


def _values(values: object, parent: str, dimensions: Mapping[str, Dimension], where: str) -> Choice:
    if parent not in dimensions:
        raise InputError(f"{where}: must be a setting of space{did_you_mean(str(parent), dimensions)}")
    dimension = dimensions[parent]
    if isinstance(dimension, FloatRange):
        raise InputError(f"{where}: must be a choice or whole numbers, {parent} is {rule_of(dimension)}")
    listed: list[Any] = values if isinstance(values, list) else [values]
    if not listed:
        raise InputError(f"{where}: must be a value or a list of values, got {values!r}")
    for value in listed:
        if not contains(dimension, value):
            raise InputError(f"{where}: must lie in {rule_of(dimension)}, got {value!r}")
    return Choice([value for i, value in enumerate(listed) if not contains(Choice(listed[:i]), value)])


def find_circle(conditions: Mapping[str, Condition]) -> list[str]:
    """A cycle of dependent settings, with the first one repeated at the end; empty without a cycle."""

    def follow(path: list[str]) -> list[str]:
        for parent in conditions.get(path[-1], ()):
            if parent in path:
                return [*path[path.index(parent) :], parent]
            if found := follow([*path, parent]):
                return found
        return []

    return next((circle for name in conditions if (circle := follow([name]))), [])


def is_active(name: str, values: Mapping[str, Scalar], conditions: Mapping[str, Condition]) -> bool:
    """Whether a setting applies given other settings; a missing or inactive parent has no value."""
    return all(
        parent in values and contains(allowed, values[parent]) and is_active(parent, values, conditions)
        for parent, allowed in conditions.get(name, {}).items()
    )


def ancestors(name: str, conditions: Mapping[str, Condition]) -> set[str]:
    """All settings that a setting depends on, directly or indirectly."""
    parents = set(conditions.get(name, ()))
    return parents.union(*(ancestors(parent, conditions) for parent in parents))


def split_into_boxes(dimensions: Mapping[str, Dimension], conditions: Mapping[str, Condition]) -> list[Box]:
    """The space as disjoint boxes, each with the settings that are active there; one without conditions.

    A parent's values are split by the conditions that they meet. With the losses mse, cosine and infonce, and
    a temperature where loss is infonce, the boxes are ``{loss: [mse, cosine]}`` and ``{loss: [infonce],
    temperature: ...}``.
    """
    boxes: list[dict[str, Dimension]] = [{}]
    for name in sorted(dimensions, key=lambda name: len(ancestors(name, conditions))):  # parents come first
        parts = list(_parts(name, dimensions[name], conditions))
        boxes = [
            box | added
            for box in boxes
            for added in ([{name: part} for part in parts] if _is_active_in(box, name, conditions) else [{}])
        ]
    return [{name: box[name] for name in dimensions if name in box} for box in boxes]


def _parts(name: str, dimension: Dimension, conditions: Mapping[str, Condition]) -> Iterator[Dimension]:
    allowed = [condition[name] for condition in conditions.values() if name in condition]
    if not allowed:
        yield dimension
        return
    parts: dict[tuple[bool, ...], list[Scalar]] = {}
    for value in (value_at(dimension, place) for place in range(int(n_values(dimension)))):
        parts.setdefault(tuple(contains(choice, value) for choice in allowed), []).append(value)
    yield from map(Choice, parts.values())


def _is_active_in(box: Box, name: str, conditions: Mapping[str, Condition]) -> bool:
    return all(
        parent in box and contains(allowed, value_at(box[parent], 0))  # all values of a part are alike
        for parent, allowed in conditions.get(name, {}).items()
    )


def in_words(condition: Condition) -> str:
    """A condition as text, such as "where loss is infonce or cosine+0.1*infonce"; empty without parents."""
    parts = [f"{parent} is {_listed(allowed.choices)}" for parent, allowed in condition.items()]
    return f"where {' and '.join(parts)}" if parts else ""


def _listed(values: Sequence[Scalar]) -> str:
    texts = ["null" if value is None else str(value) for value in values]
    return " or ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
