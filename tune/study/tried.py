"""The settings that a search has tried. Training is deterministic, so no settings are proposed twice.

Two trials are the same run if the same searched settings are active in them, with equal values: 1 and 1.0 are
equal in a range, but not among choices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tune.space.conditions import Box
from tune.space.cube import decode, encode
from tune.space.dimensions import Choice, Dimension, FloatRange, Scalar, n_values, value_at
from tune.space.search_space import Space
from tune.study.study import Study
from tune.study.trial_record import Trial

if TYPE_CHECKING:
    import numpy as np

Key = tuple[object, ...]


def key_of(space: Space, params: Mapping[str, Scalar]) -> Key:
    """A key that is equal for settings of the same run; inactive settings are blank in it."""
    return tuple(
        ()
        if name in space.conditions and not space.is_active(name, params)
        else (type(params[name]).__name__, params[name])
        if isinstance(dimension, Choice)
        else params[name]
        for name, dimension in space.dimensions.items()
    )


def is_tried(space: Space, study: Study, params: Mapping[str, Scalar]) -> bool:
    """Whether a trial, or a carried trial of another search, has the same settings."""
    # most trials differ in their first setting, so that comparing dictionaries is fast
    alike = (known for known in _settings(study) if known == params)
    return any(key_of(space, known) == key_of(space, params) for known in alike)


def most_trials(study: Study, space: Space) -> int:
    """Maximum number of trials of a search: `num_samples`, or fewer if its space has fewer settings.

    Trusted settings are references and are tried even if a carried trial has them.
    """
    asked = space.search.num_samples
    if space.n_points >= asked + len(study.carried):
        return asked
    known = _keys(space, study)
    trusted = [point for point in space.first[len(study) :] if space.is_complete(point)]
    n_again = sum(key_of(space, point) in known for point in trusted)
    n_new = int(space.n_points) - len(known)
    return min(asked, len(study) + n_new + n_again)


def draw_untried(
    space: Space,
    study: Study,
    fixed: Mapping[str, Scalar],
    random: np.random.Generator,
    near: Mapping[str, Scalar],
) -> dict[str, Scalar] | None:
    """Untried settings; None if there are none.

    In a finite space the next ones after a random point. Else a point beside the proposal in its real ranges;
    if none is active there, another point without active real ranges, or any point with some.

    Args:
        space: The search space.
        study: The record.
        fixed: Fixed values of some settings.
        random: Draws the first point, or the distance to the proposal.
        near: The searcher's proposal, which was tried before.
    """
    known = _keys(space, study)
    for params in _candidates(space, fixed, random, near, len(known) + 1):
        if key_of(space, params) not in known:
            return params
    return None


def _candidates(
    space: Space,
    fixed: Mapping[str, Scalar],
    random: np.random.Generator,
    near: Mapping[str, Scalar],
    most: int,
) -> Iterator[dict[str, Scalar]]:
    """Candidate points, at most `most` of each kind, more than the number of tried ones."""
    narrowed = {name: Choice([fixed[name]]) if name in fixed else d for name, d in space.dimensions.items()}
    boxes = replace(space, dimensions=narrowed).boxes
    sizes = [math.prod(map(n_values, box.values())) for box in boxes]
    finite = [(box, int(size)) for box, size in zip(boxes, sizes, strict=True) if math.isfinite(size)]
    endless = [box for box, size in zip(boxes, sizes, strict=True) if not math.isfinite(size)]
    open_ = {name: narrowed[name] for name in near if name in narrowed}
    if any(isinstance(dimension, FloatRange) for dimension in open_.values()):
        for _ in range(most):
            yield {name: _neighbour(d, near[name], random) for name, d in open_.items()}
        return
    n_points = sum(size for _, size in finite)
    start = int(random.random() * n_points)
    for step in range(min(most, n_points)):
        yield _point(finite, (start + step) % n_points)
    for _ in range(most if endless else 0):
        box = endless[int(random.integers(len(endless)))]
        yield {name: decode(dimension, random.random()) for name, dimension in box.items()}


def _neighbour(dimension: Dimension, value: Scalar, random: np.random.Generator) -> Scalar:
    """A value of a real range within about a twentieth of the range; another dimension keeps its value."""
    if not isinstance(dimension, FloatRange):
        return value
    place = abs(encode(dimension, value) + random.normal(scale=0.05))
    return decode(dimension, 1 - abs(1 - place))  # reflected at both ends


def _point(boxes: Sequence[tuple[Box, int]], index: int) -> dict[str, Scalar]:
    """A point of finite boxes by its number."""
    for box, size in boxes:
        if index < size:
            point: dict[str, Scalar] = {}
            for name, dimension in box.items():
                index, place = divmod(index, int(n_values(dimension)))
                point[name] = value_at(dimension, place)
            return point
        index -= size
    raise IndexError("the boxes have fewer points")


def _keys(space: Space, study: Study) -> set[Key]:
    return {key_of(space, known) for known in _settings(study) if space.is_complete(known)}


def _settings(study: Study) -> Iterator[Mapping[str, Scalar]]:
    """The first settings of all trials."""
    for trial in (*study.carried, *study):
        yield _first_settings(trial)


def _first_settings(trial: Trial) -> Mapping[str, Scalar]:
    return trial.lineage[0].params if trial.lineage else trial.params
