"""Explains from the record why a trial was stopped, failed, or was trained to its end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from themo.errors import InputError
from themo.files.run_folders import SEARCH_FILE
from tune.results.best_trials import show
from tune.results.failures import Shared, failed_alike, kind_of, shared_settings
from tune.results.status import read_status
from tune.schedulers.decisions import Decision, at_the_end, decisions
from tune.schedulers.explanation import Explanation
from tune.study.front import UNITS, cost_in_words
from tune.study.naming import FAILURES_FOLDER
from tune.study.resource import progress_in_words
from tune.study.search import FIRST_RUNG, Search
from tune.study.study import Study
from tune.study.trial_record import Mode, Trial, loss_of

_WORDS = {"RUNNING": "continued", "PAUSED": "paused", "PRUNED": "stopped"}


@dataclass(frozen=True)
class Why:
    """The decisions about a trial that ended or is paused.

    Attributes:
        search: The search.
        study: The record.
        trial: The trial.
        decisions: The scheduler's decisions about it in order; None: an older record keeps no order of
            reports.
        waited: The place of a paused trial at the end of the record; None: the trial does not wait.
        alike: The trials that failed in the same way, itself included; empty unless it failed.
        shared: The settings that these trials share and few other trials have.
        traceback: File with the traceback of its failure; None: no file.
    """

    search: Search
    study: Study
    trial: Trial
    decisions: list[Decision] | None
    waited: Explanation | None
    alike: list[Trial]
    shared: list[Shared]
    traceback: Path | None

    @property
    def is_repeated(self) -> bool | None:
        """Whether every recomputed decision equals the recorded one; None: the record keeps no order."""
        if self.decisions is None:
            return None
        return all(decision.is_repeated for decision in self.decisions)

    @property
    def place(self) -> int | None:
        """Rank of the trial among all with a score, from 1; None without a score."""
        numbers = [trial.number for trial in self.study.ranked()]
        return numbers.index(self.trial.number) + 1 if self.trial.number in numbers else None

    def to_json(self) -> dict[str, Any]:
        """The output of ``why --json``."""
        trial = self.trial
        return {
            "search": self.search.name,
            "trial": trial.number,
            "state": trial.state_name(at_rest=True),
            "reason": trial.reason,
            "objective": self.search.objective,
            "best": trial.best(self.study.mode),
            "place": self.place,
            "resource": self.search.space.search.resource,
            "pairs_seen": trial.pairs_seen,
            "training_seconds": trial.training_seconds,
            "settings": dict(trial.params),
            "decisions": None if self.decisions is None else [_as_json(d) for d in self.decisions],
            "waited": None if self.waited is None else self.waited.to_json(),
            "is_repeated": self.is_repeated,
            "failed_alike": [other.number for other in self.alike],
            "shared_settings": [{"values": s.text, "others": s.n_others} for s in self.shared],
            "traceback": None if self.traceback is None else str(self.traceback),
        }

    def lines(self) -> list[str]:
        """The lines above the table of decisions."""
        trial, mode = self.trial, self.study.mode
        head = f"Trial {trial.number} of search {self.search.name}: {trial.reason or 'complete'}"
        if trial.reason and trial.state == "FAIL":
            head = f"Trial {trial.number} of search {self.search.name} failed: {trial.reason}"
        best = trial.best(mode)
        lines = [head]
        if best is not None and self.place is not None:
            lines.append(
                f"Its best {self.search.objective}, {best:.4f}, ranks {self.place} of "
                f"{len(self.study.ranked())} trials with a score"
            )
        lines.append("Settings: " + " ".join(f"{n}={show(value)}" for n, value in trial.params.items()))
        if self.search.space.search.resource == "seconds":
            lines.append("Trials are compared after equal seconds of their own training")
        if trial.lineage:
            lines.append(f"It continued {trial.lineage_in_words}")
        lines += self._failure() if trial.state == "FAIL" else self._course()
        if self.is_repeated is False:
            lines.append("Computed again from study.json, a decision differs from the recorded one (below)")
        elif self.decisions:
            lines.append("Computed again from study.json: every decision is as recorded")
        return lines

    def _course(self) -> list[str]:
        """Why the trial was stopped or never was."""
        if self.decisions is None:
            return ["An older version recorded this search without the order of reports: no decision repeats"]
        judged = [decision for decision in self.decisions if not decision.is_resume]
        if self.waited is not None and self.waited.where:
            state = "waits" if self.trial.state == "PAUSED" else "waited until the search ended"
            return [f"It {state}: {self.waited.line}", *_rivals(self.waited, self.study.mode)]
        if self.trial.state == "COMPLETE":
            return [_why_complete(self.search, self.trial, judged)]
        if not judged:
            return ["The scheduler did not decide about it"]
        last = judged[-1].explanation
        return [f"Decision: {last.line}", *_rivals(last, self.study.mode)]

    def _failure(self) -> list[str]:
        """The settings that other failures share."""
        lines = [] if self.traceback is None else [f"Traceback: {self.traceback}"]
        n = len(self.alike)
        if n < 2:
            return [*lines, f"No other trial failed in this way ({kind_of(self.trial.reason) or 'unknown'})"]
        numbers = ", ".join(str(trial.number) for trial in self.alike)
        alike = f"{n} trials failed in this way ({kind_of(self.trial.reason)}): {numbers}"
        if not self.shared:
            return [*lines, alike, "No setting separates them from the other trials beyond chance"]
        n_others = sum(trial.is_done and trial.state != "FAIL" for trial in self.study)
        shared = [
            f"All of them have {s.text}; so have {s.n_others} of {n_others} others" for s in self.shared
        ]
        return [*lines, alike, *shared]

    def to_table(self) -> Table:
        """The decisions, one row each."""
        view = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        explained = [decision.explanation for decision in self.decisions or ()]
        forecast = ("forecast",) if any(found.forecast for found in explained) else ()
        needed = ("needed",) if any(found.threshold is not None for found in explained) else ()
        second = self.search.space.search.second_objective
        two = () if second is None else (UNITS[second], "front")
        seconds = ("seconds",) if self.search.space.search.resource == "seconds" else ()
        for heading in (
            "pairs",
            *seconds,
            "judged at",
            "value",
            *two,
            "rank",
            *needed,
            *forecast,
            "decision",
        ):
            is_text = heading in ("judged at", "decision")
            view.add_column(heading, justify="left" if is_text else "right", overflow="fold")
        for decision, found in zip(self.decisions or (), explained, strict=True):
            predicted = "" if found.forecast is None else found.forecast.short
            view.add_row(
                f"{found.pairs:,}",
                *(f"{found.seconds or 0:,.1f}" for _ in seconds),
                found.where,
                "" if found.value is None else f"{found.value:.4f}",
                *(_by_two(found) if two else ()),
                "" if found.rank is None else f"{found.rank} of {len(found.compared) + 1}",
                *("" if found.threshold is None else f"{found.threshold:.4f}" for _ in needed),
                *(predicted for _ in forecast),
                _word(decision),
            )
        return view


def explain_trial(folder: Path, number: int) -> Why:
    """The decisions about a trial of a search directory, which is not changed.

    Args:
        folder: The search directory.
        number: The trial.

    Raises:
        InputError: There is no such search or trial, the trial has not ended, or a file is damaged.
    """
    status = read_status(folder, asked_by="why NAME")
    search, study = status.search, status.study
    if not len(study):
        raise InputError(f"why TRIAL: search {search.name} has no trial yet, got {number}")
    if number >= len(study):
        last = len(study) - 1
        raise InputError(f"why TRIAL: must be a trial of search {search.name}, 0 to {last}, got {number}")
    trial = study[number]
    rules = search.space.search
    if rules.grace_share is not None and rules.grace_pairs is None and rules.resource == "pairs":
        raise InputError(
            f"{folder / SEARCH_FILE}: {FIRST_RUNG} is missing, the sentence pairs of the first rung"
        )
    if trial.state == "RUNNING":
        is_running = status.activity == "running"
        state = "still runs" if is_running else "was interrupted and resumes with the search"
        at = f"at {progress_in_words(trial, search.space.search.resource)}"
        raise InputError(f"why TRIAL: must be a trial that has ended, trial {number} {state}, {at}")
    found = None if study.journal is None else list(decisions(study, search.space, number))
    alike = failed_alike(study, trial) if trial.state == "FAIL" else []
    traceback = folder / FAILURES_FOLDER / f"trial-{number:04d}.txt"
    return Why(
        search=search,
        study=study,
        trial=trial,
        decisions=found,
        waited=at_the_end(study, search.space, number) if _has_waited(trial, found) else None,
        alike=alike,
        shared=shared_settings(study, search.space, alike),
        traceback=traceback if trial.state == "FAIL" and traceback.exists() else None,
    )


def _has_waited(trial: Trial, found: list[Decision] | None) -> bool:
    """Whether a trial is paused, or was until the search ended."""
    if trial.state == "PAUSED":
        return True
    return trial.state == "PRUNED" and any(d.decided == "PAUSED" for d in (found or ())[-1:])


def _why_complete(search: Search, trial: Trial, judged: list[Decision]) -> str:
    if search.space.search.scheduler == "none":
        return "It was never stopped: the scheduler is none"
    if not judged:
        return "It was never stopped: it completed before a report at which trials are judged"
    n_trusted = sum(decision.explanation.is_trusted for decision in judged)
    if n_trusted:
        times = "once" if n_trusted == 1 else f"{n_trusted} times"
        return f"Its settings are trusted: it continued {times} where other trials would not have continued"
    if search.space.search.scheduler == "pbt":
        return "It was never stopped: population based training stops no trial with finite reports"
    trusted = "Its settings are trusted, and it" if trial.number < len(search.space.first) else "It"
    n_paused = sum(decision.decided == "PAUSED" for decision in judged)
    if n_paused:
        times = "once" if n_paused == 1 else f"{n_paused} times"
        return f"{trusted} paused {times}, resumed, and was trained to its end"
    narrow = [
        (_margin(d.explanation), d.explanation.line) for d in judged if d.explanation.threshold is not None
    ]
    if not narrow:
        return f"{trusted} passed every decision"
    return f"{trusted} passed every decision, most narrowly with {min(narrow)[1]}"


def _margin(found: Explanation) -> float:
    """Distance of a trial's value from the threshold of a decision; infinity without one."""
    if found.value is None or found.threshold is None:
        return math.inf
    return abs(found.value - found.threshold)


def _rivals(found: Explanation, mode: Mode) -> list[str]:
    """The trials that a decision compared, best first."""
    if not found.compared:
        return ["No other trial had reached this point"]
    if found.second is not None:
        by_front = [
            f"trial {n} {place.value:.4f}, {cost_in_words(place.cost, found.second)} (front {place.front})"
            for n, place in found.rivals.items()
        ]
        return ["Compared with: " + "; ".join(by_front)]
    ranked = sorted(found.compared.items(), key=lambda item: (loss_of(item[1], mode), item[0]))
    what = "Compared with" if found.forecast is None else "Predicted final scores of the other trials"
    return [f"{what}: " + ", ".join(f"trial {number} {value:.4f}" for number, value in ranked)]


def _by_two(found: Explanation) -> tuple[str, str]:
    """Cost and front of a trial where it was judged."""
    return ("", "") if found.place is None else (f"{found.place.cost:.3g}", str(found.place.front))


def _word(decision: Decision) -> str:
    if decision.donor is not None:
        word = f"took over trial {decision.donor}"
    elif decision.is_resume:
        word = "resumed"
    else:
        word = _WORDS.get(decision.decided, decision.decided.lower())
    if decision.explanation.is_trusted:
        word += " (trusted)"
    if not decision.is_repeated:
        computed = decision.explanation.state
        word += f"; computed again: {_WORDS.get(computed, computed.lower())}"
    return word


def _as_json(decision: Decision) -> dict[str, Any]:
    return {
        **decision.explanation.to_json(),
        "decided": decision.decided.lower(),
        "computed": decision.explanation.state.lower(),
        "is_resume": decision.is_resume,
        "is_repeated": decision.is_repeated,
        "donor": decision.donor,
    }
