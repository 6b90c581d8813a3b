"""Searches in the record whose trials are done, and runs that confirm their winners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from themo.config.settings import Settings
from tune.confirmation.plan import begin, plan
from tune.confirmation.verdict import Verdict, next_run, verdict
from tune.space.search_space import Space, from_tree
from tune.study.confirmation import SEED, Confirmation
from tune.study.study import Study
from tune.study.trial_record import Mode, Trial

PAIRS = 100
"""Sentence pairs of a whole trial."""

SETTINGS = Settings.model_validate(
    {"data": {"corpus": ["a.tsv"]}, "teacher": {"architecture": "a"}, "student": {"backbone": "a"}}
)
"""With `training.seed` 0."""

PRESET_RATE = SETTINGS.training.learn_rate

Score = Callable[[Trial, int], float | None]
"""Score of a trial's settings with a seed; None: the run fails."""


def space_of(*, first: Sequence[dict[str, Any]] = ({},), **search: Any) -> Space:
    tree = {"space": {"learn_rate": {"log_uniform": [1e-6, 1.0]}}, "first": list(first), "search": search}
    return from_tree(tree, SETTINGS, source="search.yaml")


def searched(scores: Sequence[float], mode: Mode = "max", path: Path | None = None) -> Study:
    """A search whose trials are complete with these scores; trial 0 has the settings of the preset."""
    study = Study(path, mode)
    for number, score in enumerate(scores):
        study.add({"learn_rate": PRESET_RATE * (1 + number / 100)})
        end(study, number, score)
    return study


def end(study: Study, number: int, score: float | None, pairs: int = PAIRS) -> None:
    """Let a trial or a run report once and end, without a score as a failure."""
    study[number].metrics = {"pairs_seen": float(pairs)}
    if score is None:
        study.finish(number, "FAIL", "diverged: loss is nan")
        return
    study[number].values = {pairs: score}
    study[number].enter_checkpoint(f"session-1/trial-{number:04d}/checkpoint_000000")
    study.finish(number, "COMPLETE")


def planned(study: Study, space: Space) -> Confirmation:
    """Plan the confirmation and enter it."""
    found = plan(study, space, SETTINGS)
    assert isinstance(found, Confirmation), found
    begin(study, found)
    return found


def confirmed(study: Study, space: Space, score: Score, slots: int = 1) -> Verdict:
    """Plan the confirmation and run it to its end; several slots end their runs in reverse order."""
    if study.confirmation is None:
        planned(study, space)
    running: list[int] = [run.number for run in study.runs if not run.is_done]
    while True:
        while len(running) < slots and (run := next_run(study)) is not None:
            number, seed = run
            running.append(study.runs.add(study[number].params | {SEED: seed}, confirms=number).number)
        if not running:
            found = verdict(study)
            assert found is not None
            assert study.confirmation is not None
            study.confirmation.handed_over = found.handed_over
            study.save()
            return found
        done = study.runs[running.pop()]
        end(study.runs, done.number, score(study[done.confirms or 0], int(done.params[SEED] or 0)))
