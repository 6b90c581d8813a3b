"""The rungs of a search in sentence pairs, from the data of its trials.

A first rung that is given as a share, `grace_share`, gets its number of sentence pairs when a search begins,
from the base settings, whatever a trial's own epochs and data are: all trials meet the same rungs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from themo.config.settings import Settings
from themo.config.yaml_files import write_yaml
from themo.data.dataset import TrainingData
from themo.files.atomic import write_text
from themo.files.run_folders import SEARCH_FILE
from themo.process.progress import console
from themo.training.report_times import last_reports_before_end
from tune.space.dimensions import Choice, FloatRange, IntRange, Scalar
from tune.space.read_dimensions import data_leaves
from tune.space.search_space import Space
from tune.study.search import Search, has_pairs


def with_rungs(search: Search, data: Mapping[tuple[Scalar, ...], TrainingData]) -> Search:
    """A search with its first rung in sentence pairs, which ``search.yaml`` keeps.

    Args:
        search: The search; one that has begun keeps its rungs.
        data: Training data by the values of the searched data settings.

    Raises:
        OSError: The disk is full.
    """
    rules = search.space.search
    is_known = rules.grace_pairs is not None or rules.resource == "seconds"
    if rules.grace_share is None or is_known:
        return search
    whole = float(search.settings.training.epochs) * _base_data(search, data).pairs_an_epoch
    search = replace(search, space=search.space.for_trials(whole))
    write_text(search.folder / SEARCH_FILE, write_yaml(search.to_tree()))
    return search


def _base_data(search: Search, data: Mapping[tuple[Scalar, ...], TrainingData]) -> TrainingData:
    """The data of the base settings; the first of the searched ones where these are not in the space."""
    own, leaves = search.settings.leaves(), data_leaves()
    base = tuple(own[name] for name in search.space.dimensions if name in leaves)
    return data.get(base, next(iter(data.values())))


def print_idle_rungs(search: Search, data: Iterable[TrainingData]) -> None:
    """Print a warning if the rungs of a search stop no trial early, unless it has prepared its data before.

    Args:
        search: The search, with its first rung in sentence pairs.
        data: Training data of each combination of searched data settings.
    """
    if not has_pairs(search) and (warning := idle_rungs(search.space, search.settings, data)):
        console.print(warning, soft_wrap=True)


def idle_rungs(space: Space, settings: Settings, data: Iterable[TrainingData]) -> str:
    """A warning if no rung can stop a trial before its penultimate report; else empty.

    Args:
        space: The search space, with its first rung in sentence pairs.
        settings: Base settings of the search.
        data: Training data of each combination of searched data settings; the longest trial counts.
    """
    search, report_pairs = space.search, settings.training.report_pairs
    if search.scheduler == "none" or search.resource == "seconds":  # seconds are known of no trial yet
        return ""
    pairs = _longest(space, settings) * max(each.pairs_an_epoch for each in data)
    before, last = last_reports_before_end(pairs, report_pairs)
    if search.first_pairs <= before:
        return ""
    stops = "no trial" if search.first_pairs > last else "trials only shortly before their end"
    given = "grace_pairs" if search.grace_share is None else "grace_share"
    remedy = f"lower search.{given} so that it is at most {before:,} pairs, or " if before > 0 else ""
    return (
        f"Warning: the scheduler {search.scheduler} can stop {stops}: its first rung is at "
        f"{search.first_pairs:,} sentence pairs, a whole trial has {pairs:,.0f} and is judged last at "
        f"{last:,}; {remedy}train for more epochs"
    )


def _longest(space: Space, settings: Settings) -> float:
    """The largest number of epochs of a trial."""
    match space.dimensions.get("epochs"):
        case Choice(choices=choices):
            return max(float(value) for value in choices if isinstance(value, int | float))
        case IntRange(high=high) | FloatRange(high=high):
            return float(high)
        case _:
            return float(settings.training.epochs)
