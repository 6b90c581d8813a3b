"""The run of a search in MLflow: its winner with settings, files, test scores and lead over its rivals.

`tune` brings them there at the end of each session, `report NAME` again. Records that a server cannot take
wait in the search's outbox, behind those of its trials. Bringing them twice changes nothing.
"""

from __future__ import annotations

from pathlib import Path

from themo.checkpoints.versions import TEST_FILE, read_run_keys
from themo.errors import InputError
from themo.evaluation.report.tables import read_scores
from themo.evaluation.score_names import logged_scores
from themo.export.registering import register_version
from themo.process.progress import console, waiting
from themo.tracking.registry import Registered
from themo.tracking.run_log import RunLog
from themo.tracking.runs import Tracking, outbox_path
from themo.tracking.uri import sqlite_file, tracking_uri
from tune.confirmation.verdict import verdict
from tune.results.best_trials import BEST_SETTINGS, BEST_VERSION
from tune.results.report.page import REPORT_FILE
from tune.results.run_tags import CONFIRMATION_TAG, WINNER_TAG, confirmation_tags, leads, run_key, winner_tags
from tune.study.naming import STUDY_FILE, is_held
from tune.study.search import Search, alone
from tune.study.study import Study
from tune.study.tracking_place import TRACKING_FILE, has_place, refuse_another_place

_FILES = (BEST_SETTINGS, REPORT_FILE)


def bring_winner(search: Search, folder: Path) -> None:
    """Bring a search's winner to the search's run in MLflow, which has begun.

    Args:
        search: The search, whose place in MLflow is known.
        folder: The search directory.

    Raises:
        InputError: Another process sends the search's records, the search logs to another server than this
            command, or a file is damaged.
    """
    if not has_place(folder):  # nothing of it is in MLflow
        return
    study = Study.read(folder / STUDY_FILE)
    study.come_to_rest()
    winner = study.winner()
    if winner is None:
        return
    best, found = folder / BEST_VERSION, verdict(study)
    is_written = read_run_keys(best)[:1] == [run_key(search.uid, winner)]  # a kill may have come before
    tested = _scores(best / TEST_FILE) if is_written else {}
    with _tracking(search, folder, must_answer=False) as tracking:
        run = RunLog(tracking, search.uid)
        run.replace_tags(
            WINNER_TAG, winner_tags(winner, is_tested=is_written and (best / TEST_FILE).exists())
        )
        run.replace_tags(CONFIRMATION_TAG, confirmation_tags(found))
        run.measure(tested | leads(found))
        for name in _FILES if is_written else ():
            if (folder / name).is_file():
                run.file(folder / name)


def renew(search: Search, folder: Path) -> None:
    """Bring report and winner of a search to MLflow again, unless the search is running; print why not.

    Args:
        search: The search.
        folder: The search directory.
    """
    try:
        if is_held(folder):
            raise InputError("the search is running, and renews its run at its end")
        with alone(folder):
            bring_winner(search, folder)
    except InputError as error:
        console.print(f"Not renewed in MLflow: {error}", soft_wrap=True)


def register_winner(search: Search, best: Path, name: str) -> Registered:
    """Register a search's winner in MLflow, as a model of the search's run; waits for the server.

    Args:
        search: The search, whose place in MLflow is known.
        best: The winner's version directory.
        name: Name of the registered model.

    Raises:
        InputError: The server has no registry, refuses the name or does not answer, or the student cannot be
            exported.
    """
    with waiting("Registering the winner"), _tracking(search, best.parent, must_answer=True) as tracking:
        return register_version(best, name, tracking, RunLog(tracking, search.uid))


def _tracking(search: Search, folder: Path, *, must_answer: bool) -> Tracking:
    logs_dir, experiment = folder.parent.parent, search.settings.paths.experiment
    outbox = outbox_path(logs_dir, f"{search.name}-{search.uid}")
    return Tracking(_place(folder, logs_dir, experiment), experiment, outbox, must_answer=must_answer)


def _place(folder: Path, logs_dir: Path, experiment: str) -> str:
    """The address of the search's MLflow."""
    if not has_place(folder):
        raise InputError(f"{folder / TRACKING_FILE}: no such file; `tune --resume {folder.name}` writes it")
    refuse_another_place(folder, experiment, asked_by=f"report {folder.name}")
    uri = tracking_uri(logs_dir)
    file = sqlite_file(uri)
    if file is not None and not file.exists():
        raise InputError(f"{file}: no such database; `tune --resume {folder.name}` makes the runs again")
    return uri


def _scores(path: Path) -> dict[str, float]:
    return logged_scores(read_scores(path)) if path.exists() else {}
