"""When a search has enough: of trials, of settings, or of trials that gained nothing."""

from __future__ import annotations

from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space
from tune.study.study import Study
from tune.study.tried import most_trials


def wants_more(study: Study, space: Space) -> bool:
    """Whether a search begins another trial when one of its slots is free."""
    return begins_more(study, space.search, most_trials(study, space))


def begins_more(study: Study, search: SearchSettings, most: int) -> bool:
    """As `wants_more`, of a search that comes to so many trials at most."""
    return len(study) < most and not is_exhausted(study, search)


def is_exhausted(study: Study, search: SearchSettings) -> bool:
    """Whether `stop_after_no_gain` trials that came after the best one have ended, and none was better."""
    patience = search.stop_after_no_gain
    return patience is not None and trials_without_gain(study) >= patience


def is_whole(study: Study, space: Space) -> bool:
    """Whether nothing is left to do."""
    return not wants_more(study, space) and all(trial.is_done for trial in study)


def used_up(study: Study, space: Space) -> str:
    """What to say of a search that has tried all settings of its space, in a sentence; else empty."""
    most = most_trials(study, space)
    if not most == len(study) < space.search.num_samples:
        return ""
    before = ", some of them in the search that it started from" if study.carried else ""
    return (
        f"All {space.n_points:.0f} settings of the space have been tried{before}: "
        f"the search ends after {most} of {space.search.num_samples} trials"
    )


def trials_without_gain(study: Study) -> int:
    """Trials after the best one so far that have ended, however they did; all where none has a score.

    A function of the record alone, so that a resumed search ends where it would have ended. A trial that was
    paused is none of them before it ends.
    """
    leader = study.leader()
    return sum(trial.is_done for trial in study if leader is None or trial.number > leader.number)
