"""The connection to MLflow: its client and the experiment, created if missing."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from themo.errors import InputError
from themo.files.locks import alone
from themo.process.garbage import uncollected
from themo.tracking.known_databases import note_opened
from themo.tracking.uri import reason_without_password, sqlite_file, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient


_PACKAGES = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""Packages of the database drivers whose module has another name, or that compile without the extra."""


def open_experiment(uri: str, experiment: str) -> tuple[MlflowClient, str]:
    """Return the client of a server or database, and the id of an experiment.

    Raises:
        InputError: The server or database cannot be used, its driver is not installed, or the experiment was
            deleted.
    """
    # MLflow retries for minutes by default, and would make a run twice whose making took too long; the thread
    # has its own patience, and looks first
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # where results belong
    # MLflow announces every table that it makes; the loggers are set too, since it reads MLFLOW_LOGGING_LEVEL
    # as it is imported, which a program may have done before
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with uncollected():
        from alembic.util.exc import CommandError
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        if not uri.startswith("http"):
            from mlflow.store.db import utils as engines

            engines.MAX_RETRY_COUNT = 0  # else MLflow tries for 102 s to open a file that is no database
    try:
        with _alone(uri):
            with _default_files_beside(sqlite_file(uri)):
                client = MlflowClient(tracking_uri=uri)
            known = client.get_experiment_by_name(experiment)
            with suppress(OSError, sqlite3.Error):  # a read-only folder: MLflow is asked each time
                note_opened(uri)
            if known is None:
                return client, _create(client, uri, experiment)
        if known.lifecycle_stage != "active":
            raise InputError(
                f"MLflow experiment {experiment!r} at {without_password(uri)} was deleted: restore it, "
                f"or choose another name"
            )
        return client, known.experiment_id
    except InputError:
        raise
    except ModuleNotFoundError as error:
        driver = (error.name or "").partition(".")[0]
        raise InputError(
            f"MLflow at {without_password(uri)} needs the driver {driver}, which is not installed: "
            f"pip install '{_PACKAGES.get(driver, driver)}'"
        ) from None
    except (MlflowException, SQLAlchemyError, CommandError, ImportError, OSError) as error:
        raise InputError(
            f"MLflow at {without_password(uri)} cannot be used: {reason_without_password(uri, error)}"
        ) from None


def _create(client: MlflowClient, uri: str, experiment: str) -> str:
    """Make the experiment; with SQLite its files lie beside the database, not in the working directory."""
    from mlflow.exceptions import MlflowException

    file = sqlite_file(uri)
    location = _files_beside(file) if file else None
    try:
        return str(client.create_experiment(experiment, artifact_location=location))
    except MlflowException as error:
        made = client.get_experiment_by_name(experiment)
        if error.error_code != "RESOURCE_ALREADY_EXISTS" or made is None:
            raise
        return str(made.experiment_id)  # another command's, of this moment: a server knows no lock of ours


_DEFAULT_FILES = "_MLFLOW_SERVER_ARTIFACT_ROOT"
_one_at_a_time = threading.Lock()


@contextmanager
def _default_files_beside(database: Path | None) -> Iterator[None]:
    """Keep the files of MLflow's own experiment 0, which it makes with the tables, beside a SQLite database.

    MLflow (3.17) puts them into the working directory, whose name it writes into SQL as a Python literal: a
    name with both kinds of quotes ends the statement. An address has no quotes.
    """
    with _one_at_a_time:  # of the threads, which share the environment
        if database is None or _DEFAULT_FILES in os.environ:
            yield
            return
        os.environ[_DEFAULT_FILES] = _files_beside(database)
        try:
            yield
        finally:
            del os.environ[_DEFAULT_FILES]


def _files_beside(database: Path) -> str:
    """Return the address of the folder of all artifacts."""
    return (database.resolve().parent / "mlartifacts").as_uri()


def _alone(uri: str) -> AbstractContextManager[object]:
    """Lock out other processes while tables or an experiment are created in a SQLite file."""
    file = sqlite_file(uri)
    if file is None:
        return nullcontext()
    return alone(file.with_name(f".{file.name}.lock"), f"{file}: another process creates its tables; waiting")
