"""A search in MLflow: one parent run, and one child run a trial or a run that confirms the winner.

A run is known by the search's id and the trial's number, not by an id kept elsewhere: so a search that is
killed at any moment and resumed still has one parent and one child a trial.
Nothing here waits for a server.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ray.tune import Callback

from themo.tracking.comparison import parallel_coordinates
from themo.tracking.names import LOG10_RATE, comparison_params
from themo.tracking.run_log import RunLog, Status
from themo.tracking.runs import Tracking
from tune.confirmation.verdict import verdict
from tune.results.run_tags import confirmation_tags, run_key
from tune.study.confirmation import SEED
from tune.study.study import Study
from tune.study.trial_record import State, Trial
from tune.worker.trial_report import read_report

SEARCH_TAG = "themo.search"
TRIAL_TAG = "themo.trial"
CONFIRMS_TAG = "themo.confirms"
"""Of a run that confirms the winner: the number of the trial whose settings it repeats."""

_VIEW_TRIALS = 50
"""The view of a running search is renewed after so many trials: settings differ that were equal before."""

_STATUS: dict[State, Status] = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


class MlflowRuns(Callback):  # type: ignore[misc]  # Ray has no types
    """Logs what Ray reports.

    Args:
        tracking: The connection.
        study: The record.
        name: Of the search.
        uid: The search's own id, which no other search has.
        settings: All settings of the search, kept as an artefact.
        searched: Names of the searched settings that every trial has.
        objective: Name of the metric that is searched on.
        confirms: Whether the children are the runs that confirm the winner, instead of the trials.
    """

    def __init__(
        self,
        tracking: Tracking,
        study: Study,
        name: str,
        uid: str,
        settings: Mapping[str, Any],
        searched: Collection[str],
        objective: str,
        *,
        confirms: bool = False,
    ) -> None:
        self._tracking = tracking
        self._search = study
        self._confirms = confirms
        self._study = study.runs if confirms else study
        self._name = name
        self._uid = uid
        self._searched = searched
        self._objective = objective
        self.parent = tracking.start(
            name,
            {"objective": objective, "search": name},
            artifact=settings,
            tags={SEARCH_TAG: uid},
            key=uid,
        )
        self._runs: dict[int, RunLog] = {}
        self._open: set[int] = set()
        self._settled = {trial.number for trial in self._study if trial.is_done}
        for number in self._settled:
            self._settle(self._study[number])
        self._keep_view()

    def on_trial_start(self, *, trial: Any, **_: object) -> None:
        """Begin the child run; a trial taken up again keeps its run."""
        record = self._study[trial.config["number"]]
        if record.number not in self._runs:
            self._begin(record)

    def on_trial_result(self, *, result: dict[str, Any], **_: object) -> None:
        """Log a report."""
        report = read_report(result)
        pairs = int(report.metrics.get("pairs_seen", 0))
        self._runs[report.number].report(report.metrics, step=pairs)

    def on_trial_complete(self, *, trial: Any, **_: object) -> None:
        """End the child run as its trial ended; that of a paused one stays open."""
        record = self._study[trial.config["number"]]
        if record.is_done:
            self._end(record)

    def on_trial_error(self, *, trial: Any, **_: object) -> None:
        """End the child run of a trial whose worker died once too often."""
        self.on_trial_complete(trial=trial)

    def close(self, status: Status) -> None:
        """End the parent run, and the runs of trials that wait, were stopped waiting, or were interrupted."""
        for trial in self._study:
            if trial.number in self._open:
                if trial.is_done:
                    self._end(trial)
                else:
                    self._runs[trial.number].finish("KILLED")
            elif trial.number not in self._runs.keys() | self._settled and trial.values:
                self._settle(trial)  # it waited all through this session
        self._open.clear()
        self._report_best()  # a kill, or no worker, kept the end of some trial from it
        if self._confirms and (tags := confirmation_tags(verdict(self._search))):
            self.parent.tag(tags)
        self._keep_view()
        self.parent.finish(status)

    def _begin(self, trial: Trial) -> None:
        self._runs[trial.number] = self._tracking.start(
            self._child_name(trial),
            comparison_params(trial.params),
            tags=self._tags(trial),
            parent=self.parent,
            key=self._key(trial),
        )
        self._open.add(trial.number)

    def _end(self, trial: Trial) -> None:
        run = self._runs.get(trial.number)
        if run is None:  # it ended before a worker took it up
            self._begin(trial)
            run = self._runs[trial.number]
        if why := _why(trial):
            run.tag(why)
        run.finish(_STATUS[trial.state])
        self._open.discard(trial.number)
        self._report_best()
        if self._search.n_done % _VIEW_TRIALS == 0:
            self._keep_view()

    def _report_best(self) -> None:
        done = self._search.n_done
        leader = self._search.leader()
        if leader is not None and (best := leader.best(self._search.mode)) is not None:
            self.parent.report({f"best/{self._objective}": best, "trials": done}, step=done)

    def _keep_view(self) -> None:
        """Keep the view that compares the trials on the settings in which they differ."""
        where = f"tags.`{SEARCH_TAG}` = '{self._uid}' AND tags.`{TRIAL_TAG}` LIKE '%'"
        axes = axes_of([trial.params for trial in self._search if trial.values], self._searched)
        self.parent.view(parallel_coordinates(where, axes, f"best/{self._objective}", len(self._search)))

    def _settle(self, trial: Trial) -> None:
        """Bring the run of a trial that ended before to its end, if a kill kept it from it."""
        self._tracking.settle(
            self._child_name(trial),
            comparison_params(trial.params),
            key=self._key(trial),
            tags=self._tags(trial) | _why(trial),
            parent=self.parent,
            metrics=trial.metrics,
            step=trial.pairs_seen,
            status=_STATUS.get(trial.state, "KILLED"),
        )

    def _child_name(self, trial: Trial) -> str:
        if trial.confirms is not None:
            return f"trial {trial.confirms} with seed {trial.params[SEED]} of {self._name}"
        return f"trial {trial.number} of {self._name}"  # long names are cut at their end

    def _key(self, trial: Trial) -> str:
        if trial.confirms is not None:  # its number may change where the search grows
            return f"{self._uid}/confirms-{trial.confirms}-seed-{trial.params[SEED]}"
        return run_key(self._uid, trial)

    def _tags(self, trial: Trial) -> dict[str, str]:
        if trial.confirms is not None:
            return {SEARCH_TAG: self._uid, CONFIRMS_TAG: str(trial.confirms)}
        return {SEARCH_TAG: self._uid, TRIAL_TAG: str(trial.number)}


def axes_of(settings: Sequence[Mapping[str, Any]], searched: Collection[str]) -> list[str]:
    """The params on which trials are compared: those that all have and that differ; before a trial, all.

    Args:
        settings: Settings of each trial with a report.
        searched: Names of the searched settings.
    """
    axes = [
        name
        for name in searched
        if all(name in params for params in settings)
        and (len(settings) < 2 or len({params[name] for params in settings}) > 1)
    ]
    return [LOG10_RATE if name == "learn_rate" else name for name in axes]


def _why(trial: Trial) -> dict[str, str]:
    """Tags of how it came to its end."""
    reason = {"themo.reason": trial.reason} if trial.reason else {}
    reason |= {"themo.why": trial.why} if trial.why else {}
    return reason | ({"themo.lineage": trial.lineage_in_words} if trial.lineage else {})
