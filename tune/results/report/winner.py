"""The winner on a page: its settings beside those searched, and its test in one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from themo.evaluation.score_names import CEILING, RETRIEVAL, STUDENT, metric_name
from tune.results.best_trials import show, show_setting
from tune.space.conditions import in_words
from tune.space.dimensions import Choice, Dimension, FloatRange, IntRange
from tune.space.search_space import Space
from tune.study.search import Search
from tune.study.trial_record import Trial


@dataclass(frozen=True)
class Setting:
    """A searched setting: its name, the winner's value and the values searched."""

    name: str
    value: str
    searched: str


def settings_of(search: Search, best: Trial) -> list[Setting]:
    """The searched settings of a trial."""
    return [
        Setting(name, show_setting(best, name), values_of(search.space, name))
        for name in search.space.dimensions
    ]


def values_of(space: Space, name: str) -> str:
    """The values of a dimension, and where it is active."""
    condition = in_words(space.conditions.get(name, {}))
    return _values(space.dimensions[name]) + (f", {condition}" if condition else "")


def _values(dimension: Dimension) -> str:
    match dimension:
        case Choice(choices=choices):
            return ", ".join(map(show, choices))
        case IntRange(low=low, high=high, step=step, log=log):
            steps = f" by {step}" if step != 1 else ""
            return f"{low} to {high}{steps}" + (", logarithmic" if log else "")
        case FloatRange(low=low, high=high, log=log):
            return f"{show(low)} to {show(high)}" + (", logarithmic" if log else "")


@dataclass(frozen=True)
class Headline:
    """The test in one number: the student's retrieval@01 or, without retrieval, accuracy@01."""

    metric: str
    student: float
    ceiling: float
    retention: float | None


def headline(tested: dict[str, Any] | None) -> Headline | None:
    """The headline of the contents of a ``test.json``; None without a student in it."""
    if tested is None or STUDENT not in tested:
        return None
    task = RETRIEVAL if RETRIEVAL in tested["n"] else next(iter(tested["n"]))
    metric = metric_name(task, 1)
    return Headline(metric, tested[STUDENT][metric], tested[CEILING][metric], tested.get("retention"))
