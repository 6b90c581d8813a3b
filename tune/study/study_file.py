"""``study.json``: the record of a search as readable text, one line a trial."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from themo.errors import InputError, fault_of
from tune.space.dimensions import Scalar
from tune.study.confirmation import Confirmation, read_confirmation
from tune.study.journal import Journal, read_journal
from tune.study.trial_record import Mode, Trial, read_trial

if TYPE_CHECKING:
    from tune.study.study import Study

_FORMAT = 1


@dataclass(frozen=True)
class Content:
    """The content of the file; `tune.study.study.Study` documents each part."""

    mode: Mode
    trials: Sequence[Trial]
    carried: Sequence[Trial]
    proposals: Sequence[Mapping[str, Scalar]]
    journal: Journal | None
    confirmation: Confirmation | None
    runs: Sequence[Trial]


class TrialLines:
    """Trials as JSON, one line each; the line of an ended trial is kept until `forget`."""

    def __init__(self) -> None:
        self._ended: dict[int, str] = {}

    def forget(self, number: int) -> None:
        """Drop the line of a trial that changes after its end."""
        self._ended.pop(number, None)

    def text(self, trials: Sequence[Trial]) -> str:
        """Return the trials as a JSON list."""
        return "[\n" + ",\n".join(map(self.line, trials)) + "\n]"

    def line(self, trial: Trial) -> str:
        """Return a trial as JSON."""
        line = self._ended.get(trial.number)
        if line is None:
            line = json.dumps(asdict(trial), ensure_ascii=False)
            if trial.is_done:
                self._ended[trial.number] = line
        return line


def to_text(study: Study) -> str:
    """Return the text of the file, ending in a newline."""
    carried = ", ".join(map(study.lines.line, study.carried))
    proposals = json.dumps([dict(params) for params in study.proposals], ensure_ascii=False)
    text = f'{{"format": {_FORMAT}, "mode": "{study.mode}", "saved": {time.time():.3f}, '
    text += f'"carried": [{carried}], "proposals": {proposals}, "trials": {study.lines.text(study.trials)}'
    if study.journal is not None:
        text += f', "journal": {study.journal.to_json()}'
    if study.confirmation is not None:
        plan = json.dumps(study.confirmation.to_tree()).removesuffix("}")
        text += f',\n"confirmation": {plan}, "runs": {study.runs.lines.text(study.runs.trials)}}}'
    return text + "}\n"


def read_content(path: Path) -> Content:
    """Read the file without changing it, also while a search writes it.

    Raises:
        InputError: The file cannot be read or holds no study.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        if tree["format"] != _FORMAT:
            raise InputError(f"{path}: format must be {_FORMAT}, got {tree['format']!r}")
        trials = [read_trial(entry) for entry in tree["trials"]]
        if tree["mode"] not in get_args(Mode):
            raise ValueError(f"mode {tree['mode']!r}")
        confirmed = tree.get("confirmation")
        confirmation, runs = (None, []) if confirmed is None else read_confirmation(confirmed)
        for numbered in (trials, runs):
            if [trial.number for trial in numbered] != list(range(len(numbered))):
                raise ValueError("its trials are not numbered from 0")
        if confirmation is not None:
            _ = [trials[number] for number in confirmation.finalists]
        journal = read_journal(tree["journal"], len(trials)) if "journal" in tree else None
        if journal is not None and journal.n_added != len(trials):
            raise ValueError(f"its journal has {journal.n_added} of {len(trials)} trials")
        return Content(
            tree["mode"],
            trials,
            [read_trial(entry) for entry in tree.get("carried", [])],
            [dict(params) for params in tree.get("proposals", [])],
            journal,
            confirmation,
            runs,
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: has no valid study: {fault_of(error)}") from None
