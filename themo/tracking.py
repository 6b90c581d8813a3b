"""MLflow: runs of train, test and searches, sent by a thread of their own.

SQLite beside the logs by default, a server where ``MLFLOW_TRACKING_URI`` names one. Nothing here is global,
and no caller ever waits for the server: reports go into a bounded queue, one `log_batch` round trip each.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from themo.errors import InputError
from themo.progress import console

if TYPE_CHECKING:
    from mlflow import MlflowClient

Status = Literal["FINISHED", "FAILED", "KILLED"]
"""How a run ends in MLflow; KILLED is a trial that was stopped early, or an interrupted run."""

URI_VARIABLE = "MLFLOW_TRACKING_URI"

_REACH_SECONDS = 4.0
_QUEUE_LENGTH = 10_000
_CLOSE_SECONDS = 30.0
_PARAM_LENGTH = 6000
_PARAMS_A_BATCH = 100


def tracking_uri(logs_dir: Path) -> str:
    """Where runs go: the server that ``MLFLOW_TRACKING_URI`` names, or ``<logs_dir>/mlflow.db``, absolute."""
    return os.environ.get(URI_VARIABLE) or f"sqlite:///{logs_dir.resolve() / 'mlflow.db'}"


def ui_command(uri: str) -> str:
    """What a user types, or opens, to see the runs."""
    if urlsplit(uri).scheme in ("http", "https"):
        return f"open {uri}"
    return f"mlflow ui --backend-store-uri {uri}"


def check_reachable(uri: str) -> None:
    """Refuse an address where nobody answers, within five seconds and before anything is booked.

    Raises:
        InputError: No server answers, or the address is of no known kind.
    """
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        try:
            with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_REACH_SECONDS):  # noqa: S310
                return
        except urllib.error.HTTPError as error:
            if error.code < 500:  # a server before MLflow, such as one that asks for a password
                return
            reason = f"HTTP status {error.code}"
        except (OSError, ValueError) as error:
            reason = str(getattr(error, "reason", error))
        raise InputError(f"{URI_VARIABLE}: no MLflow server answers at {uri}: {reason}")
    if scheme in ("", "file"):
        raise InputError(
            f"{URI_VARIABLE}: must be a server (http://...) or a database (sqlite:////...), got {uri!r}"
        )
    if scheme == "sqlite":
        try:
            Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            setting = URI_VARIABLE if os.environ.get(URI_VARIABLE) else "--logs-dir"
            raise InputError(f"{setting}: {uri} cannot be written: {error.strerror}") from None


@dataclass(frozen=True)
class OldRun:
    """A run that was begun before.

    Attributes:
        run_id: MLflow's id.
        tags: By name.
        metrics: The last value of each, by MLflow's name of it.
    """

    run_id: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


class Tracking:
    """One MLflow experiment, and the thread that talks to it.

    Use as a context manager, so that everything is sent before the program ends.

    Args:
        uri: From `tracking_uri`.
        experiment: Made if there is none of this name.

    Raises:
        InputError: The server or database cannot be reached, or refuses the experiment.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        check_reachable(uri)
        self.uri = uri
        self.experiment = experiment
        self._client, self._experiment_id = _open(uri, experiment)
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(_QUEUE_LENGTH)
        self._warned = False
        self._thread = threading.Thread(target=self._send, name="mlflow", daemon=True)
        self._thread.start()

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(
        self,
        name: str,
        params: Mapping[str, object],
        artifact: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        parent: RunLog | None = None,
        run_id: str | None = None,
    ) -> RunLog:
        """Begin a run, or take up an old one.

        Args:
            name: As the table of runs shows it.
            params: What the comparison view gets as columns; others belong into `artifact`.
            artifact: All settings, kept as ``settings.json``.
            tags: Further tags.
            parent: The run of which this is a child.
            run_id: An old run, taken up again; None begins a new one.
        """
        run = RunLog(self, run_id)
        self._put(lambda: run._begin(name, params, artifact, dict(tags or {}), parent))
        return run

    def attach(self, run_id: str) -> RunLog:
        """An old run as it stands, to log into or to end."""
        return RunLog(self, run_id)

    @contextmanager
    def run(
        self, name: str, params: Mapping[str, object], artifact: Mapping[str, Any] | None = None
    ) -> Iterator[RunLog]:
        """A run for the length of a block: FINISHED, FAILED if it raises, KILLED if it is interrupted."""
        run = self.start(name, params, artifact)
        try:
            yield run
        except BaseException as error:
            run.finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        run.finish("FINISHED")

    def find(self, tag: str, value: str) -> list[OldRun]:
        """The experiment's runs with a tag; this one asks the server, and waits for it."""
        quoted = value.replace("'", "")
        found: list[OldRun] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id], f"tags.`{tag}` = '{quoted}'", page_token=token
            )
            found += [OldRun(run.info.run_id, dict(run.data.tags), dict(run.data.metrics)) for run in page]
            token = page.token
            if not token:
                return found

    def register(self, run: RunLog, folder: Path, name: str) -> str:
        """Log a model that MLflow saved into a folder, and register it; waits for the server.

        Args:
            run: The model's run.
            folder: With ``MLmodel``.
            name: Of the registered model; made if there is none.

        Returns:
            Its address, ``models:/<name>/<version>``.

        Raises:
            InputError: The server refuses it.
        """
        from mlflow.entities import LoggedModelStatus
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        self.flush()
        client = self._client
        try:
            model = client.create_logged_model(self._experiment_id, name=name, source_run_id=run.run_id)
            client.log_model_artifacts(model.model_id, str(folder))
            client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
            if not client.search_registered_models(f"name = '{name}'"):
                client.create_registered_model(name)
            made = client.create_model_version(
                name, source=model.artifact_location, run_id=run.run_id, model_id=model.model_id
            )
        except (MlflowException, SQLAlchemyError, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"MLflow at {self.uri} does not take the model {name!r}: {reason}") from None
        return f"models:/{name}/{made.version}"

    def flush(self, seconds: float = _CLOSE_SECONDS) -> bool:
        """Wait until all that was logged so far is sent; false where that took too long."""
        sent, end = threading.Event(), time.monotonic() + seconds
        try:
            self._queue.put(sent.set, timeout=seconds)
        except queue.Full:
            return False
        return sent.wait(max(0.0, end - time.monotonic()))

    def close(self) -> None:
        """Send what is left and end the thread."""
        if not self._thread.is_alive():
            return
        if not self.flush():
            self._warn(f"did not answer for {_CLOSE_SECONDS:.0f} s; what was not sent is lost")
            return  # the thread is a daemon: it does not keep the program from ending
        self._queue.put(None)
        self._thread.join()

    def _put(self, job: Callable[[], None]) -> None:
        try:
            self._queue.put_nowait(job)
        except queue.Full:
            self._warn("is too slow; reports are left out")

    def _send(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                job()
            except Exception as error:  # tracking must never end a run, whatever a server answers
                self._warn(str(error).partition("\n")[0])

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            console.print(f"Warning: MLflow at {self.uri}: {message}")


class RunLog:
    """One run. All methods return at once; they take effect in the order of their calls."""

    def __init__(self, tracking: Tracking, run_id: str | None = None) -> None:
        self._tracking = tracking
        self.run_id = run_id
        """Known once the run has begun; see `Tracking.flush`."""

    def report(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics, the finite ones, at a step; searches and training count steps in sentence pairs."""
        now = int(time.time() * 1000)
        finite = {metric_name(name): float(v) for name, v in metrics.items() if math.isfinite(v)}
        self._tracking._put(lambda: self._log(finite, step, now))

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        chosen = dict(tags)
        self._tracking._put(lambda: self._set_tags(chosen))

    def artifact(self, content: Mapping[str, Any], file: str) -> None:
        """Keep a mapping as a JSON file of the run."""
        chosen = dict(content)
        self._tracking._put(lambda: self._tracking._client.log_dict(self.run_id, chosen, file))

    def finish(self, status: Status = "FINISHED") -> None:
        """End the run."""
        now = int(time.time() * 1000)
        self._tracking._put(
            lambda: (
                self._tracking._client.set_terminated(self.run_id, status=status, end_time=now)
                if self.run_id
                else None
            )
        )

    def _begin(
        self,
        name: str,
        params: Mapping[str, object],
        artifact: Mapping[str, Any] | None,
        tags: dict[str, str],
        parent: RunLog | None,
    ) -> None:
        from mlflow.entities import Param

        client = self._tracking._client
        if self.run_id is not None:
            client.update_run(self.run_id, status="RUNNING")
            return
        if parent is not None and parent.run_id is not None:
            tags["mlflow.parentRunId"] = parent.run_id
        tags.setdefault("mlflow.source.name", "themo")
        self.run_id = client.create_run(self._tracking._experiment_id, tags=tags, run_name=name).info.run_id
        entries = [Param(key, str(value)[:_PARAM_LENGTH]) for key, value in params.items()]
        for start in range(0, len(entries), _PARAMS_A_BATCH):
            client.log_batch(self.run_id, params=entries[start : start + _PARAMS_A_BATCH])
        if artifact is not None:
            client.log_dict(self.run_id, dict(artifact), "settings.json")

    def _log(self, metrics: Mapping[str, float], step: int, now: int) -> None:
        from mlflow.entities import Metric

        if self.run_id and metrics:
            entries = [Metric(name, value, now, step) for name, value in metrics.items()]
            self._tracking._client.log_batch(self.run_id, metrics=entries)

    def _set_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        if self.run_id:
            entries = [RunTag(key, value) for key, value in tags.items()]
            self._tracking._client.log_batch(self.run_id, tags=entries)


def metric_name(name: str) -> str:
    """A metric's name as MLflow takes it: ``val/match@01`` is refused, ``val/match_at_01`` is not."""
    return re.sub(r"[^\w/.\- ]", "_", name.replace("@", "_at_"))


def comparison_params(values: Mapping[str, object]) -> dict[str, object]:
    """Settings as params of a run; with ``log10_learn_rate``, since the plots have no logarithmic axis."""
    params = dict(values)
    rate = params.get("learn_rate")
    if isinstance(rate, int | float) and rate > 0:
        params["log10_learn_rate"] = round(math.log10(rate), 6)
    return params


def _open(uri: str, experiment: str) -> tuple[MlflowClient, str]:
    # MLflow retries a dead server for minutes by default; a few tries tell as much
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # it announces every table that it makes
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        client = MlflowClient(tracking_uri=uri)
        known = client.get_experiment_by_name(experiment)
        if known is None:
            return client, _create(client, uri, experiment)
        if known.lifecycle_stage != "active":
            raise InputError(
                f"MLflow experiment {experiment!r} at {uri} was deleted: restore it, or choose another name"
            )
        return client, known.experiment_id
    except InputError:
        raise
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise InputError(f"MLflow at {uri} cannot be used: {str(error).partition(chr(10))[0]}") from None


def _create(client: MlflowClient, uri: str, experiment: str) -> str:
    """Make the experiment; with SQLite its files lie beside the database, not in the working directory."""
    location = None
    if uri.startswith("sqlite:///"):
        location = (Path(uri.removeprefix("sqlite:///")).resolve().parent / "mlartifacts").as_uri()
    return str(client.create_experiment(experiment, artifact_location=location))
