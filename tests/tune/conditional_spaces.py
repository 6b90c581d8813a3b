"""Random search spaces with conditions, as a strategy of property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tune.space.conditions import Condition
from tune.space.dimensions import Choice, Dimension, FloatRange, IntRange, n_values, value_at
from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space

_FINITE: tuple[Dimension, ...] = (
    Choice(["mse", "cosine", "infonce"]),
    Choice([True, False, 1]),
    IntRange(1, 7, step=3),
    IntRange(2, 4, log=True),
)
_REAL: tuple[Dimension, ...] = (FloatRange(0.0, 1.0), FloatRange(1e-3, 1.0, log=True))


@st.composite
def conditional(draw: st.DrawFn, *, finite: bool = False, **search: Any) -> Space:
    """Two to six dimensions in any order, each of which may depend on some of those drawn before it.

    Args:
        draw: Of hypothesis.
        finite: Without real ranges.
        search: Settings of the search.
    """
    dimensions: dict[str, Dimension] = {}
    conditions: dict[str, Condition] = {}
    kinds = st.sampled_from(_FINITE if finite else _FINITE + _REAL)
    for i in range(draw(st.integers(2, 6))):
        able = [name for name, d in dimensions.items() if not isinstance(d, FloatRange)]
        parents = draw(st.lists(st.sampled_from(able), max_size=2, unique=True)) if able else []
        if parents:
            conditions[f"s{i}"] = {name: draw(_some_of(dimensions[name])) for name in parents}
        dimensions[f"s{i}"] = draw(kinds) if i else draw(st.sampled_from(_FINITE))
    order = draw(st.permutations(list(dimensions)))
    rules = SearchSettings.model_validate(search)
    return Space({name: dimensions[name] for name in order}, (), rules, conditions)


def _some_of(dimension: Dimension) -> st.SearchStrategy[Choice]:
    places = st.sets(st.integers(0, int(n_values(dimension)) - 1), min_size=1)
    return places.map(lambda chosen: Choice([value_at(dimension, place) for place in sorted(chosen)]))
