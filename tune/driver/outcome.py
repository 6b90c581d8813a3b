"""The results of a session: the winner's files, the front, the counts."""

from __future__ import annotations

from typing import NoReturn

from themo.checkpoints.versions import keep_run_keys
from themo.errors import InputError
from themo.files.run_folders import BEST_VERSION
from themo.process.progress import console
from tune.confirmation.plan import Unconfirmed, plan
from tune.confirmation.verdict import is_finished, verdict
from tune.driver.session_state import SessionState
from tune.results.best_trials import SearchResult, write_best
from tune.results.front import front_as_json, write_front
from tune.results.run_tags import run_key
from tune.results.trial_table import TrialTable
from tune.study.limits import are_trials_done, early_end, used_up
from tune.study.study import Study
from tune.study.work_time import busy_share, session_seconds

_TOP = 5


class TimeIsUpError(InputError):
    """A session's time budget ended before any trial reached a checkpoint; the search can be resumed."""


def finish(state: SessionState, slots: int) -> SearchResult:
    """Write the results of a session without running trials.

    Args:
        state: The search and its record.
        slots: Largest number of slots of any session.

    Raises:
        TimeIsUpError: No trial reached a checkpoint within the time budget.
        RuntimeError: All trials failed.
    """
    search, study = state.search, state.study
    study.reset_to_checkpoints()
    TrialTable(study, search.space, search.folder, at_rest=True).write()
    found = verdict(study)
    if found is not None and found.is_over and study.confirmation is not None:
        study.confirmation.handed_over = found.handed_over
        study.save()
    is_done = are_trials_done(study, search.space)
    best = study.winner() or _refuse_no_winner(study, search.name, is_done=is_done)
    end = early_end(study, search.space) if is_done else None
    if is_done and (notice := used_up(study, search.space)):
        console.print(notice, soft_wrap=True)
    if end is not None:
        console.print(end.line(search.objective), soft_wrap=True)
    write_winner(state)
    write_front(search, study)
    unconfirmed = plan(study, search.space, search.settings) if is_done else None
    return SearchResult(
        folder=search.folder,
        objective=search.objective,
        mode=search.mode,
        counts=study.counts(),
        best=best,
        slots=slots,
        busy=busy_share(study, slots),
        seconds=session_seconds(study),
        top=tuple(study.ranked()[:_TOP]),
        num_samples=search.space.search.num_samples,
        is_whole=is_finished(study, search),
        confirmation=found,
        unconfirmed=unconfirmed if isinstance(unconfirmed, Unconfirmed) else None,
        early_end=end,
        front=front_as_json(search, study),
        search=search.space.search,
    )


def _refuse_no_winner(study: Study, name: str, *, is_done: bool) -> NoReturn:
    n_failed = study.counts()["FAIL"]
    reason = next((t.reason for t in study if t.state == "FAIL" and t.reason), "unknown reason")
    if is_done:
        raise RuntimeError(f"all {len(study)} trials failed; the first one: {reason}")
    ended = "no trial reached its first checkpoint in time"
    if n_failed:
        ended += f", {n_failed} failed ({reason})"
    raise TimeIsUpError(f"--time-budget: {ended}: continue with --resume {name}")


def write_winner(state: SessionState) -> None:
    """Write the winner's files, with the result of its confirmation."""
    search, winner, found = state.search, state.study.winner(), verdict(state.study)
    if winner is not None:
        lines = found.lines() if found is not None else []
        write_best(winner, search.settings, state.storage, search.folder, lines)
        keep_run_keys(search.folder / BEST_VERSION, run_key(search.uid, winner), search.uid)
