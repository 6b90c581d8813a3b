"""Progress of a confirmation: a line when a run starts to train, a line at intervals, a line when it ends."""

from __future__ import annotations

import time
from typing import Any

from ray.tune import Callback

from themo.process.progress import SECONDS_BETWEEN_LINES, console
from tune.confirmation.verdict import verdict
from tune.study.confirmation import SEED
from tune.study.study import Study
from tune.study.trial_record import Trial


class ConfirmationView(Callback):  # type: ignore[misc]  # Ray has no types
    """Ray callback that shows the progress of a confirmation.

    Args:
        study: The record of the search.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._last = time.monotonic()

    def on_step_end(self, **_: object) -> None:
        """Print the running runs if the last line is old enough."""
        now = time.monotonic()
        running = [run for run in self._study.runs if not run.is_done]
        if now - self._last < SECONDS_BETWEEN_LINES or not running:
            return
        self._last = now
        now_at = ", ".join(f"{_name(run)} at {run.pairs_seen:,} pairs" for run in running)
        console.print(f"Confirming: {now_at}", soft_wrap=True)

    def on_trial_complete(self, *, trial: Any, **_: object) -> None:
        """Print the score of an ended run."""
        run = self._study.runs[trial.config["number"]]
        found = verdict(self._study)
        if not run.is_done or found is None:
            return
        self._last = time.monotonic()
        score = run.best(self._study.mode)
        ended = f"failed: {run.reason}" if run.state == "FAIL" or score is None else f"{score:.4f}"
        console.print(
            f"Confirming: {_name(run)}: {ended} ({found.n_runs} of at most {found.n_most} runs)",
            soft_wrap=True,
        )

    on_trial_error = on_trial_complete  # of a run whose worker died once too often

    def close(self) -> None:
        """Nothing is left open."""


def _name(run: Trial) -> str:
    return f"trial {run.confirms} with seed {run.params[SEED]}"
