"""When a search has enough: of trials, or of trials that gained nothing."""

from __future__ import annotations

from tune.search_settings import SearchSettings
from tune.study import Study


def wants_more(study: Study, search: SearchSettings) -> bool:
    """Whether a search begins another trial when one of its slots is free."""
    return len(study) < search.num_samples and not is_exhausted(study, search)


def is_exhausted(study: Study, search: SearchSettings) -> bool:
    """Whether `stop_after_no_gain` trials that came after the best one have ended, and none was better."""
    patience = search.stop_after_no_gain
    return patience is not None and trials_without_gain(study) >= patience


def is_whole(study: Study, search: SearchSettings) -> bool:
    """Whether nothing is left to do."""
    return not wants_more(study, search) and all(trial.is_done for trial in study)


def trials_without_gain(study: Study) -> int:
    """Trials after the best one so far that have ended, however they did; all where none has a score.

    A function of the record alone, so that a resumed search ends where it would have ended. A trial that was
    paused is none of them before it ends.
    """
    leader = study.leader()
    return sum(trial.is_done for trial in study if leader is None or trial.number > leader.number)
