"""The record of a search: every trial, what it reported and how it ended, in one readable file.

`study.json` is the only state that a search depends on. Ray carries trials out, Optuna proposes them, MLflow
shows them; each is rebuilt from this record, so that none of them can disagree with it after a crash. The
file is written whole, under a temporary name, whenever something happens that a resumed search must know: a
trial is proposed, a checkpoint stands, a trial ends. What a trial reported since its last checkpoint it will
report again.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, get_args

from themo.atomic import write_text
from themo.errors import InputError
from themo.room import IMPATIENT, Patience
from tune.space import Scalar

State = Literal["RUNNING", "PAUSED", "COMPLETE", "PRUNED", "FAIL"]
"""RUNNING: proposed and not ended, at work or not. PAUSED: waits at a checkpoint, and may go on.
PRUNED: stopped early. FAIL: diverged, or an error."""

Mode = Literal["max", "min"]

_FORMAT = 1


@dataclass(frozen=True)
class Takeover:
    """Where a trial went on as another one (`tune.population`).

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
    lineage: list[Takeover] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in ("RUNNING", "PAUSED")

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

    def best_pairs(self, mode: Mode) -> int:
        """Sentence pairs at the best report, the first of equals; of a trial that has one."""
        best = self.best(mode)
        return min(pairs for pairs, value in self.values.items() if value == best)

    @property
    def way(self) -> str:
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

    def rewind(self) -> None:
        """Forget what came after the checkpoint: a resumed trial does it again."""
        self.verdict = ""
        if self.metrics:
            self.metrics["pairs_seen"] = self.checkpoint_pairs
        self.values = {pairs: v for pairs, v in self.values.items() if pairs <= self.checkpoint_pairs}
        self.seconds = self.checkpoint_seconds


class Study:
    """All trials of a search.

    Args:
        path: The file, ``study.json``; None keeps the record in memory only.
        mode: Whether the objective is to be great or small.
        trials: Those that there are already.
        carried: Trials of another search that proposals learn from too (`tune.warm_start`), numbered from -1
            downwards; they are none of this one's.
        patience: Whether `save` waits for room on a full disk.
    """

    def __init__(
        self,
        path: Path | None,
        mode: Mode,
        trials: list[Trial] | None = None,
        carried: Sequence[Trial] = (),
        patience: Patience = IMPATIENT,
    ) -> None:
        self.path = path
        self._patience = patience
        self.mode: Mode = mode
        self.trials = trials or []
        self.carried = tuple(carried)
        self._lines: dict[int, str] = {}
        self._has_news = False
        self._saved = time.monotonic()

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    def __len__(self) -> int:
        return len(self.trials)

    def __getitem__(self, number: int) -> Trial:
        return self.trials[number]

    def add(self, params: Mapping[str, Scalar]) -> Trial:
        """Enter a proposed trial."""
        trial = Trial(len(self.trials), dict(params))
        self.trials.append(trial)
        self.save()
        return trial

    def report(self, number: int, metrics: Mapping[str, float], objective: str) -> None:
        """Enter a trial's report; one that is not finite changes no value. Kept in memory until `save`."""
        trial = self[number]
        self._has_news = True
        trial.metrics = dict(metrics)
        value = metrics.get(objective, math.nan)
        if math.isfinite(value):
            trial.values[trial.pairs_seen] = value

    def finish(self, number: int, state: State, reason: str = "") -> None:
        """Enter how a trial ended, or that it waits."""
        trial = self[number]
        if state != "FAIL" and not trial.values:
            state, reason = "FAIL", "it ended without a single report"
        trial.state, trial.verdict, trial.reason = state, "", reason or trial.reason
        self.save()

    def retry(self, number: int) -> None:
        """Let a trial start again from its checkpoint."""
        self[number].rewind()
        self.save()

    def resume(self, number: int) -> Trial:
        """Let a trial go on that was paused."""
        trial = self[number]
        trial.state, trial.reason = "RUNNING", ""
        self._lines.pop(number, None)
        self.save()
        return trial

    def take_over(self, number: int, donor: int, params: Mapping[str, Scalar]) -> None:
        """Let a paused trial stand where another one's checkpoint does. Kept in memory until `save`."""
        trial, other = self[number], self[donor]
        last = trial.values[max(trial.values)]
        trial.lineage.append(Takeover(trial.pairs_seen, last, trial.params, donor, trial.checkpoint))
        trial.params, trial.least_gpus = dict(params), other.least_gpus
        trial.checkpoint, trial.checkpoint_pairs = other.checkpoint, other.checkpoint_pairs
        trial.values, trial.metrics = dict(other.values), dict(other.metrics)

    def checkpoints(self) -> set[str]:
        """Those that something may still go on from, or that a result may be; all others may be removed.

        A failed trial is neither. One that has taken over another's keeps its own until its next one stands.
        """
        own = {trial.checkpoint for trial in self if trial.state != "FAIL"}
        left = {step.checkpoint for trial in self if not trial.is_done for step in trial.lineage}
        return {path for path in own | left if path}

    def ranked(self, ended_only: bool = False) -> list[Trial]:
        """The trials whose scores count, best first; if asked, only those that ended.

        Where the objective saturates the greater cosine decides, as within a trial, then the earlier number.
        """
        able = [trial for trial in self if trial.is_scored and (trial.is_done or not ended_only)]
        return sorted(able, key=self._place)

    def _place(self, trial: Trial) -> tuple[float, float, int]:
        """To order scored trials by, best first."""
        sign = -1 if self.mode == "max" else 1
        value = trial.best(self.mode) or 0.0
        return sign * value, -trial.metrics.get("best/val/cosine", 0.0), trial.number

    def leader(self) -> Trial | None:
        """The best trial so far, whether it has ended, waits or goes on."""
        return min((trial for trial in self if trial.is_scored), key=self._place, default=None)

    def winner(self) -> Trial | None:
        """The best one of those that ended well and have a version."""
        return next((trial for trial in self.ranked(ended_only=True) if trial.checkpoint), None)

    def sessions(self) -> dict[int, tuple[float, float]]:
        """The first start and the last end of work in each session that is known."""
        found: dict[int, tuple[float, float]] = {}
        for stint in (stint for trial in self for stint in trial.stints):
            start, end = found.get(stint.session, (stint.started, stint.ended))
            found[stint.session] = min(start, stint.started), max(end, stint.ended)
        return found

    def at_once(self) -> int:
        """The most trials that were ever at work together: the slots, whatever their machines' names.

        A container gets another name whenever it is started.
        """
        changes = [
            change
            for trial in self
            for stint in trial.stints
            for change in ((stint.started, 1), (stint.ended, -1))
        ]
        return max(accumulate(step for _, step in sorted(changes)), default=0)  # an end comes before a start

    def seconds(self) -> float:
        """What the sessions took; the pauses between them left out."""
        return sum(end - start for start, end in self.sessions().values())

    def busy_share(self, slots: int) -> float:
        """Share of the time of that many slots spent in training; pauses between sessions left out."""
        slot_seconds = slots * self.seconds()
        return sum(trial.seconds for trial in self) / slot_seconds if slot_seconds > 0 else 0.0

    @property
    def n_done(self) -> int:
        """Trials that have ended."""
        return sum(trial.is_done for trial in self)

    def counts(self) -> dict[State, int]:
        """Number of trials in each state."""
        states: tuple[State, ...] = ("RUNNING", "PAUSED", "COMPLETE", "PRUNED", "FAIL")
        return {state: sum(trial.state == state for trial in self) for state in states}

    def show(self, seconds: float) -> None:
        """Write reports that nothing has saved for so long, for who reads along; not onto a full disk."""
        if self._has_news and time.monotonic() - self._saved >= seconds:
            self._write(_once)

    def save(self) -> None:
        """Write the file: a line a trial, whole or not at all."""
        self._write(self._patience)

    def _write(self, patience: Callable[[Callable[[], None]], None]) -> None:
        self._has_news, self._saved = False, time.monotonic()
        if self.path is None:
            return
        lines = []
        for trial in self:
            line = self._lines.get(trial.number)
            if line is None:
                line = json.dumps(asdict(trial), ensure_ascii=False)
                if trial.is_done:
                    self._lines[trial.number] = line
            lines.append(line)
        head = f'{{"format": {_FORMAT}, "mode": "{self.mode}", "saved": {time.time():.3f}, '
        head += f'"carried": {self._carried_line}, "trials": [\n'
        path, text = self.path, head + ",\n".join(lines) + "\n]}\n"
        patience(lambda: write_text(path, text))

    @cached_property
    def _carried_line(self) -> str:
        return json.dumps([asdict(trial) for trial in self.carried], ensure_ascii=False)

    @classmethod
    def load(cls, path: Path, patience: Patience = IMPATIENT) -> Study:
        """Read the file to go on. Trials that were under way stand where their last checkpoint left them.

        Args:
            path: The file.
            patience: Whether `save` waits for room on a full disk.

        Raises:
            InputError: It cannot be read or holds no study.
        """
        study = cls.read(path)
        study._patience = patience
        for trial in study:
            if not trial.is_done:
                is_whole = trial.checkpoint_pairs == trial.pairs_seen
                if trial.verdict == "FAIL" or (trial.verdict and trial.verdict != "RUNNING" and is_whole):
                    study.finish(trial.number, trial.verdict)
                else:
                    trial.rewind()
        return study

    @classmethod
    def read(cls, path: Path) -> Study:
        """Read the file as it stands, also while a search writes it; nothing is changed.

        Raises:
            InputError: It cannot be read or holds no study.
        """
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            if tree["format"] != _FORMAT:
                raise InputError(f"{path}: format must be {_FORMAT}, got {tree['format']!r}")
            trials = [_trial(entry) for entry in tree["trials"]]
            if tree["mode"] not in get_args(Mode):
                raise ValueError(f"mode {tree['mode']!r}")
            if [trial.number for trial in trials] != list(range(len(trials))):
                raise ValueError("its trials are not numbered from 0")
            return cls(path, tree["mode"], trials, [_trial(entry) for entry in tree.get("carried", [])])
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: holds no study: {error!r}") from None


def _once(write: Callable[[], None]) -> None:
    with suppress(OSError):
        write()


def _trial(entry: dict[str, Any]) -> Trial:
    entry = dict(entry)
    entry["values"] = {int(pairs): float(value) for pairs, value in entry["values"].items()}
    entry["metrics"] = {str(name): float(value) for name, value in entry["metrics"].items()}
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
