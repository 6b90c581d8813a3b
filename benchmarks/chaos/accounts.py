"""Checks the results of a search after faults; each violation is one line."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.chaos.formula import METRIC, PAIRS_A_REPORT, RUNGS, VERSION_BYTES, name_of
from themo.tracking.names import metric_name
from tune.study.study import Study
from tune.study.trial_record import Trial

_STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


@dataclass
class Attempt:
    """One attempt of a worker at a trial, counted in reports.

    Attributes:
        since: Unix time of the start.
        start: Number of reports in the checkpoint at the start.
        begun: Reports that the attempt started, with their times.
    """

    since: float
    start: int
    begun: dict[int, float] = field(default_factory=dict)

    @property
    def reached(self) -> int:
        """The last report that the attempt started."""
        return max(self.begun, default=self.start)


@dataclass(frozen=True)
class Kill:
    """A kill of a worker, a node or a driver.

    Attributes:
        since: Unix time of the kill.
        until: Unix time until which the kill may end attempts that started after it: the workers of a dead
            driver continue for a moment.
    """

    since: float
    until: float


def read_attempts(log: Path) -> dict[str, list[Attempt]]:
    """The attempts at each trial in order, by the trial's name in the log."""
    found: dict[str, dict[str, Attempt]] = defaultdict(dict)
    for line in log.read_text(encoding="utf-8").splitlines():
        note = json.loads(line)
        if note["what"] == "taken up":
            found[note["trial"]][note["attempt"]] = Attempt(note["at"], note["step"])
        else:
            found[note["trial"]][note["attempt"]].begun[note["step"]] = note["at"]
    return {name: sorted(of.values(), key=lambda one: one.since) for name, of in found.items()}


def reports_lost(attempts: Mapping[str, Sequence[Attempt]]) -> int:
    """Number of reports that were started more than once."""
    pairs = [pair for of in attempts.values() for pair in pairwise(of)]
    return sum(max(0, before.reached - after.start) for before, after in pairs)


def wrong_in_study(study: Study, num_samples: int, trials_folder: Path) -> Iterator[str]:
    """Violations in the study: missing or unfinished trials, or versions that are not of the last report."""
    if len(study) != num_samples:
        yield f"the study has {len(study)} trials instead of {num_samples}"
    if len({name_of(trial.params) for trial in study}) != len(study):
        yield "two trials have the same settings"
    for trial in study:
        if not trial.is_done:
            yield f"trial {trial.number} is {trial.state}"
        expected = [PAIRS_A_REPORT * n for n in range(1, len(trial.values) + 1)]
        if list(trial.values) != expected:
            yield f"trial {trial.number} has values at {list(trial.values)}"
        if trial.state in ("COMPLETE", "PRUNED"):
            yield from _wrong_in_version(trial, trials_folder)


def _wrong_in_version(trial: Trial, trials_folder: Path) -> Iterator[str]:
    try:
        folder = trials_folder / str(trial.checkpoint)
        kept = json.loads((folder / "progress.json").read_text())["pairs_seen"]
        size = (folder / "state.safetensors").stat().st_size
    except (OSError, ValueError) as error:
        yield f"trial {trial.number}: its version cannot be read: {error}"
        return
    if kept != trial.pairs_seen or trial.checkpoint_pairs != trial.pairs_seen:
        yield f"trial {trial.number} ended at {trial.pairs_seen} pairs, but its version is of {kept}"
    if size != VERSION_BYTES:
        yield f"trial {trial.number}: its version has {size} bytes instead of {VERSION_BYTES}"


def wrong_in_work(
    study: Study, attempts: Mapping[str, Sequence[Attempt]], kills: Sequence[Kill]
) -> Iterator[str]:
    """Violations in the work log: training after the end, repeats without a kill, losses of more than a rung.

    Args:
        study: The finished record.
        attempts: From `read_attempts`.
        kills: Of workers, nodes and drivers.
    """
    for trial in study:
        of = attempts.get(name_of(trial.params), [])
        if not of:
            yield f"trial {trial.number} is {trial.state} without an attempt of a worker"
        for attempt in of:
            if trial.ended is not None and max(attempt.begun.values(), default=0.0) > trial.ended:
                yield f"trial {trial.number} was trained after its end"
        for before, after in pairwise(of):
            if not any(before.since <= kill.until and kill.since <= after.since for kill in kills):
                yield f"trial {trial.number} was started twice without a kill"
            if any(after.start < rung < before.reached for rung in RUNGS):
                yield (
                    f"trial {trial.number} lost more than a rung: report {before.reached} was started, "
                    f"it resumed after {after.start}"
                )
    names = {name_of(trial.params) for trial in study}
    for name in attempts.keys() - names:
        yield f"the study lacks a trial that was trained: {name}"


class Ends:
    """The ends of trials in a record, compared repeatedly while a search runs.

    Attributes:
        violations: Ends that a later record changed: such a trial ended twice.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._told: dict[int, tuple[object, ...]] = {}

    def look(self, study: Study) -> None:
        """Compare the record on disk with earlier ones."""
        for number, end in self._told.items():
            trial = study.trials[number] if number < len(study) else None
            now = _end(trial) if trial is not None and trial.is_done else None
            if now != end:
                self.violations.append(f"trial {number} ended as {end}, later it was {now or 'running'}")
        self._told = {trial.number: _end(trial) for trial in study if trial.is_done}


def _end(trial: Trial) -> tuple[object, ...]:
    return trial.state, trial.reason, dict(trial.values), trial.ended, len(trial.stints)


def wrong_in_mlflow(study: Study, uri: str, experiment: str, uid: str) -> Iterator[str]:
    """Violations in MLflow: missing, duplicate or open runs, and metrics that differ from the study."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    known = client.get_experiment_by_name(experiment)
    runs = client.search_runs([known.experiment_id], f"tags.`themo.search` = '{uid}'", max_results=1000)
    parents = [run for run in runs if "themo.trial" not in run.data.tags]
    children: dict[int, list[Any]] = defaultdict(list)
    for run in runs:
        if "themo.trial" in run.data.tags:
            children[int(run.data.tags["themo.trial"])].append(run)
    if len(parents) != 1:
        yield f"MLflow has {len(parents)} parents"
    for parent in parents:
        if parent.info.status != "FINISHED" or set(parent.data.params) != {"objective", "search"}:
            yield f"MLflow's parent is {parent.info.status} with {sorted(parent.data.params)}"
    for trial in study:
        of = children.pop(trial.number, [])
        if len(of) != 1:
            yield f"MLflow has {len(of)} runs of trial {trial.number}"
        for run in of:
            yield from _wrong_in_run(client, run, trial, parents)
    if children:
        yield f"MLflow has runs of trials {sorted(children)} that the study does not have"


def _wrong_in_run(client: Any, run: Any, trial: Trial, parents: Sequence[Any]) -> Iterator[str]:
    said = f"MLflow's run of trial {trial.number}"
    if run.info.status != _STATUS.get(trial.state):
        yield f"{said} is {run.info.status}, the trial {trial.state}"
    if run.data.tags.get("mlflow.parentRunId") not in [parent.info.run_id for parent in parents]:
        yield f"{said} has another parent"
    if set(run.data.params) != {*trial.params, "log10_learn_rate"}:
        yield f"{said} has the params {sorted(run.data.params)}"
    if run.data.tags.get("themo.reason", "") != trial.reason:
        yield f"{said} has the reason {run.data.tags.get('themo.reason')!r} instead of {trial.reason!r}"
    history = client.get_metric_history(run.info.run_id, metric_name(METRIC)) if trial.values else []
    history.sort(key=lambda entry: entry.timestamp)
    if [(entry.step, entry.value) for entry in history] != list(trial.values.items()):
        yield f"{said} has the metrics {[(e.step, e.value) for e in history]}, the trial {trial.values}"


def facts(study: Study) -> list[tuple[object, ...]]:
    """The facts of a study that must not depend on faults."""
    return [
        # a checkpoint's folder names the session that wrote it
        (t.params, t.state, t.reason, t.values, [replace(step, checkpoint=None) for step in t.lineage])
        for t in study
    ]


def wrong_in_comparison(study: Study, undisturbed: Study) -> Iterator[str]:
    """The first difference between a study and the undisturbed one, bit by bit."""
    for number, (ours, theirs) in enumerate(zip(facts(study), facts(undisturbed), strict=False)):
        if ours != theirs:
            yield f"trial {number} is {ours}, undisturbed {theirs}"
            break  # later differences may follow from this one
    winner, other = (best.number if best else None for best in (study.winner(), undisturbed.winner()))
    if winner != other:
        yield f"the winner is trial {winner}, undisturbed trial {other}"


def score(study: Study) -> float:
    """The winner's objective."""
    winner = study.winner()
    return winner.best(study.mode) or 0.0 if winner else 0.0
