"""How long a search has taken, and how much of that its trials were at work."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from statistics import fmean

from themo.config.settings import Settings
from tune.study.study import Study
from tune.study.trial_record import Trial


def sessions(study: Study) -> dict[int, tuple[float, float]]:
    """The first start and the last end of work in each session that is known; Unix time."""
    found: dict[int, tuple[float, float]] = {}
    for stint in (stint for trial in study for stint in trial.stints):
        start, end = found.get(stint.session, (stint.started, stint.ended))
        found[stint.session] = min(start, stint.started), max(end, stint.ended)
    return found


def session_seconds(study: Study) -> float:
    """What the sessions took; the pauses between them left out."""
    return sum(end - start for start, end in sessions(study).values())


def worked_seconds(study: Study) -> float:
    """The time in which at least one trial was at work."""
    return covered((stint.started, stint.ended) for trial in study for stint in trial.stints)


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals of time."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def most_at_once(study: Study) -> int:
    """The most trials that were ever at work together: the slots, whatever their machines' names.

    A container gets another name whenever it is started.
    """
    changes = [
        change
        for trial in study
        for stint in trial.stints
        for change in ((stint.started, 1), (stint.ended, -1))
    ]
    return max(accumulate(step for _, step in sorted(changes)), default=0)  # an end comes before a start


def busy_share(study: Study, slots: int) -> float:
    """Share of the time of that many slots spent in training; pauses between sessions left out."""
    slot_seconds = slots * session_seconds(study)
    return sum(trial.seconds for trial in study) / slot_seconds if slot_seconds > 0 else 0.0


def rest_of_run(trial: Trial, settings: Settings) -> float | None:
    """How much of its last epoch's way a trial has left, in parts of what it has seen; None before a report.

    Args:
        trial: The trial; `training.patience` may end it sooner.
        settings: What the searched settings are put into.
    """
    epoch = trial.metrics.get("epoch", 0.0)
    if epoch <= 0:
        return None
    return max(0.0, float(settings.override(trial.params).training.epochs) / epoch - 1)


def seconds_left(
    study: Study, n_trials: int, n_trusted: int, slots: int, settings: Settings | None = None
) -> float | None:
    """The time that trials under way and trials to come still take, by how long others took.

    Those to come are taken for ones of the mean length of those that have ended or wait; one under way, for
    one of those that took longer than it has until now, or, at its own pace, for one that ends sooner. One
    that has taken longer than all others goes on to its end at its own pace. Trusted trials, the first ones,
    run to their ends where most others are stopped: they tell of such long ones only.

    Args:
        study: The record.
        n_trials: In all.
        n_trusted: How many of them are trusted.
        slots: Trials at once.
        settings: What the searched settings are put into; None: nobody knows where a trial would end.

    Returns:
        Seconds, more than 0; None before there is a trial to tell by, or where nothing tells how long those
        under way take.
    """
    rested = [trial for trial in study if trial.state != "RUNNING" and trial.seconds > 0]
    n_left = n_trials - study.n_done
    telling = [trial.seconds for trial in rested if trial.number >= n_trusted or n_trials <= n_trusted]
    if not telling or not study.n_done or n_left <= 0:
        return None

    def as_others(seconds: float) -> float | None:
        """What a trial still takes that has taken so long; None where no other took longer."""
        for known in (telling, [trial.seconds for trial in rested]):
            longer = [other - seconds for other in known if other > seconds]
            if longer:
                return fmean(longer)
        return None

    def rest(trial: Trial) -> float:
        parts = None if settings is None else rest_of_run(trial, settings)
        to_its_end = None if parts is None else parts * trial.seconds
        return min((s for s in (as_others(trial.seconds), to_its_end) if s is not None), default=0.0)

    under_way = [rest(trial) for trial in study if trial.state == "RUNNING"]
    to_come = max(0, n_trials - len(study)) * (as_others(0.0) or 0.0)
    left = max([(sum(under_way) + to_come) / min(slots, n_left), *under_way])  # one runs in one slot
    return left if left > 0 else None
