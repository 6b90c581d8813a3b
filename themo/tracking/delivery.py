"""Records of runs brought to MLflow, each exactly once, whatever is killed in between.

A run is known by its key, which is a tag of it: one that is there already is taken up, not made again. The
steps of a run only increase: metrics at a step that the run has, or at an earlier one, are not sent again.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from themo.errors import InputError, reason_of
from themo.tracking.comparison import VIEW_TAG
from themo.tracking.uri import sqlite_file, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

KEY_TAG = "themo.run"
_STEP_TAG = "themo.step"
_PARAM_LENGTH = 6000
_PARAMS_A_BATCH = 100
_RUNS_A_PAGE = 250
_MAY_PASS = (401, 403, 408, 429)
"""HTTP status: who asks may be let in later, and there may be time for it."""


class RefusedError(Exception):
    """MLflow answers, and will never take this record."""


class AwayError(Exception):
    """MLflow does not answer, or is in trouble: later it may take this record."""


@dataclass(frozen=True)
class _Run:
    """State of a run in MLflow."""

    run_id: str
    status: str
    step: int
    n_params: int
    tags: Mapping[str, str]

    @classmethod
    def of(cls, run: Any) -> _Run:
        tags = run.data.tags
        return cls(run.info.run_id, run.info.status, int(tags.get(_STEP_TAG, -1)), len(run.data.params), tags)


class Delivery:
    """Carries out records.

    The children that a run had before are read at once: a query for each would make the resume of a long
    search as dear as its trials (`python -m benchmarks search_overhead`).

    Args:
        uri: Server or database.
        experiment: Made if there is none of this name.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = uri
        self.experiment = experiment
        self._run_ids: dict[str, str] = {}
        self._steps: dict[str, int] = {}
        self._children: dict[str, dict[str, _Run]] = {}
        """Those that a run had when it was asked for the first one, by key; by the parent's key."""
        self._connection: tuple[MlflowClient, str] | None = None

    def connect(self) -> tuple[MlflowClient, str]:
        """The client and the experiment's id.

        Raises:
            InputError: The server or database cannot be used, or refuses the experiment.
        """
        if self._connection is None:
            self._connection = _open(self.uri, self.experiment)
        return self._connection

    def can_read(self) -> bool:
        """Whether the server is there and its database too, as far as reading goes."""
        if self._connection is None:
            return False
        client, experiment_id = self._connection
        try:
            client.get_experiment(experiment_id)
        except Exception:  # whatever it is
            return False
        return True

    def forget_children(self) -> None:
        """Look for the children of a run again: somebody else may have made some."""
        self._children.clear()

    @property
    def experiment_id(self) -> str | None:
        """MLflow's id of the experiment; None before the first connection."""
        return None if self._connection is None else self._connection[1]

    def run_id(self, key: str) -> str | None:
        """MLflow's id of a run that this delivery has begun."""
        return self._run_ids.get(key)

    def carry_out(self, record: Mapping[str, Any]) -> None:
        """Do what a record says; doing it twice changes nothing.

        Raises:
            RefusedError: It never will be done.
            AwayError: It may be done later.
        """
        try:
            self._carry_out(record)
        except AwayError:
            self.forget_children()  # a run may have been made whose making was not answered
            raise

    def _carry_out(self, record: Mapping[str, Any]) -> None:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            client, experiment_id = self.connect()
            match record["do"]:
                case "begin":
                    self._begin(client, experiment_id, record)
                case "settle":
                    self._settle(client, experiment_id, record)
                case "report":
                    self._report(client, record)
                case "tag":
                    self._tag(client, self._known(client, record["run"]), record["tags"])
                case "artifact":
                    client.log_dict(self._known(client, record["run"]), record["content"], record["file"])
                case "view":
                    self._keep_view(client, experiment_id, record)
                case "finish":
                    run_id = self._known(client, record["run"])
                    client.set_terminated(run_id, status=record["status"], end_time=record["at"])
                case unknown:
                    raise RefusedError(f"no such record: {unknown!r}")
        except MlflowException as error:
            if self._is_refusal(error):
                raise RefusedError(reason_of(error)) from error
            raise AwayError(reason_of(error)) from error
        except (SQLAlchemyError, OSError, InputError) as error:
            raise AwayError(reason_of(error)) from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise RefusedError(f"a damaged record: {error!r}") from error

    def _is_refusal(self, error: MlflowException) -> bool:
        """Whether MLflow itself says never: an answer of a proxy, or about credentials, may pass.

        Of a server, MLflow's own answers are JSON that names its error (`mlflow.utils.rest_utils`); all other
        answers become an `MlflowException` with the error that fits their status, or an inner one.
        """
        from mlflow.exceptions import RestException

        status = error.get_http_status_code()
        is_its_own = isinstance(error, RestException) or not self.uri.startswith("http")
        return is_its_own and 400 <= status < 500 and status not in _MAY_PASS

    def register(self, key: str, folder: Path, name: str) -> str:
        """Log a model into a run that has begun, and register it; see `Tracking.register`.

        Raises:
            InputError: The server refuses it, or does not answer.
        """
        from mlflow.entities import LoggedModelStatus
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            client, experiment_id = self.connect()
            run_id = self._known(client, key)
            model = client.create_logged_model(experiment_id, name=name, source_run_id=run_id)
            client.log_model_artifacts(model.model_id, str(folder))
            client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
            if not client.search_registered_models(f"name = '{name}'"):
                client.create_registered_model(name)
            made = client.create_model_version(
                name, source=model.artifact_location, run_id=run_id, model_id=model.model_id
            )
        except (MlflowException, SQLAlchemyError, OSError, RefusedError) as error:
            reason = reason_of(error)
            raise InputError(
                f"MLflow at {without_password(self.uri)} does not take the model {name!r}: {reason}"
            ) from None
        return f"models:/{name}/{made.version}"

    def _begin(self, client: MlflowClient, experiment_id: str, record: Mapping[str, Any]) -> None:
        key, parent = record["run"], record.get("parent")
        found = self._find(client, experiment_id, key, parent)
        if found is not None:
            self._take_up(key, found)
            if found.n_params < len(record["params"]):  # a kill came between
                self._describe(client, found.run_id, record)
            if found.status != "RUNNING":
                client.update_run(found.run_id, status="RUNNING")
            return
        tags = {KEY_TAG: key, "mlflow.source.name": "themo", **record["tags"]}
        if parent:
            tags["mlflow.parentRunId"] = self._known(client, parent)
        run = client.create_run(experiment_id, start_time=record["at"], tags=tags, run_name=record["name"])
        self._take_up(key, _Run.of(run))
        self._describe(client, run.info.run_id, record)

    def _settle(self, client: MlflowClient, experiment_id: str, record: Mapping[str, Any]) -> None:
        """Bring a run to its tags and its end, if a kill or an interruption kept it from them."""
        found = self._find(client, experiment_id, record["run"], record.get("parent"))
        if found is None:
            self._begin(client, experiment_id, record)
        else:
            if not record["tags"].items() <= found.tags.items():
                self._tag(client, found.run_id, record["tags"])
            if found.status == record["status"]:
                return
            self._take_up(record["run"], found)
        self._report(client, record)
        client.set_terminated(self._run_ids[record["run"]], status=record["status"], end_time=record["at"])

    def _describe(self, client: MlflowClient, run_id: str, record: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        if record.get("settings") is not None:
            client.log_dict(run_id, record["settings"], "settings.json")
        entries = [Param(key, str(value)[:_PARAM_LENGTH]) for key, value in record["params"].items()]
        for start in range(0, len(entries), _PARAMS_A_BATCH):
            client.log_batch(run_id, params=entries[start : start + _PARAMS_A_BATCH])

    def _report(self, client: MlflowClient, record: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric, RunTag

        key, step = record["run"], int(record["step"])
        run_id = self._known(client, key)
        if step <= self._steps[key] or not record["metrics"]:
            return
        entries = [Metric(name, value, record["at"], step) for name, value in record["metrics"].items()]
        client.log_batch(run_id, metrics=entries, tags=[RunTag(_STEP_TAG, str(step))])
        self._steps[key] = step

    def _tag(self, client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def _keep_view(self, client: MlflowClient, experiment_id: str, record: Mapping[str, Any]) -> None:
        state = json.dumps(record["state"], separators=(",", ":"), ensure_ascii=False)
        client.set_experiment_tag(experiment_id, f"{VIEW_TAG}{record['run']}", state)

    def _known(self, client: MlflowClient, key: str) -> str:
        """Id of a run begun before, here or by a process that is gone."""
        if key not in self._run_ids:
            found = self._find(client, self.connect()[1], key)
            if found is None:
                raise RefusedError(f"there is no run with the tag {KEY_TAG} {key!r}")
            self._take_up(key, found)
        return self._run_ids[key]

    def _take_up(self, key: str, run: _Run) -> None:
        self._run_ids[key], self._steps[key] = run.run_id, run.step

    def _find(
        self, client: MlflowClient, experiment_id: str, key: str, parent: str | None = None
    ) -> _Run | None:
        if parent is None or key in self._run_ids:  # what was read of it may be no longer so
            runs = client.search_runs([experiment_id], _by_key(key), max_results=1)
            return _Run.of(runs[0]) if runs else None
        if parent not in self._children:
            self._children[parent] = self._read_children(client, experiment_id, parent)
        return self._children[parent].get(key)

    def _read_children(self, client: MlflowClient, experiment_id: str, parent: str) -> dict[str, _Run]:
        """Those of a deleted parent of this key too: a new one has been made in its place."""
        from mlflow.entities import ViewType

        children: dict[str, _Run] = {}
        for known in client.search_runs([experiment_id], _by_key(parent), run_view_type=ViewType.ALL):
            token: str | None = None
            while token != "":
                page = client.search_runs(
                    [experiment_id],
                    f"tags.mlflow.parentRunId = '{known.info.run_id}'",
                    max_results=_RUNS_A_PAGE,
                    page_token=token,
                )
                children |= {run.data.tags.get(KEY_TAG, ""): _Run.of(run) for run in page}
                token = page.token or ""
        return children


def _by_key(key: str) -> str:
    """A search of runs by their key, which holds no quote."""
    return f"tags.`{KEY_TAG}` = '{key.replace(chr(39), '')}'"


def _open(uri: str, experiment: str) -> tuple[MlflowClient, str]:
    # MLflow retries for minutes by default, and would make a run twice whose making took too long; the outbox
    # has its own patience, and looks first
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # where results belong
    # MLflow announces every table that it makes; the loggers are set too, since it reads MLFLOW_LOGGING_LEVEL
    # as it is imported, which a program may have done before
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from alembic.util.exc import CommandError
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with _alone(uri):
            with _default_files_beside(sqlite_file(uri)):
                client = MlflowClient(tracking_uri=uri)
            known = client.get_experiment_by_name(experiment)
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
    except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
        raise InputError(f"MLflow at {without_password(uri)} cannot be used: {reason_of(error)}") from None


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
    """The address of the folder of all artifacts."""
    return (database.resolve().parent / "mlartifacts").as_uri()


def _alone(uri: str) -> AbstractContextManager[object]:
    """Keeps other processes from making tables or an experiment in a SQLite file at the same time."""
    file = sqlite_file(uri)
    return FileLock(file.with_name(f".{file.name}.lock")) if file else nullcontext()
