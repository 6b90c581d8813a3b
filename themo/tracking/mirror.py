"""Mirror of a projection on an MLflow server: `Mirror.sync` sends the missing parts."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from themo.tracking.answers import RejectedError, UnreachableError, ask
from themo.tracking.comparison import VIEW_TAG
from themo.tracking.connection import open_experiment
from themo.tracking.known_runs import FILES_TAG, KEY_TAG, STEP_TAG, KnownRun, by_tag, search_runs
from themo.tracking.projection import Point, Projection, Run, batches, entry_batches, loggable

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PARENT_TAG = "mlflow.parentRunId"
_PARAM_LENGTH = 6000
_FAILURES_A_ROUND = 3
"""Number of consecutive runs with a server failure after which a round ends."""


class Mirror:
    """Sends projections to one experiment of one server.

    Args:
        uri: Server or database.
        experiment: Name of the experiment; created if missing.
        reject: Called with a line for each part that the server rejected.

    Attributes:
        made: Names of the created runs.
        missing: Names of the runs that the server lacks and that are not to be created.
        n_changed: Number of runs to which something was sent.
        n_rejected: Number of rejected parts.
        is_stopped: Set by the owner to send nothing more.
    """

    def __init__(self, uri: str, experiment: str, reject: Callable[[str], None] = lambda _: None) -> None:
        self.uri = uri
        self.experiment = experiment
        self.made: list[str] = []
        self.missing: set[str] = set()
        self.n_changed = self.n_rejected = 0
        self.is_stopped = False
        self._reject = reject
        self._connection: tuple[MlflowClient, str] | None = None
        self._known: dict[str, KnownRun] = {}
        self._views: dict[str, str] = {}
        self._is_read = False
        self._sent: dict[str, Run] = {}

    def connect(self) -> tuple[MlflowClient, str]:
        """The client and the experiment's id.

        Raises:
            InputError: The server or database cannot be used, or refuses the experiment.
        """
        if self._connection is None:
            self._connection = open_experiment(self.uri, self.experiment)
        return self._connection

    @property
    def experiment_id(self) -> str | None:
        """MLflow's id of the experiment; None before the first connection."""
        return None if self._connection is None else self._connection[1]

    def run_id(self, key: str) -> str | None:
        """MLflow's id of a run; None if the run is not known to be on the server."""
        return self._known[key].run_id if key in self._known else None

    def sync(self, projection: Projection) -> None:
        """Send the parts of a projection that the server lacks.

        After a failure the server is read again: it may have processed a request without a response.

        Raises:
            UnreachableError: A part was not sent; all other parts were, if the server answers.
        """
        if not projection.runs:
            return
        try:
            self._ask(self._read, projection)
            self._send_all(projection)
        except (UnreachableError, RejectedError) as error:  # rejected: a read, not a sent part
            self._is_read = False
            self._sent.clear()
            raise UnreachableError(str(error)) from error

    def _send_all(self, projection: Projection) -> None:
        failure: UnreachableError | None = None
        n_failed = 0
        for run in projection.runs:
            if (sent := self._sent.get(run.key)) is run or sent == run:
                continue
            try:
                self._send_run(run)
            except UnreachableError as error:
                failure, n_failed = error, n_failed + 1
                if n_failed == _FAILURES_A_ROUND or not self._can_read():
                    raise
            else:
                n_failed, self._sent[run.key] = 0, run
        for key, state in projection.views.items():
            self._part("the comparison view", self._keep_view, key, state)
        if failure is not None:
            raise failure

    def _can_read(self) -> bool:
        """Whether the server still answers after a failure; a SQLite file fails as a whole."""
        if self._connection is None or not self.uri.startswith("http"):
            return False
        client, experiment_id = self._connection
        try:
            client.get_experiment(experiment_id)
        except Exception:  # whatever it is
            return False
        return True

    def _read(self, projection: Projection) -> None:
        """Read the runs of a projection and the views, unless they are known."""
        client, experiment_id = self.connect()
        keys = [run.key for run in projection.runs if run.parent is None]
        wanted = [by_tag(KEY_TAG, key) for key in keys if not self._is_read or key not in self._known]
        if projection.group is not None and not self._is_read:
            wanted.append(by_tag(*projection.group))
        if not self._is_read:
            self._known.clear()
            tags = client.get_experiment(experiment_id).tags if projection.views else {}
            self._views = {k.removeprefix(VIEW_TAG): v for k, v in tags.items() if k.startswith(VIEW_TAG)}
        for condition in wanted:
            for run in search_runs(client, experiment_id, condition):
                self._known.setdefault(run.tags.get(KEY_TAG, ""), run)
        self._is_read = True

    def _send_run(self, run: Run) -> None:
        """Send a run part by part; each part may fail alone."""
        known, changed = self._known.get(run.key), False
        if known is None and not run.creates:
            self.missing.add(run.name)
            return
        parts = [self._send_scores, self._send_files]
        if known is None or not run.adds_only:
            parts = [self._send_params, self._send_points, self._send_tags, *parts, self._send_status]
        failure: UnreachableError | None = None
        if known is None:
            if not self._part(f"the run {run.name!r}", self._make, run):
                return
            known, changed = self._known[run.key], True
        for part in parts:
            try:
                changed |= part(run, known)
            except UnreachableError as error:
                failure = error
                if not self._can_read():
                    break
        self.n_changed += changed
        if failure is not None:
            raise failure

    def _make(self, run: Run) -> None:
        client, experiment_id = self.connect()
        tags = {KEY_TAG: run.key, "mlflow.source.name": "themo", **run.first_tags, **self._tags_of(run)}
        made = client.create_run(experiment_id, run.started or now(), tags, run.name)
        self.made.append(run.name)
        self._known[run.key] = KnownRun(made.info.run_id, made.info.status, tags=tags)

    def _tags_of(self, run: Run) -> dict[str, str]:
        if run.parent is None:
            return dict(run.tags)
        parent = self._known.get(run.parent)
        if parent is None:
            raise UnreachableError(f"the server lacks the parent of {run.name!r}")
        return {**run.tags, _PARENT_TAG: parent.run_id}

    def _send_params(self, run: Run, known: KnownRun) -> bool:
        from mlflow.entities import Param

        missing = {name: value for name, value in run.params.items() if name not in known.params}
        entries = [Param(name, str(value)[:_PARAM_LENGTH]) for name, value in missing.items()]
        for batch in entry_batches(entries):
            self._log(run, "params", known, params=batch)
        known.params |= missing.keys()
        return bool(missing)

    def _send_points(self, run: Run, known: KnownRun) -> bool:
        new = [point for point in run.points if point.step > known.step]
        for batch in batches(new):
            if not self._log_points(run, known, batch) and len(batch) > 1:
                for point in batch:  # only those that are rejected are lost
                    self._log_points(run, known, [point])
            known.step = batch[-1].step
        return bool(new)

    def _log_points(self, run: Run, known: KnownRun, points: Sequence[Point]) -> bool:
        from mlflow.entities import Metric, RunTag

        entries = [
            Metric(name, value, point.at, point.step)
            for point in points
            for name, value in loggable(point.metrics).items()
        ]
        step = [RunTag(STEP_TAG, str(points[-1].step))]
        what = "" if len(points) > 1 else f"metrics at step {points[0].step:,}"
        return not entries or self._log(run, what, known, metrics=entries, tags=step)

    def _send_scores(self, run: Run, known: KnownRun) -> bool:
        from mlflow.entities import Metric

        scores = loggable(run.scores)
        new = {name: value for name, value in scores.items() if known.metrics.get(name) != value}
        if new:
            entries = [Metric(name, value, now(), 0) for name, value in new.items()]
            self._log(run, "scores", known, metrics=entries)
        known.metrics |= new
        return bool(new)

    def _send_tags(self, run: Run, known: KnownRun) -> bool:
        from mlflow.entities import RunTag

        client, _ = self.connect()
        wanted = self._tags_of(run)
        new = {name: value for name, value in wanted.items() if known.tags.get(name) != value}
        old = [name for name in known.tags if name.startswith(run.owned or ("\n",)) and name not in wanted]
        for name in old:
            self._part(f"tags of {run.name!r}", client.delete_tag, known.run_id, name)
            del known.tags[name]
        for batch in entry_batches(list(new.items())):
            self._log(run, "tags", known, tags=[RunTag(name, value) for name, value in batch])
        known.tags |= new
        return bool(new or old)

    def _send_files(self, run: Run, known: KnownRun) -> bool:
        from mlflow.entities import RunTag

        client, _ = self.connect()
        digests = {name: _digest(content) for name, content in run.files.items()}
        new = [name for name, digest in digests.items() if known.files.get(name) != digest]
        for name in new:
            self._part(f"{name} of {run.name!r}", client.log_text, known.run_id, run.files[name], name)
            known.files[name] = digests[name]
        if new:
            self._log(run, "tags", known, tags=[RunTag(FILES_TAG, json.dumps(known.files))])
        return bool(new)

    def _send_status(self, run: Run, known: KnownRun) -> bool:
        client, _ = self.connect()
        wanted = run.status or ("FINISHED" if known.status == "RUNNING" else known.status)
        if known.status == wanted:
            return False
        what = f"the status of {run.name!r}"
        if wanted == "RUNNING":
            self._part(what, client.update_run, known.run_id, wanted)
        else:
            self._part(what, client.set_terminated, known.run_id, wanted, run.ended or now())
        known.status = wanted
        return True

    def _keep_view(self, key: str, state: Mapping[str, Any]) -> None:
        client, experiment_id = self.connect()
        text = json.dumps(state, separators=(",", ":"), ensure_ascii=False)
        if self._views.get(key) != text:
            client.set_experiment_tag(experiment_id, f"{VIEW_TAG}{key}", text)
            self._views[key] = text

    def _log(self, run: Run, what: str, known: KnownRun, **entries: Sequence[Any]) -> bool:
        client, _ = self.connect()
        said = f"{what} of {run.name!r}" if what else ""
        return self._part(said, client.log_batch, known.run_id, **entries)

    def _ask(self, call: Callable[..., object], *arguments: Any, **options: Any) -> None:
        if self.is_stopped:
            raise UnreachableError("nothing more is sent")
        ask(self.uri, lambda: call(*arguments, **options))

    def _part(self, what: str, send: Callable[..., object], *arguments: Any, **options: Any) -> bool:
        """Send a part; return whether the server accepted it. Report the rejection of a part with a name.

        Raises:
            UnreachableError: The server is unreachable or fails.
        """
        try:
            self._ask(send, *arguments, **options)
        except RejectedError as error:
            if what:
                self.n_rejected += 1
                self._reject(f"rejected {what}; dropped: {error}")
            return False
        return True


def now() -> int:
    """Milliseconds since the epoch."""
    return int(time.time() * 1000)


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:16]
