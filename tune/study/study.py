"""The record of a search: every trial, its reports and its end.

`study.json` is the only state of a search. Ray runs the trials, Optuna proposes them, MLflow shows them; all
three are rebuilt from this record, so none can disagree with it after a crash. The file (`study_file`) is
atomically written whenever a resumed search needs it: a trial is proposed, a checkpoint is complete, a trial
ends. Reports since the last checkpoint come again when the trial resumes.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import get_args

from themo.files.atomic import write_text
from themo.files.disk_space import IMPATIENT, Patience
from tune.space.dimensions import Scalar
from tune.study.confirmation import Confirmation
from tune.study.journal import SEARCH, Journal, Kind
from tune.study.study_file import TrialLines, read_content, to_text
from tune.study.trial_record import TRAINING_SECONDS, Mode, State, Trial, loss_of

COSINE = "best/val/cosine"
"""The metric that ranks trials with equal objectives."""


class Study:
    """All trials of a search.

    Args:
        path: The file, ``study.json``; None keeps the record in memory only.
        mode: Whether the objective is maximized or minimized.
        trials: Existing trials.
        carried: Trials of another search that the searcher also learns from (`tune.driver.warm_start`),
            numbered from -1 downwards.
        proposals: Settings that are proposed after the trusted ones, such as the best of another search.
        patience: Retries while the disk is full.
        whole: The study of the search if these trials are its confirmation's runs, which are saved with it;
            else None.
        journal: The events so far; None: no events, or unknown if trials exist, as in an older record.

    Attributes:
        confirmation: Plan of the winner's confirmation; None: no plan.
        journal: The events in order; None: unknown. Those of the confirmation's runs are not saved.
        lines: The trials' lines in the file.
    """

    def __init__(
        self,
        path: Path | None,
        mode: Mode,
        trials: list[Trial] | None = None,
        carried: Sequence[Trial] = (),
        patience: Patience = IMPATIENT,
        *,
        proposals: Sequence[Mapping[str, Scalar]] = (),
        journal: Journal | None = None,
        whole: Study | None = None,
    ) -> None:
        self.path = path
        self._patience = patience
        self.mode: Mode = mode
        self.trials = trials or []
        self.carried = tuple(carried)
        self.proposals = tuple(proposals)
        self.journal = Journal() if journal is None and not trials else journal
        self.lines = TrialLines()
        self._has_news = False
        self._saved = time.monotonic()
        self._whole = whole
        self.confirmation: Confirmation | None = None

    @cached_property
    def runs(self) -> Study:
        """The runs of the winner's confirmation, numbered from 0."""
        return Study(None, self.mode, whole=self)

    def plan_confirmation(self, plan: Confirmation, runs: Sequence[Trial] = ()) -> None:
        """Enter the plan of the winner's confirmation, with its runs so far; in memory until `save`."""
        self.confirmation = plan
        self.runs = Study(None, self.mode, list(runs), whole=self)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    def __len__(self) -> int:
        return len(self.trials)

    def __getitem__(self, number: int) -> Trial:
        return self.trials[number]

    def add(self, params: Mapping[str, Scalar], confirms: int | None = None) -> Trial:
        """Add a proposed trial, or a run that confirms one."""
        trial = Trial(len(self.trials), dict(params), confirms=confirms)
        self.trials.append(trial)
        self._note("add", trial.number)
        self.save()
        return trial

    def report(self, number: int, metrics: Mapping[str, float], objective: str) -> None:
        """Add a trial's report, in memory until `save`; an objective that is not finite is left out."""
        trial = self[number]
        self._has_news = True
        value = trial.enter_report(metrics, objective)
        further: list[float | None] = [metrics[COSINE]] if COSINE in metrics else []
        if TRAINING_SECONDS in metrics:
            further = [metrics.get(COSINE), trial.training_seconds]
        self._note("report", number, trial.pairs_seen, value, *further)

    def decide(self, number: int, verdict: State, reason: str = "", why: str = "") -> None:
        """Record a trial's next state, in memory until `save`; it takes effect by `finish` or `retry`."""
        trial = self[number]
        trial.verdict, trial.reason, trial.why = verdict, reason, why
        self._note("verdict", number, verdict)

    def finish(self, number: int, state: State, reason: str = "", why: str = "") -> None:
        """Record that a trial ended or is paused; an empty reason or `why` keeps the earlier one."""
        trial = self[number]
        trial.why = why or trial.why
        self._end(trial, state, reason)
        self.save()

    def rewind(self, number: int) -> None:
        """Reset a trial to its checkpoint, in memory until `save`."""
        trial = self[number]
        trial.rewind()
        self._note("rewind", number, trial.checkpoint_pairs)

    def retry(self, number: int) -> None:
        """Reset a trial to its checkpoint, to run again."""
        self.rewind(number)
        self.save()

    def limit(
        self,
        num_samples: int,
        stop_after_no_gain: int | None,
        stop_gain: float | None = None,
        stop_chance: float | None = None,
    ) -> None:
        """Record the limits of a session, in memory until `save`; they change what a scheduler promotes."""
        of_gain = () if stop_gain is None else (stop_gain, stop_chance)
        limits = (num_samples, stop_after_no_gain, *of_gain)
        last = None if self.journal is None else self.journal.last("limits")
        if last is None or last.detail != limits:
            self._note("limits", SEARCH, *limits)

    def _end(self, trial: Trial, state: State, reason: str = "") -> None:
        trial.end(state, reason)
        self._note("finish", trial.number, state, trial.checkpoint is not None)

    def _note(self, kind: Kind, number: int, *detail: object) -> None:
        if self.journal is not None:
            self.journal.note(kind, number, *detail)

    def resume(self, number: int) -> Trial:
        """Set a paused trial to running."""
        trial = self[number]
        trial.resume()
        self.lines.forget(number)
        self._note("resume", number)
        self.save()
        return trial

    def take_over(self, number: int, donor: int, params: Mapping[str, Scalar]) -> None:
        """Move a paused trial to another trial's checkpoint, with new settings; in memory until `save`."""
        self[number].take_over(self[donor], params)
        self._note("take_over", number, donor)

    def drop_checkpoint(self, number: int) -> None:
        """Record that an ended trial's checkpoint is not needed."""
        self[number].checkpoint = None
        self.lines.forget(number)
        self.save()

    def ranked(self) -> list[Trial]:
        """The trials with valid scores, best first.

        Ties go to the higher cosine, as within a trial, then to a trial that reached its best without a
        takeover, then to the earlier trial.
        """
        return sorted((trial for trial in self if trial.is_scored), key=self._place)

    def _place(self, trial: Trial, value: float | None = None) -> tuple[float, float, bool, int]:
        """Sort key of scored trials, best first; of their best report if no value is given."""
        value = (trial.best(self.mode) if value is None else value) or 0.0
        cosine = trial.metrics.get(COSINE, 0.0)
        return loss_of(value, self.mode), -cosine, trial.has_taken_best(self.mode), trial.number

    def leader(self) -> Trial | None:
        """The best trial so far, which all views name: ended, paused or running."""
        return self._handed_over(self.scored_leader())

    def scored_leader(self) -> Trial | None:
        """The trial with the best score so far."""
        return min((trial for trial in self if trial.is_scored), key=self._place, default=None)

    def winner(self) -> Trial | None:
        """The trial whose student the search hands over: `scored_winner`, or a rival that is proven better.

        After `reset_to_checkpoints` it equals the leader.
        """
        return self._handed_over(self.scored_winner())

    def _handed_over(self, best: Trial | None) -> Trial | None:
        """The trial that the confirmation of the best trial handed over; without one, the best trial."""
        plan = self.confirmation
        if best is None or plan is None or plan.handed_over is None or plan.winner != best.number:
            return best
        return self[plan.handed_over]

    def scored_winner(self) -> Trial | None:
        """The trial with the best student on disk: complete, stopped, paused or interrupted, not failed."""
        able = (trial for trial in self if trial.is_scored and trial.saved(self.mode) is not None)
        return min(able, key=lambda trial: self._place(trial, trial.saved(self.mode)), default=None)

    def reset_to_checkpoints(self) -> bool:
        """Reset the running trials to their last checkpoints; in memory until `save`.

        Their later reports come again when the search is resumed. Trials whose end was decided but not yet
        recorded end here. Call this only while no process runs the search.

        Returns:
            Whether any trial ended.
        """
        has_ended = self._whole is None and self.runs.reset_to_checkpoints()
        for trial in self:
            if trial.is_done:
                continue
            verdict = trial.verdict
            if verdict == "FAIL" or (verdict and verdict != "RUNNING" and trial.is_at_checkpoint):
                self._end(trial, verdict)
                has_ended = True
            elif verdict or not trial.is_at_checkpoint:
                self.rewind(trial.number)
            else:
                trial.rewind()  # drops training time after the checkpoint
        return has_ended

    @property
    def n_done(self) -> int:
        """Number of ended trials."""
        return sum(trial.is_done for trial in self)

    def counts(self) -> dict[State, int]:
        """Number of trials in each state."""
        states: tuple[State, ...] = get_args(State)
        return {state: sum(trial.state == state for trial in self) for state in states}

    def save_if_older(self, seconds: float) -> None:
        """Save if the last save is older than `seconds`, for `status`; skipped on a full disk."""
        if self._has_news and time.monotonic() - self._saved >= seconds:
            self._write(_once)

    def save(self) -> None:
        """Write the file atomically, one line a trial."""
        self._write(self._patience)

    def _write(self, patience: Callable[[Callable[[], None]], None]) -> None:
        self._has_news, self._saved = False, time.monotonic()
        if self._whole is not None:
            self._whole._write(patience)
        if self.path is None:
            return
        path, text = self.path, to_text(self)
        patience(lambda: write_text(path, text))

    @cached_property
    def salt(self) -> tuple[int, ...]:
        """Entropy that a warm start adds to all random draws; empty without one.

        Otherwise a search with the same seed would draw the same points as the search that it learns from,
        including those that failed there and did not carry over.
        """
        if not self.carried and not self.proposals:
            return ()
        known = [[trial.params for trial in self.carried], [dict(params) for params in self.proposals]]
        return (zlib.crc32(json.dumps(known, sort_keys=True).encode()),)

    @classmethod
    def reopen(cls, path: Path, patience: Patience = IMPATIENT) -> Study:
        """Read the file to resume the search: reset running trials, and save the ends of others.

        Args:
            path: The file.
            patience: Retries while the disk is full.

        Raises:
            InputError: The file cannot be read or holds no study.
        """
        study = cls.read(path)
        study._patience = patience
        if study.reset_to_checkpoints():
            study.save()
        return study

    @classmethod
    def read(cls, path: Path) -> Study:
        """Read the file without changing it, also while a search writes it.

        Raises:
            InputError: The file cannot be read or holds no study.
        """
        read = read_content(path)
        study = cls(
            path, read.mode, list(read.trials), read.carried, proposals=read.proposals, journal=read.journal
        )
        if read.confirmation is not None:
            study.plan_confirmation(read.confirmation, read.runs)
        return study


def _once(write: Callable[[], None]) -> None:
    with suppress(OSError):
        write()
