"""Made learning curves of two settings: power laws with noise."""

from __future__ import annotations

import numpy as np

from tune.forecasts.coordinates import Coordinates, Floats
from tune.forecasts.covariance import Reports, time_of
from tune.space.dimensions import FloatRange
from tune.space.search_space import Space

COORDINATES = Coordinates(Space({"a": FloatRange(0.0, 1.0), "b": FloatRange(0.0, 1.0)}))
TIMES = np.array([time_of(step, 16) for step in (1, 2, 4, 8, 16)])


def curve(setting: Floats, random: np.random.Generator) -> Floats:
    """A power law whose end depends on the first setting, and its speed on the second."""
    end = 1.0 + 2.0 * setting[0] + 0.1 * random.standard_normal()
    scores: Floats = end + (0.3 + setting[1]) * TIMES + 0.03 * random.standard_normal(len(TIMES))
    return scores


def reports_of(settings: Floats, lengths: list[int]) -> Reports:
    """The first reports of each trial."""
    return Reports(
        np.repeat(settings, lengths, axis=0),
        np.concatenate([TIMES[:length] for length in lengths]),
        np.repeat(np.arange(len(settings)), lengths),
    )


def ends_of(settings: Floats, trials: Floats) -> Reports:
    return Reports(settings, np.zeros(len(settings)), trials.astype(np.int64))
