"""A trial in the record of its search: what was proposed, what it reported, where it stands.

Nothing here acts: `tune.study.study` enters what happens, `tune.worker.trial` trains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from tune.space.dimensions import Scalar

State = Literal["RUNNING", "PAUSED", "COMPLETE", "PRUNED", "FAIL"]
"""RUNNING: proposed and not ended, at work or not. PAUSED: waits at a checkpoint, and may go on.
PRUNED: stopped early. FAIL: diverged, or an error."""

Mode = Literal["max", "min"]

DIVERGED = "diverged: "
"""How the reason of a trial begins whose loss or score was no finite number."""


def loss_of(value: float, mode: Mode) -> float:
    """A value of the objective as one to be small: negative where the objective is to be great."""
    return -value if mode == "max" else value


@dataclass(frozen=True)
class Takeover:
    """Where a trial went on as another one (`tune.schedulers.population`).

    Attributes:
        pairs: Sentence pairs at the end of the round.
        value: Its objective there.
        params: Its settings until there.
        donor: The trial whose settings, changed, and checkpoint it took over.
        checkpoint: Its own, which it left; removed when its next one stands.
    """

    pairs: int
    value: float
    params: dict[str, Scalar]
    donor: int
    checkpoint: str | None = None


@dataclass(frozen=True)
class Stint:
    """A worker's time with a trial, from when it took the trial up to its last report.

    Attributes:
        started, ended: Unix time, of the worker.
        machine: Its name; empty where that is not known.
        session: Of the search, counted from 1; 0 where that is not known.
    """

    started: float
    ended: float
    machine: str = ""
    session: int = 0


@dataclass
class Trial:
    """One trial.

    Attributes:
        number: From 0, in the order of proposal.
        params: The searched settings by leaf name.
        state: Where it stands.
        verdict: The state that it will have once its last checkpoint stands; empty while it goes on. RUNNING:
            it starts again, with other resources.
        reason: Why it was stopped or failed, in a line.
        values: The objective by sentence pairs seen, finite ones only.
        metrics: All metrics of the last report.
        seconds: Time spent in training, lost work left out.
        started, ended: Unix time, of the worker, at the start of training and at the last report; the time
            in which it waited, or nobody searched, lies between them too.
        stints: When it was at work.
        machine: Name of the machine that it ran on last; empty where that is not known.
        gpus: GPUs that it gets, more than others where its memory did not suffice; None: never begun.
        least_gpus: What it gets at least, since with less its memory did not suffice.
        gpu_memory: What it took of a GPU's memory at its peak while it had a whole one, as a share of all;
            None: that is not known.
        checkpoint: Path of the newest version directory, relative to the search's storage; that of a failed
            trial is removed when the search is resumed.
        checkpoint_pairs, checkpoint_seconds: Sentence pairs and time at the checkpoint.
        checkpoint_metrics: All metrics at the checkpoint of a trial that is at work; empty where these are
            `metrics`, and in older records.
        lineage: Where it went on as another one; `params` are the last ones, `values` those of its line.
    """

    number: int
    params: dict[str, Scalar]
    state: State = "RUNNING"
    verdict: State | Literal[""] = ""
    reason: str = ""
    values: dict[int, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    started: float | None = None
    ended: float | None = None
    stints: list[Stint] = field(default_factory=list)
    machine: str = ""
    gpus: float | None = None
    least_gpus: float = 0.0
    gpu_memory: float | None = None
    checkpoint: str | None = None
    checkpoint_pairs: int = 0
    checkpoint_seconds: float = 0.0
    checkpoint_metrics: dict[str, float] = field(default_factory=dict)
    lineage: list[Takeover] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in ("RUNNING", "PAUSED")

    def stand(self, at_rest: bool) -> str:
        """Its state in a word for people; at rest, without a driver, a trial under way is interrupted."""
        return "interrupted" if at_rest and self.state == "RUNNING" else self.state.lower()

    @property
    def is_scored(self) -> bool:
        """Whether its score counts: it has one, and did not fail."""
        return bool(self.values) and self.state != "FAIL"

    @property
    def pairs_seen(self) -> int:
        """Sentence pairs at its last report."""
        return int(self.metrics.get("pairs_seen", 0))

    def best(self, mode: Mode, up_to: float = math.inf) -> float | None:
        """Best objective of the reports up to `up_to` pairs, or of all: that of the student that it keeps."""
        pick = max if mode == "max" else min
        if up_to == math.inf:
            return pick(self.values.values(), default=None)
        return pick((value for pairs, value in self.values.items() if pairs <= up_to), default=None)

    def saved(self, mode: Mode) -> float | None:
        """Objective of the student in its checkpoint, the best one until there; None without a checkpoint.

        A trial ends at its checkpoint. One that is at work may have reported a better student since, which is
        lost when it is interrupted.
        """
        if self.checkpoint is None:
            return None
        return self.best(mode, up_to=math.inf if self.is_done else self.checkpoint_pairs)

    def best_pairs(self, mode: Mode) -> int:
        """Sentence pairs at the best report, the first of equals; of a trial that has one."""
        best = self.best(mode)
        return min(pairs for pairs, value in self.values.items() if value == best)

    @property
    def lineage_in_words(self) -> str:
        """Where it went on as another one, in a few words."""
        return ", ".join(f"as trial {step.donor} from {step.pairs:,} pairs" for step in self.lineage)

    def enter_stint(self, started: float, ended: float, machine: str = "", session: int = 0) -> None:
        """Enter a worker's stint, or that its last one goes on."""
        stint = Stint(started, ended, machine, session)
        if self.stints and (self.stints[-1].started, self.stints[-1].session) == (started, session):
            self.stints.pop()
        self.stints.append(stint)
        self.started = started if self.started is None else self.started
        self.ended, self.machine = ended, machine

    def enter_checkpoint(self, path: str) -> None:
        """Enter that a checkpoint of the last report stands, at a path relative to the search's storage."""
        self.checkpoint = path
        self.checkpoint_pairs, self.checkpoint_seconds = self.pairs_seen, self.seconds
        self.checkpoint_metrics = dict(self.metrics)

    def end(self, state: State, reason: str = "") -> None:
        """Enter that it ended or waits; without a single report it has failed."""
        if state != "FAIL" and not self.values:
            state, reason = "FAIL", "it ended without a single report"
        self.state, self.verdict, self.reason = state, "", reason or self.reason
        self.checkpoint_metrics = {}

    def rewind(self) -> None:
        """Forget what came after the checkpoint: a resumed trial does it again."""
        self.verdict = ""
        if self.checkpoint_metrics:
            self.metrics = dict(self.checkpoint_metrics)
        elif self.metrics:
            self.metrics["pairs_seen"] = self.checkpoint_pairs
        self.values = {pairs: v for pairs, v in self.values.items() if pairs <= self.checkpoint_pairs}
        self.seconds = self.checkpoint_seconds


def read_trial(entry: dict[str, Any]) -> Trial:
    """A trial from its entry in a record, also one of an older version.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It is none.
    """
    entry = dict(entry)
    entry["values"] = {int(pairs): float(value) for pairs, value in entry["values"].items()}
    for metrics in ("metrics", "checkpoint_metrics"):
        entry[metrics] = {str(name): float(value) for name, value in entry.get(metrics, {}).items()}
    entry["lineage"] = [Takeover(**step) for step in entry.get("lineage", [])]
    stints = entry.pop("stints", None)
    trial = Trial(**entry)
    if stints is not None:
        trial.stints = [Stint(**stint) for stint in stints]
    elif trial.started is not None and trial.ended is not None:  # an older record
        trial.stints = [Stint(trial.started, trial.ended, trial.machine)]
    if trial.state not in get_args(State) or not isinstance(trial.params, dict):
        raise ValueError(f"trial {trial.number} has state {trial.state!r} and params {trial.params!r}")
    return trial
