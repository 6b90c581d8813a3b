"""What the report of a search tells in numbers: functions of the record alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from optuna.importance import get_param_importances
from optuna.study import Study as OptunaStudy
from optuna.study import create_study
from optuna.trial import TrialState, create_trial

from themo.config.settings import Settings
from tune.schedulers.rungs import Rungs
from tune.searchers.history import to_optuna
from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space
from tune.study.study import Study
from tune.study.trial_record import State, Stint, Trial
from tune.study.work_time import rest_of_run

Fate = Literal["winner", "complete", "stopped", "failed", "running"]

MIN_TRIALS_FOR_IMPORTANCE = 8
"""With fewer trials the best tenth is a single one, and nothing can be told from it."""

SHUFFLES = 100
"""How often the objective is dealt out anew among the trials, to see what importance chance gives."""


def fate(trial: Trial, winner: Trial | None) -> Fate:
    """What became of a trial."""
    if winner is not None and trial.number == winner.number:
        return "winner"
    fates: dict[str, Fate] = {
        "COMPLETE": "complete",
        "PRUNED": "stopped",
        "FAIL": "failed",
        "RUNNING": "running",
        "PAUSED": "running",
    }
    return fates[trial.state]


@dataclass(frozen=True)
class Rung:
    """A rung of successive halving and what happened there.

    Attributes:
        pairs: Sentence pairs at which it stands.
        reached: Best objective so far of each trial that came to it, by number.
        stopped: Numbers of those that were stopped there.
        waiting: Numbers of those that are paused there.
    """

    pairs: int
    reached: dict[int, float]
    stopped: tuple[int, ...]
    waiting: tuple[int, ...] = ()

    @property
    def went_on(self) -> tuple[int, ...]:
        """Numbers of the trials that were let pass."""
        return tuple(number for number in self.reached if number not in self.stopped + self.waiting)


def has_rungs(search: SearchSettings) -> bool:
    """Whether all trials are judged at the same rungs; HyperBand's brackets have each their own."""
    return search.scheduler in ("asha", "pausing-asha")


def rungs(study: Study, search: SearchSettings) -> list[Rung]:
    """The rungs that any trial came to, the first one first; none where trials have no rungs in common."""
    if not has_rungs(search):
        return []
    places = Rungs(search.grace_pairs, search.reduction_factor)
    passed = dict(sorted(places.results(study, study.mode).items()))
    last_rung = {number: pairs for pairs, reached in passed.items() for number in reached}

    def last_there(rung: int, state: State) -> tuple[int, ...]:
        numbers = sorted(passed[rung])
        return tuple(n for n in numbers if study[n].state == state and last_rung[n] == rung)

    return [
        Rung(rung, dict(sorted(reached.items())), last_there(rung, "PRUNED"), last_there(rung, "PAUSED"))
        for rung, reached in passed.items()
    ]


def departures(study: Study) -> dict[str, list[str]]:
    """What the rule of a search without common rungs did: who was stopped, and who went on as another one."""
    return {
        "Stopped": [f"trial {t.number} at {t.pairs_seen:,} pairs" for t in study if t.state == "PRUNED"],
        "Went on as others": [f"trial {t.number} {t.lineage_in_words}" for t in study if t.lineage],
    }


@dataclass(frozen=True)
class Lane:
    """What one slot of a machine did.

    Attributes:
        name: For people.
        turns: The trials that it worked at, and when, in that order; no two overlap.
    """

    name: str
    turns: tuple[tuple[Trial, Stint], ...]


def lanes(study: Study) -> list[Lane]:
    """The stints of the trials laid into as few lanes as they need, machine by machine.

    Which of a machine's slots had a trial is not on record.
    """
    turns = [(trial, stint) for trial in study for stint in trial.stints]
    of_machine: dict[str, list[list[tuple[Trial, Stint]]]] = {}
    for trial, stint in sorted(turns, key=lambda turn: turn[1].started):
        own = of_machine.setdefault(stint.machine, [])
        free = next((lane for lane in own if lane[-1][1].ended <= stint.started), None)
        if free is None:
            own.append([(trial, stint)])
        else:
            free.append((trial, stint))
    return [
        Lane(f"slot {i}" if len(of_machine) == 1 else f"{machine or 'unknown'}, slot {i}", tuple(lane))
        for machine, own in of_machine.items()
        for i, lane in enumerate(own, start=1)
    ]


@dataclass(frozen=True)
class Cost:
    """What was spent, and what stopping early kept from being spent.

    Attributes:
        pairs, seconds: Sentence pairs trained on, and time of one slot, in all trials.
        saved_pairs, saved_seconds: What the stopped trials would have taken more, each at its own rate.
        is_upper_bound: Whether less might have been saved: `patience` might have ended the trials sooner.
    """

    pairs: float
    seconds: float
    saved_pairs: float
    saved_seconds: float
    is_upper_bound: bool = False

    @property
    def saved_share(self) -> float:
        """Share of the sentence pairs of a search without stopping that were not trained on."""
        total = self.pairs + self.saved_pairs
        return self.saved_pairs / total if total else 0.0


def cost(study: Study, settings: Settings) -> Cost:
    """Add up what the trials took and what those that were stopped would have taken.

    Args:
        study: The record.
        settings: What the searched settings are put into; `epochs` is how far a trial would have gone.
    """
    saved_pairs = saved_seconds = 0.0
    is_upper_bound = False
    for trial in study:
        left = rest_of_run(trial, settings) if trial.state == "PRUNED" else None
        if left is not None:
            is_upper_bound |= settings.override(trial.params).training.patience is not None
            saved_pairs += left * trial.pairs_seen
            saved_seconds += left * trial.seconds
    pairs, seconds = sum(trial.pairs_seen for trial in study), sum(trial.seconds for trial in study)
    return Cost(pairs, seconds, saved_pairs, saved_seconds, is_upper_bound)


def scored(space: Space, study: Study) -> OptunaStudy:
    """The trials that reported, as an Optuna study in which each is complete with the best that it reached.

    Optuna's importances leave stopped trials out, which are most of a search.
    """
    history = to_optuna(space, study)
    own = history.trials[len(study.carried) :]  # the carried ones, which come first, are another search's
    shown = create_study(direction=history.direction)
    for trial, known in zip(study, own, strict=True):
        if (best := trial.best(study.mode)) is not None:
            shown.add_trial(
                create_trial(
                    state=TrialState.COMPLETE,
                    params=known.params,
                    distributions=known.distributions,
                    value=best,
                )
            )
    return shown


@dataclass(frozen=True)
class Importance:
    """How much a setting matters.

    Attributes:
        name: The setting.
        share: Its importance; those of all settings add up to 1.
        chance: What it stays below in 95 of 100 deals of the objective among the trials.
    """

    name: str
    share: float
    chance: float

    @property
    def is_above_chance(self) -> bool:
        """Whether it stands above chance."""
        return self.share > self.chance


def importances(history: OptunaStudy, seed: int = 0) -> list[Importance]:
    """Importance of the settings, the greatest first; none where there are too few trials or all are alike.

    PED-ANOVA (Watanabe et al., 2023, https://arxiv.org/abs/2304.10255): how much the best tenth of the trials
    gather in one part of a setting's range. With some dozens of trials chance gives much of it, so the same
    is told of objectives dealt out at random.

    Args:
        history: As `scored` gives it.
        seed: Of the deals.
    """
    values = [trial.values[0] for trial in history.trials]
    if len(values) < MIN_TRIALS_FOR_IMPORTANCE or len(set(values)) < 2:
        return []
    found = get_param_importances(history)
    rng = np.random.default_rng(seed)
    deals = [
        get_param_importances(_dealt(history, rng.permutation(values).tolist())) for _ in range(SHUFFLES)
    ]
    return [
        Importance(name, share, float(np.quantile([deal.get(name, 0.0) for deal in deals], 0.95)))
        for name, share in found.items()
    ]


def _dealt(history: OptunaStudy, values: Sequence[float]) -> OptunaStudy:
    dealt = create_study(direction=history.direction)
    dealt.add_trials(
        [
            create_trial(params=trial.params, distributions=trial.distributions, value=value)
            for trial, value in zip(history.trials, values, strict=True)
        ]
    )
    return dealt
