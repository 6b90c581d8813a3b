"""Choice of searcher and scheduler where neither the file of the space nor an option names one."""

from __future__ import annotations

from themo.config.settings import known_leaves
from tune.space.search_space import Space


def automatic_rules(space: Space) -> dict[str, object]:
    """The settings of the search that follow from the space, of a space without searcher and scheduler.

    With trusted settings, ``tpe`` and ``asha`` find the same winner sooner. Without them, ``forecast`` and
    ``freeze-thaw`` fail less often (docs/experiments/real-searches.md). They predict the ends of trials of
    equal sentence pairs, for one objective.

    Args:
        space: The space, with the options that were given.

    Returns:
        Changes for `Space.searched_by`; empty: ``tpe`` and ``asha``, the defaults, fit.
    """
    search = space.search
    is_predictable = search.resource == "pairs" and search.second_objective is None
    if space.first or not is_predictable or any(map(_changes_length, space.dimensions)):
        return {}
    return {"searcher": "forecast", "scheduler": "freeze-thaw"}


def _changes_length(name: str) -> bool:
    """Whether trials with other values of a setting may see another number of sentence pairs."""
    section, _ = known_leaves()[name]
    return section == "data" or name == "epochs"
