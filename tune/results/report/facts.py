"""Numbers of a search's report: pure functions of the record."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from optuna.importance import get_param_importances
from optuna.study import Study as OptunaStudy
from optuna.study import StudyDirection, create_study
from optuna.trial import TrialState, create_trial

from themo.config.settings import Settings
from tune.schedulers.rungs import Rungs
from tune.searchers.history import to_optuna
from tune.space.search_settings import Resource, SearchSettings
from tune.space.search_space import Space
from tune.study.resource import progress_in_words
from tune.study.study import Study
from tune.study.trial_record import Attempt, State, Trial
from tune.study.work_time import rest_of_run

Outcome = Literal["winner", "complete", "stopped", "failed", "running"]

MIN_TRIALS_FOR_IMPORTANCE = 8
"""With fewer trials the best tenth is a single trial, too few for an importance."""

SHUFFLES = 100
"""Number of random permutations of the objective, to measure the importance due to chance."""


def outcome(trial: Trial, winner: Trial | None) -> Outcome:
    """The outcome of a trial, as the figures group it."""
    if winner is not None and trial.number == winner.number:
        return "winner"
    outcomes: dict[str, Outcome] = {
        "COMPLETE": "complete",
        "PRUNED": "stopped",
        "FAIL": "failed",
        "RUNNING": "running",
        "PAUSED": "running",
    }
    return outcomes[trial.state]


@dataclass(frozen=True)
class Rung:
    """A rung of successive halving and its trials.

    Attributes:
        at: Amount of the search's resource at the rung.
        reached: Best objective so far of each trial that reached the rung, by number.
        stopped: Numbers of the trials stopped at the rung.
        waiting: Numbers of the trials paused at the rung.
    """

    at: float
    reached: dict[int, float]
    stopped: tuple[int, ...]
    waiting: tuple[int, ...] = ()

    @property
    def promoted(self) -> tuple[int, ...]:
        """Numbers of the trials that passed the rung."""
        return tuple(number for number in self.reached if number not in self.stopped + self.waiting)


def has_rungs(search: SearchSettings) -> bool:
    """Whether all trials are judged at the same rungs; each of HyperBand's brackets has its own."""
    return search.scheduler in ("asha", "pausing-asha")


def rungs(study: Study, search: SearchSettings) -> list[Rung]:
    """The rungs that any trial reached, lowest first; empty if trials have no rungs in common."""
    if not has_rungs(search):
        return []
    places = Rungs(search.first_rung, search.reduction_factor, search.resource)
    passed = dict(sorted(places.results(study, study.mode).items()))
    last_rung = {number: rung for rung, reached in passed.items() for number in reached}

    def halted_at(rung: float, state: State) -> tuple[int, ...]:
        numbers = sorted(passed[rung])
        return tuple(n for n in numbers if study[n].state == state and last_rung[n] == rung)

    return [
        Rung(
            rung,
            dict(sorted(reached.items())),
            halted_at(rung, "PRUNED"),
            halted_at(rung, "PAUSED"),
        )
        for rung, reached in passed.items()
    ]


def departures(study: Study, resource: Resource = "pairs") -> dict[str, list[str]]:
    """Decisions of a scheduler without common rungs: trials stopped, and trials that took over others."""
    stopped = [trial for trial in study if trial.state == "PRUNED"]
    return {
        "Stopped": [f"trial {trial.number} at {progress_in_words(trial, resource)}" for trial in stopped],
        "Took over another trial": [f"trial {t.number} {t.lineage_in_words}" for t in study if t.lineage],
    }


@dataclass(frozen=True)
class Lane:
    """The trials of one slot of a machine.

    Attributes:
        name: Label of the slot.
        turns: The slot's trials and their times, in order and without overlap.
    """

    name: str
    turns: tuple[tuple[Trial, Attempt], ...]


def lanes(study: Study) -> list[Lane]:
    """Attempts at trials, packed into as few lanes as possible for each machine.

    The record does not name the slot of a trial, only its machine.
    """
    turns = [(trial, attempt) for trial in study for attempt in trial.stints]
    of_machine: dict[str, list[list[tuple[Trial, Attempt]]]] = {}
    for trial, attempt in sorted(turns, key=lambda turn: turn[1].started):
        own = of_machine.setdefault(attempt.machine, [])
        free = next((lane for lane in own if lane[-1][1].ended <= attempt.started), None)
        if free is None:
            own.append([(trial, attempt)])
        else:
            free.append((trial, attempt))
    return [
        Lane(f"slot {i}" if len(of_machine) == 1 else f"{machine or 'unknown'}, slot {i}", tuple(lane))
        for machine, own in of_machine.items()
        for i, lane in enumerate(own, start=1)
    ]


@dataclass(frozen=True)
class Cost:
    """The cost of a search, and the savings of early stopping.

    Attributes:
        pairs, seconds: Sentence pairs trained on, and slot time, of all trials.
        saved_pairs, saved_seconds: The rest of the stopped trials, each at its own rate.
        is_upper_bound: Whether the savings may be smaller: `patience` might have ended the trials sooner.
    """

    pairs: float
    seconds: float
    saved_pairs: float
    saved_seconds: float
    is_upper_bound: bool = False

    @property
    def saved_share(self) -> float:
        """Saved pairs as a share of the pairs of a search without early stopping."""
        total = self.pairs + self.saved_pairs
        return self.saved_pairs / total if total else 0.0


def cost(study: Study, settings: Settings, trial_seconds: float | None = None) -> Cost:
    """The cost of all trials, and the cost that stopped trials would have added.

    Args:
        study: The record.
        settings: Base settings of the search; `epochs` is the length of a full trial.
        trial_seconds: Seconds of training that end a trial before its last epoch; None: no limit.
    """
    saved_pairs = saved_seconds = 0.0
    is_upper_bound = False
    for trial in study:
        left = rest_of_run(trial, settings, trial_seconds) if trial.state == "PRUNED" else None
        if left is not None:
            is_upper_bound |= settings.override(trial.params).training.patience is not None
            saved_pairs += left * trial.pairs_seen
            saved_seconds += left * trial.seconds
    pairs, seconds = sum(trial.pairs_seen for trial in study), sum(trial.seconds for trial in study)
    return Cost(pairs, seconds, saved_pairs, saved_seconds, is_upper_bound)


def scored(space: Space, study: Study) -> OptunaStudy:
    """The trials with a report as an Optuna study, each complete with its best objective.

    Optuna's importances ignore pruned trials, which are most of a search.
    """
    history = to_optuna(space, study)
    own = history.trials[len(study.carried) :]  # carried trials come first and belong to another search
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
    """Importance of a setting.

    Attributes:
        name: The setting.
        share: Importance; the shares of all settings add up to 1.
        chance: The 95th percentile of the importance under random permutations of the objective.
    """

    name: str
    share: float
    chance: float

    @property
    def is_above_chance(self) -> bool:
        """Whether the importance exceeds chance."""
        return self.share > self.chance


def importances(history: OptunaStudy) -> list[Importance]:
    """Importance of the settings, largest first; empty with too few trials or equal objectives.

    PED-ANOVA (Watanabe et al., 2023, https://arxiv.org/abs/2304.10255): how much the best tenth of trials
    concentrates in one part of a setting's range. With a few dozen trials much of it is chance, so the same
    is computed for randomly permuted objectives. A conditional setting counts by the trials in which it is
    active (https://arxiv.org/abs/2601.20800).

    Args:
        history: From `scored`.
    """
    values = [trial.values[0] for trial in history.trials]
    if len(values) < MIN_TRIALS_FOR_IMPORTANCE or len(set(values)) < 2:
        return []
    found = _shares(history)
    rng = np.random.default_rng(0)
    shuffled = [_shares(history, rng.permutation(values).tolist()) for _ in range(SHUFFLES)]
    return [
        Importance(name, share, float(np.quantile([random.get(name, 0.0) for random in shuffled], 0.95)))
        for name, share in found.items()
    ]


def _shares(history: OptunaStudy, values: Sequence[float] | None = None) -> dict[str, float]:
    """Return the importances for the objectives, or for other values of the trials."""
    sign = -1 if history.direction == StudyDirection.MAXIMIZE else 1
    with warnings.catch_warnings():
        # a setting active in one trial: the shuffles show its chance
        warnings.filterwarnings("ignore", message="Some regimes for parameter")
        if values is None:
            return get_param_importances(history)
        warnings.filterwarnings("ignore", message=".*to achieve low `target` values")
        return get_param_importances(history, target=lambda trial: sign * values[trial.number])
