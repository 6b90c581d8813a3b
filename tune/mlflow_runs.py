"""A search in MLflow: one parent run, and one child run a trial.

A run is found again by its tags (the search's id, and the trial's number), not by an id kept elsewhere: so a
search that is killed at any moment and resumed still has one parent and one child a trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune import Callback

from themo.tracking import OldRun, RunLog, Status, Tracking, comparison_params
from tune import trial as worker
from tune.results import line_of
from tune.study import State, Study, Trial

SEARCH_TAG = "themo.search"
TRIAL_TAG = "themo.trial"

_STATUS: dict[State, Status] = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


class MlflowRuns(Callback):  # type: ignore[misc]  # Ray has no types
    """Logs what Ray reports. Nothing here waits for the server, except `resume` for what is there already.

    Args:
        tracking: The connection.
        study: The record.
        name: Of the search.
        uid: The search's own id, which no other search has.
        settings: All settings of the search, kept as an artefact.
        objective: Name of the metric that is searched on.
        is_resumed: Whether there may be runs of this search already.
    """

    def __init__(
        self,
        tracking: Tracking,
        study: Study,
        name: str,
        uid: str,
        settings: Mapping[str, Any],
        objective: str,
        is_resumed: bool = False,
    ) -> None:
        self._tracking = tracking
        self._study = study
        self._uid = uid
        self._objective = objective
        found = tracking.find(SEARCH_TAG, uid) if is_resumed else []
        old = {run.tags.get(TRIAL_TAG, ""): run for run in found}
        parent = old.pop("", None)
        self.parent = tracking.start(
            name,
            {"objective": objective, "search": name},
            artifact=settings,
            tags={SEARCH_TAG: uid},
            run_id=parent.run_id if parent else None,
        )
        self._runs: dict[int, RunLog] = {}
        self._open: set[int] = set()
        self._sent: dict[int, int] = {}
        for trial in study:
            run = old.get(str(trial.number))
            if trial.is_done:
                self._complete(trial, run)
            elif run is not None:
                self._begin(trial, run)

    def on_trial_start(self, *, trial: Any, **_: object) -> None:
        """Begin the child run; a trial taken up again keeps its run."""
        record = self._study[trial.config["number"]]
        if record.number not in self._runs:
            self._begin(record)

    def on_trial_result(self, *, result: dict[str, Any], **_: object) -> None:
        """Log a report."""
        report = worker.read_report(result)
        pairs = int(report.metrics.get("pairs_seen", 0))
        # a trial that was resumed from a checkpoint reports again what came after it
        if pairs > self._sent.get(report.number, 0):
            self._sent[report.number] = pairs
            self._runs[report.number].report(report.metrics, step=pairs)

    def on_trial_complete(self, *, trial: Any, **_: object) -> None:
        """End the child run as its trial ended; that of a paused one stays open."""
        record = self._study[trial.config["number"]]
        if record.is_done:
            self._end(record)

    def on_trial_error(self, *, trial: Any, **_: object) -> None:
        """End the child run of a trial whose worker died for good."""
        self._end(self._study[trial.config["number"]])

    def close(self, status: Status) -> None:
        """End the parent run; where the search was interrupted, the runs of trials under way as well."""
        for number in sorted(self._open):
            self._runs[number].finish("KILLED")
        self._open.clear()
        self.parent.finish(status)

    def _begin(self, trial: Trial, old: OldRun | None = None) -> None:
        run = self._tracking.start(
            f"trial {trial.number}",
            comparison_params(trial.params),
            artifact=None,
            tags={SEARCH_TAG: self._uid, TRIAL_TAG: str(trial.number)},
            parent=self.parent,
            run_id=old.run_id if old else None,
        )
        self._runs[trial.number] = run
        self._open.add(trial.number)
        if old:
            self._sent[trial.number] = int(old.metrics.get("pairs_seen", 0))

    def _end(self, trial: Trial) -> None:
        run = self._runs.get(trial.number)
        if run is None:  # it ended before a worker took it up
            self._begin(trial)
            run = self._runs[trial.number]
        if trial.reason:
            run.tag({"themo.reason": trial.reason})
        if trial.lineage:
            run.tag({"themo.lineage": line_of(trial)})
        run.finish(_STATUS[trial.state])
        self._open.discard(trial.number)
        done = sum(other.is_done for other in self._study)
        best = [value for other in self._study if (value := other.best(self._study.mode)) is not None]
        if best:
            pick = max if self._study.mode == "max" else min
            self.parent.report({f"best/{self._objective}": pick(best), "trials": done}, step=done)

    def _complete(self, trial: Trial, old: OldRun | None) -> None:
        """Bring the run of a trial that ended before to its end, if a kill kept it from it."""
        if old is None:
            self._begin(trial)
            if trial.metrics:
                self._runs[trial.number].report(trial.metrics, step=trial.pairs_seen)
            self._end(trial)
        else:
            run = self._tracking.attach(old.run_id)
            self._runs[trial.number] = run
            run.finish(_STATUS[trial.state])
