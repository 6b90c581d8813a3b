"""The settings that a search has tried. Training is deterministic, so no settings are proposed twice.

Two trials are the same run if all searched settings are equal: 1 and 1.0 are equal in a range, but not among
choices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tune.space.cube import decode, encode
from tune.space.dimensions import Choice, Dimension, FloatRange, Scalar, n_values, value_at
from tune.space.search_space import Space
from tune.study.study import Study
from tune.study.trial_record import Trial

if TYPE_CHECKING:
    import numpy as np

Key = tuple[object, ...]


def key_of(space: Space, params: Mapping[str, Scalar]) -> Key:
    """A key that is equal for settings of the same run."""
    return tuple(
        (type(params[name]).__name__, params[name]) if isinstance(dimension, Choice) else params[name]
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
    trusted = [point for point in space.first[len(study) :] if len(point) == len(space.dimensions)]
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

    In a finite space the next ones after a random point, else a point beside the proposal in its real ranges.

    Args:
        space: The search space.
        study: The record.
        fixed: Fixed values of some settings.
        random: Draws the first point, or the distance to the proposal.
        near: The searcher's proposal, which was tried before.
    """
    known = _keys(space, study)
    open_ = {name: d for name, d in space.dimensions.items() if name not in fixed}
    sizes = [n_values(dimension) for dimension in open_.values()]
    n_points = math.prod(sizes, start=1.0)
    start = int(random.random() * n_points) if math.isfinite(n_points) else 0
    for step in range(int(min(len(known) + 1, n_points))):  # no more than all known ones lie in the way
        if math.isfinite(n_points):
            drawn = _point(open_, (start + step) % int(n_points))
        else:
            drawn = {name: _beside(d, near[name], random) for name, d in open_.items()}
        params = {name: fixed[name] if name in fixed else drawn[name] for name in space.dimensions}
        if key_of(space, params) not in known:
            return params
    return None


def _beside(dimension: Dimension, value: Scalar, random: np.random.Generator) -> Scalar:
    """A value of a real range within about a twentieth of the range; another dimension keeps its value."""
    if not isinstance(dimension, FloatRange):
        return value
    place = abs(encode(dimension, value) + random.normal(scale=0.05))
    return decode(dimension, 1 - abs(1 - place))  # reflected at both ends


def _point(dimensions: Mapping[str, Dimension], index: int) -> dict[str, Scalar]:
    """A point of a finite space by its number."""
    point: dict[str, Scalar] = {}
    for name, dimension in dimensions.items():
        index, place = divmod(index, int(n_values(dimension)))
        point[name] = value_at(dimension, place)
    return point


def _keys(space: Space, study: Study) -> set[Key]:
    return {key_of(space, known) for known in _settings(study) if known.keys() >= space.dimensions.keys()}


def _settings(study: Study) -> Iterator[Mapping[str, Scalar]]:
    """The first settings of all trials."""
    for trial in (*study.carried, *study):
        yield _first_settings(trial)


def _first_settings(trial: Trial) -> Mapping[str, Scalar]:
    return trial.lineage[0].params if trial.lineage else trial.params
