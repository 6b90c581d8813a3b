"""Sends a search to MLflow from its directory after a session, with winner, files and test."""

from __future__ import annotations

from pathlib import Path

from themo.errors import InputError
from themo.export.registering import register_version
from themo.process.progress import console, waiting
from themo.tracking.registry import Registered
from themo.tracking.runs import Sent, Tracking, send
from themo.tracking.tracked import TRACKING_FILE
from themo.tracking.uri import tracking_uri
from tune.results.mlflow_runs import SearchRuns
from tune.study.naming import is_held
from tune.study.search import Search, alone, read_search
from tune.study.tracking_place import has_place, keep_place, refuse_another_place, uri_of


def send_winner(search: Search, folder: Path) -> None:
    """Send a search whose session is over, and its winner, to MLflow.

    Args:
        search: The search.
        folder: The search directory.

    Raises:
        InputError: Another process sends the search's runs, the search logs to another server than this
            command, or a file is damaged.
    """
    if has_place(folder):  # else the search is not in MLflow
        with _tracking(search, folder, must_answer=False):
            pass


def update_in_mlflow(search: Search, folder: Path) -> None:
    """Send report and winner of a search to MLflow again, unless it is running; print failures.

    Args:
        search: The search.
        folder: The search directory.
    """
    try:
        if is_held(folder):
            raise InputError("the search is running and updates its run at its end")
        with alone(folder):
            send_winner(search, folder)
    except InputError as error:
        console.print(f"Not updated in MLflow: {error}", soft_wrap=True)


def send_search(folder: Path, seconds: float) -> Sent:
    """Send a search to MLflow from its directory, to the server of the environment or else to its own.

    Args:
        folder: The search directory.
        seconds: Longest wait for the server.

    Raises:
        InputError: The search is running, a file is damaged, or the server does not take its runs in time.
    """
    search, uri = read_search(folder, asked_by="send"), uri_of(folder)
    if is_held(folder):
        raise InputError(f"{folder}: the search is running and sends its runs itself")
    experiment = search.settings.paths.experiment
    with alone(folder):
        sent = send(uri, experiment, SearchRuns(search, folder), folder, seconds)
        keep_place(folder, experiment, sent.experiment_id, uri)
    return sent


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
    folder = best.parent
    if not has_place(folder):
        raise InputError(f"{folder / TRACKING_FILE}: no such file; `tune --resume {folder.name}` writes it")
    with waiting("Registering the winner"), _tracking(search, folder, must_answer=True) as tracking:
        return register_version(best, name, tracking, search.uid)


def _tracking(search: Search, folder: Path, *, must_answer: bool) -> Tracking:
    experiment = search.settings.paths.experiment
    refuse_another_place(folder, experiment, asked_by=f"report {folder.name}")
    uri = tracking_uri(folder.parent.parent)
    return Tracking(uri, experiment, SearchRuns(search, folder), folder, must_answer=must_answer)
