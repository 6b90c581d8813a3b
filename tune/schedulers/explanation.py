"""Explanations of a scheduler's decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tune.space.search_settings import SecondObjective
from tune.study.front import FrontPosition, cost_in_words
from tune.study.trial_record import Mode, State, loss_of

NOT_FINITE = "a trial without a finite report is stopped"
"""Rule shared by all schedulers that stop trials."""


@dataclass(frozen=True)
class Forecast:
    """A scheduler's prediction of a trial's best objective at its end.

    Attributes:
        value: The predicted objective.
        low, high: Ends of the interval.
        level: Probability that the objective lies in the interval, from 0 to 1.
    """

    value: float
    low: float
    high: float
    level: float = 0.9

    @property
    def short(self) -> str:
        """The prediction and its interval in a table, such as ``0.930 0.900–0.950``."""
        return f"{self.value:.3f} {self.low:.3f}–{self.high:.3f}"

    @property
    def in_words(self) -> str:
        """The prediction and its interval in a sentence, such as ``0.930 (0.900 to 0.950)``."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Explanation:
    """A decision about a trial: the state, and the comparison that led to it.

    Attributes:
        state: RUNNING: the trial continues. PAUSED, PRUNED: it does not.
        pairs: Sentence pairs at the trial's last report.
        where: The point of judgement, such as ``rung of 8,000 pairs``; empty: the trial is not judged here.
        value: The trial's best objective so far; None: no report was finite.
        compared: Values of the other trials, by number: their predicted ends if there is a forecast, else
            their objectives.
        rank: Rank among all compared, from 1, by expected gain if there is a forecast, else by value; None
            without a comparison.
        threshold: The worst value that would have continued; None: no value decides.
        rule: Condition under which a trial continues here, as a clause.
        forecast: The predicted end of the trial; None: the scheduler does not predict.
        chance: Probability of ending best, by which the scheduler decides (`FreezeThaw`); None as above.
        is_trusted: Whether the trial continues because its settings are trusted.
        seconds: Seconds of training at the last report, where they are the search's resource.
        place: The trial's place by two objectives; None with one objective.
        rivals: The places of `compared`, best first; empty with one objective.
        second: The second objective; None with one objective.
    """

    state: State
    pairs: int
    where: str = ""
    value: float | None = None
    compared: Mapping[int, float] = field(default_factory=dict)
    rank: int | None = None
    threshold: float | None = None
    rule: str = ""
    forecast: Forecast | None = None
    chance: float | None = None
    is_trusted: bool = False
    seconds: float | None = None
    place: FrontPosition | None = None
    rivals: Mapping[int, FrontPosition] = field(default_factory=dict)
    second: SecondObjective | None = None

    @property
    def line(self) -> str:
        """The comparison in one line; empty if the trial was not judged."""
        if not self.where:
            return ""
        if self.value is None:
            return f"no finite report at the {self.where}"
        rank = f", rank {self.rank} of {len(self.compared) + 1}" if self.rank is not None else ""
        end = ""
        if self.place is not None and self.second is not None:
            end = f", {cost_in_words(self.place.cost, self.second)}"
            rank = f", front {self.place.front}{rank}"
        if self.forecast is not None:
            end = f", predicted to end at {self.forecast.in_words}"
            rank = f"{rank} by expected gain per pair"
        if self.chance is not None:
            end += f", chance to end best {100 * self.chance:.1f} %"
        return f"{self.value:.4f} at the {self.where}{end}{rank}; {self.rule}"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object for ``why --json``."""
        forecast = self.forecast
        return {
            "pairs": self.pairs,
            "seconds": self.seconds,
            "where": self.where,
            "value": self.value,
            "rank": self.rank,
            "of": None if self.rank is None else len(self.compared) + 1,
            "threshold": self.threshold,
            "rule": self.rule,
            "compared": [self._as_json(number, value) for number, value in self.compared.items()],
            "compared_by": "objective" if forecast is None else "forecast",
            **({} if self.place is None else {"cost": self.place.cost, "front": self.place.front}),
            "forecast": None
            if forecast is None
            else {
                "value": forecast.value,
                "interval": [forecast.low, forecast.high],
                "level": forecast.level,
                "chance": self.chance,
            },
            "is_trusted": self.is_trusted,
        }

    def _as_json(self, number: int, value: float) -> dict[str, Any]:
        place = self.rivals.get(number)
        by_two = {} if place is None else {"cost": place.cost, "front": place.front}
        return {"trial": number, "value": value, **by_two}


def rank_among(value: float, compared: Mapping[int, float], mode: Mode) -> int:
    """Rank of a value from 1; equal values share the better rank."""
    return 1 + sum(loss_of(other, mode) < loss_of(value, mode) for other in compared.values())


def or_better(value: float, mode: Mode) -> str:
    """A threshold as text, such as ``0.5530 or more``."""
    return f"{value:.4f} or {'more' if mode == 'max' else 'less'}"
