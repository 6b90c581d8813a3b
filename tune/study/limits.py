"""Limits of a search: number of trials, settings in the space, trials without gain, small chance of gain."""

from __future__ import annotations

from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space
from tune.study.remaining_gain import RemainingGain, remaining_gain
from tune.study.study import Study
from tune.study.tried import most_trials


def wants_more(study: Study, space: Space) -> bool:
    """Whether a search starts another trial in a free slot."""
    return starts_another(study, space.search, most_trials(study, space))


def starts_another(study: Study, search: SearchSettings, most: int) -> bool:
    """Whether a search with a maximum number of trials, `most`, starts another one."""
    if len(study) >= most or is_exhausted(study, search):
        return False
    left = remaining_gain(study, search, most)
    return left is None or not left.is_small


def is_exhausted(study: Study, search: SearchSettings) -> bool:
    """Whether `stop_after_no_gain` trials after the best one have ended without a better result."""
    patience = search.stop_after_no_gain
    return patience is not None and trials_without_gain(study) >= patience


def are_trials_done(study: Study, space: Space) -> bool:
    """Whether all trials of a search are done."""
    return not wants_more(study, space) and all(trial.is_done for trial in study)


def used_up(study: Study, space: Space) -> str:
    """A message that a search has tried all settings of its space; else empty."""
    most = most_trials(study, space)
    if not most == len(study) < space.search.num_samples:
        return ""
    before = ", some of them in the search that it started from" if study.carried else ""
    return (
        f"All {space.n_points:.0f} settings of the space have been tried{before}: "
        f"the search ends after {most} of {space.search.num_samples} trials"
    )


def small_gain(study: Study, space: Space) -> RemainingGain | None:
    """The chance of a gain if it is too small for another trial to start; else None.

    It may rise again: a trial that still runs may end as the best one.
    """
    left = remaining_gain(study, space.search, most_trials(study, space))
    return left if left is not None and left.is_small else None


def early_end(study: Study, space: Space) -> RemainingGain | None:
    """The small chance of a gain that ended a search before its last trial; else None."""
    return small_gain(study, space) if all(trial.is_done for trial in study) else None


def trials_without_gain(study: Study) -> int:
    """Number of ended trials after the best one so far, of any outcome; all ended ones if none has a score.

    A function of the record alone, so a resumed search ends at the same trial. Paused trials do not count.
    """
    leader = study.scored_leader()
    return sum(trial.is_done for trial in study if leader is None or trial.number > leader.number)
