"""Records of runs brought to MLflow, each exactly once, whatever is killed in between.

A run is known by its key, which is a tag of it: one that is there already is taken up, not made again. The
steps of a run only increase: metrics at a step that the run has, or at an earlier one, are not sent again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from themo.errors import InputError, reason_of
from themo.tracking.comparison import VIEW_TAG
from themo.tracking.connection import open_experiment
from themo.tracking.registry import Registered, register, registered_before
from themo.tracking.uri import without_password

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
        folder: Paths of files in records are relative to it.
    """

    def __init__(self, uri: str, experiment: str, folder: Path = Path()) -> None:
        self.uri = uri
        self.experiment = experiment
        self._folder = folder
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
            self._connection = open_experiment(self.uri, self.experiment)
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

    def carry_out(self, record: Mapping[str, Any]) -> str | None:
        """Do what a record says; doing it twice changes nothing.

        Returns:
            A line for the user, where MLflow lacked the run that the record belongs to; else None.

        Raises:
            RefusedError: It never will be done.
            AwayError: It may be done later.
        """
        try:
            return self._carry_out(record)
        except AwayError:
            self.forget_children()  # a run may have been made whose making was not answered
            raise

    def _carry_out(self, record: Mapping[str, Any]) -> str | None:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            client, experiment_id = self.connect()
            match record["do"]:
                case "begin":
                    self._begin(client, experiment_id, record)
                case "settle":
                    self._settle(client, experiment_id, record)
                case "join":
                    return self._join(client, experiment_id, record)
                case "report":
                    self._report(client, record)
                case "measure":
                    self._measure(client, record)
                case "tag":
                    self._tag(client, self._known(client, record["run"]), record["tags"])
                case "replace tags":
                    self._replace_tags(client, record)
                case "artifact":
                    client.log_dict(self._known(client, record["run"]), record["content"], record["file"])
                case "file":
                    self._upload(client, record)
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
        return None

    def _is_refusal(self, error: MlflowException) -> bool:
        """Whether MLflow itself says never: an answer of a proxy, or about credentials, may pass.

        Of a server, MLflow's own answers are JSON that names its error (`mlflow.utils.rest_utils`); all other
        answers become an `MlflowException` with the error that fits their status, or an inner one.
        """
        from mlflow.exceptions import RestException

        status = error.get_http_status_code()
        is_its_own = isinstance(error, RestException) or not self.uri.startswith("http")
        return is_its_own and 400 <= status < 500 and status not in _MAY_PASS

    def register(self, key: str, folder: Path, name: str, student: str = "") -> Registered:
        """Log a model into a run that has begun, and register it; see `Tracking.register`.

        Raises:
            InputError: The server refuses it, or does not answer.
        """
        client, experiment_id = self.connect()
        try:
            run_id = self._known(client, key)
        except RefusedError as error:
            raise InputError(f"MLflow at {without_password(self.uri)}: {error}") from None
        known = self.registered_before(name, student) if student else None
        return known or register(client, self.uri, experiment_id, run_id, folder, name, student)

    def registered_before(self, name: str, student: str) -> Registered | None:
        """The entry of a student in the registry; see `Tracking.registered_before`."""
        return registered_before(self.connect()[0], self.uri, name, student)

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

    def _join(self, client: MlflowClient, experiment_id: str, record: Mapping[str, Any]) -> str | None:
        """Take up a run in the state it has; make one that has ended where there is none."""
        found = self._find(client, experiment_id, record["run"])
        if found is not None:
            self._take_up(record["run"], found)
            return None
        self._begin(client, experiment_id, record)
        client.set_terminated(self._run_ids[record["run"]], status="FINISHED", end_time=record["at"])
        return (
            f"MLflow at {without_password(self.uri)}, experiment {self.experiment!r}, has no run of "
            f"{record['name']}: it is logged as a new run"
        )

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

    def _measure(self, client: MlflowClient, record: Mapping[str, Any]) -> None:
        """Log metrics that have no step, where they changed."""
        from mlflow.entities import Metric

        run_id = self._known(client, record["run"])
        known = client.get_run(run_id).data.metrics
        changed = {name: value for name, value in record["metrics"].items() if known.get(name) != value}
        if changed:
            entries = [Metric(name, value, record["at"], 0) for name, value in changed.items()]
            client.log_batch(run_id, metrics=entries)

    def _replace_tags(self, client: MlflowClient, record: Mapping[str, Any]) -> None:
        """Set tags, and remove those of the same prefix that are no longer true."""
        run_id, tags = self._known(client, record["run"]), record["tags"]
        known = client.get_run(run_id).data.tags
        for name in known.keys() - tags.keys():
            if name.startswith(record["prefix"]):
                client.delete_tag(run_id, name)
        self._tag(client, run_id, tags)

    def _upload(self, client: MlflowClient, record: Mapping[str, Any]) -> None:
        path = self._folder / record["path"]
        if not path.is_file():
            raise RefusedError(f"{path}: no such file")
        client.log_artifact(self._known(client, record["run"]), str(path))

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
