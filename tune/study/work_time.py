"""Times of a search: sessions, training time, slots in use, time left."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from statistics import fmean

from themo.config.settings import Settings
from tune.study.search import Search
from tune.study.study import Study
from tune.study.trial_record import Trial
from tune.study.tried import most_trials


def sessions(study: Study) -> dict[int, tuple[float, float]]:
    """The first start and the last end of training in each known session, as Unix time."""
    found: dict[int, tuple[float, float]] = {}
    for attempt in (attempt for trial in study for attempt in trial.stints):
        start, end = found.get(attempt.session, (attempt.started, attempt.ended))
        found[attempt.session] = min(start, attempt.started), max(end, attempt.ended)
    return found


def session_seconds(study: Study) -> float:
    """Total time of the sessions, without the pauses between them."""
    return sum(end - start for start, end in sessions(study).values())


def worked_seconds(study: Study) -> float:
    """The time in which at least one trial was training."""
    return covered((attempt.started, attempt.ended) for trial in study for attempt in trial.stints)


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of time intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def most_at_once(study: Study) -> int:
    """The largest number of trials that ran at once, independent of machine names.

    A restarted container has another name.
    """
    changes = [
        change
        for trial in study
        for attempt in trial.stints
        for change in ((attempt.started, 1), (attempt.ended, -1))
    ]
    return max(accumulate(step for _, step in sorted(changes)), default=0)  # an end comes before a start


def busy_share(study: Study, slots: int) -> float:
    """Share of the slots' time spent in training, without the pauses between sessions."""
    slot_seconds = slots * session_seconds(study)
    return sum(trial.seconds for trial in study) / slot_seconds if slot_seconds > 0 else 0.0


def rest_of_run(trial: Trial, settings: Settings, trial_seconds: float | None = None) -> float | None:
    """Sentence pairs left until a trial's end, relative to the pairs seen; None before a report.

    Args:
        trial: The trial; `training.patience` may end it sooner.
        settings: Base settings of the search, with the epochs of a whole trial.
        trial_seconds: Seconds of training after which a trial ends before its last epoch; None: no limit.
    """
    epoch, step = trial.metrics.get("epoch", 0.0), trial.metrics.get("step", 0.0)
    if epoch <= 0:
        return None
    epochs = float(settings.override(trial.params).training.epochs)
    whole = epochs / epoch
    if step > 0:  # a run ends after whole steps, as `themo.training.preconditions.count_steps` rounds them
        whole = max(1, round(epochs * round(step / epoch))) / step
    if trial_seconds is not None and trial.training_seconds > 0:
        whole = min(whole, trial_seconds / trial.training_seconds)
    return max(0.0, whole - 1)


def seconds_left(study: Study, search: Search, slots: int) -> float | None:
    """Estimated time of the running and the remaining trials, from the times of ended and paused trials.

    A remaining trial counts with the mean time of ended and paused trials. A running trial counts with the
    mean of those that took longer than it has so far, or with its own rate if it ends sooner; if it has taken
    longer than all others, with its own rate until its last epoch. Trusted trials come first and always run
    to the end, so they serve only as a reference for such long trials.

    Args:
        study: The record.
        search: The search.
        slots: Number of trials at once.

    Returns:
        Seconds, above 0; None if no trial serves as a reference yet.
    """
    space = search.space
    n_trials, n_trusted = most_trials(study, space), len(space.first)
    rested = [trial for trial in study if trial.state != "RUNNING" and trial.seconds > 0]
    n_left = n_trials - study.n_done
    comparable = [trial.seconds for trial in rested if trial.number >= n_trusted or n_trials <= n_trusted]
    if not comparable or not study.n_done or n_left <= 0:
        return None

    def mean_rest(seconds: float) -> float | None:
        """Expected remaining time of a trial after so many seconds; None if no other trial took longer."""
        for known in (comparable, [trial.seconds for trial in rested]):
            longer = [other - seconds for other in known if other > seconds]
            if longer:
                return fmean(longer)
        return None

    def rest(trial: Trial) -> float:
        parts = rest_of_run(trial, search.settings, space.search.trial_seconds)
        own_rest = None if parts is None else parts * trial.seconds
        return min((s for s in (mean_rest(trial.seconds), own_rest) if s is not None), default=0.0)

    under_way = [rest(trial) for trial in study if trial.state == "RUNNING"]
    unstarted = max(0, n_trials - len(study)) * (mean_rest(0.0) or 0.0)
    left = max([(sum(under_way) + unstarted) / min(slots, n_left), *under_way])  # one runs in one slot
    return left if left > 0 else None
