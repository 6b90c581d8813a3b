"""The contents of a search directory for a report: the record, the best trial, its files and its test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from themo.checkpoints.versions import TEST_FILE, read_summary
from themo.config.settings import load
from themo.errors import InputError
from themo.evaluation.report.tables import read_scores
from themo.files.run_folders import BEST_VERSION, STUDY_FILE
from tune.confirmation.verdict import is_finished
from tune.results.best_trials import BEST_SETTINGS
from tune.study.limits import are_trials_done
from tune.study.naming import is_held
from tune.study.search import Search
from tune.study.study import Study
from tune.study.trial_record import Trial


class NoScoreError(InputError):
    """A record holds no trial with a score, so there is nothing to report yet."""


@dataclass(frozen=True)
class Source:
    """The contents of a search directory.

    Attributes:
        search: The search.
        folder: The search directory.
        study: The record; at rest if no process runs the search.
        best: The winner, or the best trial so far.
        is_running: Whether a process runs the search.
        are_trials_done: Whether all trials are done.
        is_finished: Whether the runs of the confirmation are done too.
        has_settings: Whether ``best.yaml`` holds the best trial's settings.
        version: The best trial's version directory; None: it is not there.
        tested: Contents of its ``test.json``; None: it has not been tested.
    """

    search: Search
    folder: Path
    study: Study
    best: Trial
    is_running: bool
    are_trials_done: bool
    is_finished: bool
    has_settings: bool
    version: Path | None
    tested: dict[str, Any] | None

    @property
    def is_trainable(self) -> bool:
        """Whether ``best.yaml`` trains as the best trial was: its settings did not change."""
        return self.has_settings and not self.best.lineage


def read_source(search: Search, folder: Path) -> Source:
    """Read a search directory, which is not changed.

    Args:
        search: The search.
        folder: The search directory, with its ``study.json``.

    Raises:
        NoScoreError: The record holds no score.
        InputError: The record or the winner's ``test.json`` is damaged.
    """
    study = Study.read(folder / STUDY_FILE)
    is_running = is_held(folder)
    if not is_running:  # else `tune` holds the lock and has done this
        study.reset_to_checkpoints()
    best = study.leader()
    if best is None:
        reason = next((f"; the first one: {trial.reason}" for trial in study if trial.reason), "")
        raise NoScoreError(
            f"{folder / STUDY_FILE}: must contain a trial with a score, "
            f"but all {len(study)} failed or have not reported{reason}"
        )
    is_done = are_trials_done(study, search.space)
    if is_done:
        best = study.winner() or best
    has_settings = _holds_settings(search, best, folder / BEST_SETTINGS)
    version = folder / BEST_VERSION if has_settings and (folder / BEST_VERSION).is_dir() else None
    if not is_done and (version is None or not _holds_best(version, search, study, best)):
        has_settings, version = False, None  # the files are of an earlier session
    is_tested = version is not None and (version / TEST_FILE).exists()
    return Source(
        search=search,
        folder=folder,
        study=study,
        best=best,
        is_running=is_running,
        are_trials_done=is_done,
        is_finished=is_finished(study, search),
        has_settings=has_settings,
        version=version,
        tested=read_scores(version / TEST_FILE) if version is not None and is_tested else None,
    )


def _holds_settings(search: Search, best: Trial, path: Path) -> bool:
    """Whether a file holds this trial's settings; not if a kill prevented the results from being written."""
    if not path.is_file():
        return False
    try:  # compared as settings: the file may start with a note
        kept = load(config=path)
    except InputError:  # edited by hand, or damaged
        return False
    settings = search.settings.override(best.params)
    return kept.model_copy(update={"paths": settings.paths}) == settings  # the search may have been moved


def _holds_best(version: Path, search: Search, study: Study, best: Trial) -> bool:
    """Whether a version is the best trial's current one, not one of an earlier session."""
    try:
        kept = read_summary(version)["best"][search.objective]
    except (InputError, KeyError):
        return False
    return bool(kept == best.saved(study.mode))
