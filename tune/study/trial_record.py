"""A trial in the record of its search: its settings, reports and state.

Data only: `tune.study.study` records events, `tune.worker.trial` trains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, FiniteFloat, TypeAdapter, ValidationError

from tune.space.dimensions import Scalar

State = Literal["RUNNING", "PAUSED", "COMPLETE", "PRUNED", "FAIL"]
"""RUNNING: proposed and not ended, with or without a worker. PAUSED: at a checkpoint, may be resumed.
PRUNED: stopped early. FAIL: diverged, or an error."""

Mode = Literal["max", "min"]

TRAINING_SECONDS = "training_seconds"
"""The metric with the seconds of a trial's own training so far (`themo.training.loop.Report`)."""

COST = "cost/"
"""Begins the metric with a student's cost, such as ``cost/mb`` (`tune.study.front`)."""

DIVERGED = "diverged: "
"""Prefix of a trial's reason if its loss or score was not finite."""


_NO_OTHERS = ConfigDict(extra="forbid")
"""An entry with other keys is refused (`read_trial`)."""


def loss_of(value: float, mode: Mode) -> float:
    """A value of the objective as a loss: negated if the objective is maximized."""
    return -value if mode == "max" else value


@dataclass(frozen=True)
class Takeover:
    """A takeover: a trial continued from another one's checkpoint (`tune.schedulers.population`).

    Attributes:
        pairs: Sentence pairs at the end of the round.
        value: The trial's objective at that point.
        params: The trial's settings before.
        donor: Number of the trial whose checkpoint and (changed) settings it took over.
        checkpoint: The trial's own checkpoint from before; removed when its next one is complete.
    """

    __pydantic_config__: ClassVar = _NO_OTHERS
    pairs: int
    value: float
    params: dict[str, Scalar]
    donor: int
    checkpoint: str | None = None


@dataclass(frozen=True)
class Attempt:
    """One attempt of a worker at a trial, from its start to its last report.

    Attributes:
        started, ended: Unix time on the worker.
        machine: Name of the machine; empty if unknown.
        session: Session of the search, counted from 1; 0 if unknown.
    """

    __pydantic_config__: ClassVar = _NO_OTHERS
    started: float
    ended: float
    machine: str = ""
    session: int = 0


@dataclass
class Trial:
    """One trial.

    Attributes:
        number: Counted from 0, in the order of proposal.
        params: The searched settings by leaf name.
        state: The state of the trial.
        verdict: The decided state, which takes effect when the last checkpoint is complete; empty if none.
            RUNNING: the trial is retried with other resources.
        reason: One line about why the trial was stopped or failed.
        why: One line with rank and threshold of the decision that paused or stopped the trial
            (`tune.schedulers.explanation`); empty otherwise, and in older records.
        values: Finite values of the objective by sentence pairs seen.
        seconds_at: Seconds of training at each report, by sentence pairs seen; empty in older records.
        metrics: All metrics of the last report.
        seconds: Training time, without lost work.
        started, ended: Unix time on the worker, at the start of training and at the last report; pauses and
            the time between sessions are included.
        stints: Attempts at the trial, in order.
        machine: Name of the trial's last machine; empty if unknown.
        gpus: Number of GPUs, or fraction of a GPU, larger after a lack of memory; None: never started.
        least_gpus: Minimum of `gpus` after a lack of memory.
        gpu_memory: Peak GPU memory of the trial while it had a whole GPU, as a share of all; None: unknown.
        checkpoint: Path of the newest version directory, relative to the search's storage; that of a failed
            trial is removed when the search is resumed.
        checkpoint_pairs, checkpoint_seconds: Sentence pairs and training time at the checkpoint.
        checkpoint_metrics: All metrics at the checkpoint of a running trial; empty if equal to `metrics`, and
            in older records.
        lineage: Takeovers in order. `params` are the settings after the last one; `values` include those of
            the trials taken over.
        confirms: Number of the trial whose settings this run repeats with another seed
            (`tune.study.confirmation`); None: a trial of the search.
    """

    __pydantic_config__: ClassVar = _NO_OTHERS
    number: int
    params: dict[str, Scalar]
    state: State = "RUNNING"
    verdict: State | Literal[""] = ""
    reason: str = ""
    why: str = ""
    values: dict[int, FiniteFloat] = field(default_factory=dict)
    seconds_at: dict[int, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    started: float | None = None
    ended: float | None = None
    stints: list[Attempt] = field(default_factory=list)
    machine: str = ""
    gpus: float | None = None
    least_gpus: float = 0.0
    gpu_memory: float | None = None
    checkpoint: str | None = None
    checkpoint_pairs: int = 0
    checkpoint_seconds: float = 0.0
    checkpoint_metrics: dict[str, float] = field(default_factory=dict)
    lineage: list[Takeover] = field(default_factory=list)
    confirms: int | None = None

    @property
    def is_done(self) -> bool:
        """Whether the trial has ended."""
        return self.state not in ("RUNNING", "PAUSED")

    def state_name(self, at_rest: bool) -> str:
        """The state as a word for people; without a driver (`at_rest`) a running trial is interrupted."""
        return "interrupted" if at_rest and self.state == "RUNNING" else self.state.lower()

    @property
    def cut(self) -> str:
        """How the trial ended before its own end, such as "stopped at 8,000 pairs"; empty if it did not."""
        if self.state == "COMPLETE":
            return self.reason  # its seconds ended; a last epoch, or training.patience, gives no reason
        is_named = self.state != "RUNNING" and self.reason  # a running trial's is its last lost worker
        return self.reason if is_named else f"{self.state_name(at_rest=True)} at {self.pairs_seen:,} pairs"

    @property
    def is_scored(self) -> bool:
        """Whether the trial has a valid score: it reported and did not fail."""
        return bool(self.values) and self.state != "FAIL"

    @property
    def pairs_seen(self) -> int:
        """Sentence pairs at the last report."""
        return int(self.metrics.get("pairs_seen", 0))

    @property
    def is_at_checkpoint(self) -> bool:
        """Whether there is no report after the checkpoint."""
        return self.checkpoint_pairs == self.pairs_seen

    @property
    def training_seconds(self) -> float:
        """Seconds of training at the last report, without validation, checkpoints, pauses and lost work."""
        return self.metrics.get(TRAINING_SECONDS, 0.0)

    @property
    def cost(self) -> float | None:
        """The second objective, equal in all reports; None: one objective, or no report yet."""
        return next((value for name, value in self.metrics.items() if name.startswith(COST)), None)

    def best(self, mode: Mode, up_to: float = math.inf) -> float | None:
        """Best objective of the reports up to `up_to` pairs, which is that of the student kept."""
        pick = max if mode == "max" else min
        if up_to == math.inf:
            return pick(self.values.values(), default=None)
        return pick((value for pairs, value in self.values.items() if pairs <= up_to), default=None)

    def saved(self, mode: Mode) -> float | None:
        """Objective of the student in the checkpoint, the best one so far; None without a checkpoint.

        A trial ends at a checkpoint. A running trial may have reported a better student since, which an
        interruption would lose.
        """
        if self.checkpoint is None:
            return None
        return self.best(mode, up_to=math.inf if self.is_done else self.checkpoint_pairs)

    def best_pairs(self, mode: Mode) -> int:
        """Sentence pairs at the best report, the first one of equals; needs at least one report."""
        best = self.best(mode)
        return min(pairs for pairs, value in self.values.items() if value == best)

    def has_taken_best(self, mode: Mode) -> bool:
        """Whether the best report came with a takeover: the trial's settings did not produce it."""
        return bool(self.lineage) and self.best_pairs(mode) <= self.lineage[-1].pairs

    @property
    def lineage_in_words(self) -> str:
        """The takeovers as text, such as "as trial 3 from 4,096 pairs"."""
        return ", ".join(f"as trial {step.donor} from {step.pairs:,} pairs" for step in self.lineage)

    def enter_attempt(self, started: float, ended: float, machine: str = "", session: int = 0) -> None:
        """Add an attempt of a worker, or extend its last one."""
        attempt = Attempt(started, ended, machine, session)
        if self.stints and (self.stints[-1].started, self.stints[-1].session) == (started, session):
            self.stints.pop()
        self.stints.append(attempt)
        self.started = started if self.started is None else self.started
        self.ended, self.machine = ended, machine

    def enter_report(self, metrics: Mapping[str, float], objective: str) -> float:
        """Record a report; return its objective, which `values` hold only if it is finite."""
        self.metrics = dict(metrics)
        value = metrics.get(objective, math.nan)
        if math.isfinite(value):
            self.values[self.pairs_seen] = value
        if TRAINING_SECONDS in metrics:
            self.seconds_at[self.pairs_seen] = self.training_seconds
        return value

    def enter_checkpoint(self, path: str) -> None:
        """Record the checkpoint of the last report, by its path relative to the search's storage."""
        self.checkpoint = path
        self.checkpoint_pairs, self.checkpoint_seconds = self.pairs_seen, self.seconds
        self.checkpoint_metrics = dict(self.metrics)

    def end(self, state: State, reason: str = "") -> None:
        """Set the state to ended or paused; a trial without a report has failed."""
        if state != "FAIL" and not self.values:
            state, reason = "FAIL", "it ended without a report"
        self.state, self.verdict, self.reason = state, "", reason or self.reason
        self.checkpoint_metrics = {}

    def resume(self) -> None:
        """Set a paused trial to running."""
        self.state, self.reason, self.why = "RUNNING", "", ""
        if self.is_at_checkpoint:
            self.checkpoint_metrics = dict(self.metrics)

    def take_over(self, donor: Trial, params: Mapping[str, Scalar]) -> None:
        """Move a paused trial to the checkpoint of another paused one, with new settings."""
        last = self.values[max(self.values)]
        self.lineage.append(Takeover(self.pairs_seen, last, self.params, donor.number, self.checkpoint))
        self.params, self.least_gpus = dict(params), donor.least_gpus
        self.checkpoint, self.checkpoint_pairs = donor.checkpoint, donor.checkpoint_pairs
        self.values, self.metrics = dict(donor.values), dict(donor.metrics)
        self.seconds_at = dict(donor.seconds_at)
        self.checkpoint_metrics = {}  # equal to `metrics` at a pause

    def rewind(self) -> None:
        """Drop all reports after the checkpoint; a resumed trial repeats them."""
        self.verdict = ""
        if self.checkpoint_metrics:
            self.metrics = dict(self.checkpoint_metrics)
        elif self.checkpoint is None and self.metrics:  # begins again; its student costs the same
            costs = {name: value for name, value in self.metrics.items() if name.startswith(COST)}
            self.metrics = {"pairs_seen": 0.0, **costs}
        elif self.metrics:
            self.metrics["pairs_seen"] = self.checkpoint_pairs
            if TRAINING_SECONDS in self.metrics:
                self.metrics[TRAINING_SECONDS] = self.seconds_at.get(self.checkpoint_pairs, 0.0)
        self.values = {pairs: v for pairs, v in self.values.items() if pairs <= self.checkpoint_pairs}
        self.seconds_at = {pairs: s for pairs, s in self.seconds_at.items() if pairs <= self.checkpoint_pairs}
        self.seconds = self.checkpoint_seconds


def is_waiting(trial: Trial) -> bool:
    """Whether a trial may be resumed; also one left paused at the end of a search that is later enlarged."""
    return trial.state in ("PAUSED", "PRUNED") and trial.checkpoint is not None


def read_trial(entry: Mapping[str, Any]) -> Trial:
    """Convert a trial's entry in ``study.json``, also of an older version.

    Raises:
        ValueError: The entry is invalid.
    """
    try:
        trial = _entries().validate_python(entry)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        name = f"trial {entry['number']}: " if "number" in entry else ""
        raise ValueError(f"{name}{key}: {fault['msg']}, got {fault['input']!r:.99}") from error
    if "stints" not in entry and trial.started is not None and trial.ended is not None:  # an older record
        trial.stints = [Attempt(trial.started, trial.ended, trial.machine)]
    return trial


@cache
def _entries() -> TypeAdapter[Trial]:
    return TypeAdapter(Trial)
