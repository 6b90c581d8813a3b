"""Progress of a running search: its running trials on a terminal, a plain line at intervals elsewhere."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from textwrap import wrap
from types import FrameType
from typing import Any

from ray.tune import Callback
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from themo.process.output import about
from themo.process.progress import SECONDS_BETWEEN_LINES, console
from tune.results.best_trials import best_in_words, best_so_far
from tune.results.running_trials import RunningTrials
from tune.study.search import Search
from tune.study.study import Study
from tune.study.tried import most_trials
from tune.study.work_time import seconds_left

_SECONDS_BETWEEN_FRAMES = 0.5
_LONGEST_LINE = 160
"""Characters of a plain line with the settings of the best trial; a longer line leaves the settings out."""


class LiveView(Callback):  # type: ignore[misc]  # Ray has no types
    """Ray callback that shows the progress of a search.

    Args:
        study: The record.
        search: The search.
        slots: Returns the current number of slots.
    """

    def __init__(self, study: Study, search: Search, slots: Callable[[], int]) -> None:
        self._rows = RunningTrials(study, search)
        self._study = study
        self._search = search
        self._total = most_trials(study, search.space)
        self._slots = slots
        self._last = time.monotonic()
        self._running: list[int] = []
        self._on_ctrl_c: Callable[[int, FrameType | None], object] | None = None
        self._live = (
            Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        )

    def setup(self, *_: object, **__: object) -> None:
        """Open the view; from now on Ctrl-C prints a line at once, before Ray reacts."""
        self._last = time.monotonic()
        rays = signal.getsignal(signal.SIGINT)
        if callable(rays) and threading.current_thread() is threading.main_thread():
            self._on_ctrl_c = rays
            signal.signal(signal.SIGINT, self._answer_ctrl_c)
        if self._live:
            self._live.start()

    def on_step_end(self, *, trials: list[Any], **_: object) -> None:
        """Redraw the view if the last frame is old enough."""
        now = time.monotonic()
        if now - self._last < (_SECONDS_BETWEEN_FRAMES if self._live else SECONDS_BETWEEN_LINES):
            return
        self._last = now
        self._running = sorted(trial.config["number"] for trial in trials if trial.status == "RUNNING")
        if self._live:
            self._live.update(self._frame(), refresh=True)
        else:
            console.print(self._plain_line(), soft_wrap=True)

    def close(self) -> None:
        """Close the view and restore the terminal."""
        if self._on_ctrl_c and signal.getsignal(signal.SIGINT) == self._answer_ctrl_c:
            signal.signal(signal.SIGINT, self._on_ctrl_c)
        if self._live:
            self._live.stop()

    def _answer_ctrl_c(self, number: int, frame: FrameType | None) -> None:
        line = "Stopping: waiting for running trials to report"
        # on another thread: this one may be in the middle of printing a line
        threading.Thread(target=console.print, args=(line,), daemon=True).start()
        if self._on_ctrl_c:
            self._on_ctrl_c(number, frame)

    def _frame(self) -> Group:
        """The bar, the progress, the best trial with all its settings, and a row for each running trial."""
        width, height = console.size
        lines = [
            *wrap(self._progress(), width),
            *wrap(best_so_far(self._study, self._search.objective), width, break_on_hyphens=False),
        ]
        lines += self._rows.lines(self._running, width, height - len(lines) - 2)  # the bar and the cursor
        text = Text("\n".join(lines), no_wrap=True, overflow="ellipsis")  # wrapped: the console does not
        bar = Table.grid()
        bar.add_row(ProgressBar(total=self._total, completed=self._study.n_done, width=40))
        return Group(bar, text)

    def _plain_line(self) -> str:
        """The progress and the best trial, with its settings if they fit."""
        progress = self._progress()
        whole = f"{progress}; {best_so_far(self._study, self._search.objective)}"
        if len(whole) <= _LONGEST_LINE:
            return whole
        return f"{progress}; {best_in_words(self._study, self._search.objective)}"

    def _progress(self) -> str:
        counts = self._study.counts()
        done = self._study.n_done
        parts = [
            f"{done} of {self._total} trials done",
            f"{counts['COMPLETE']} completed, {counts['PRUNED']} pruned, {counts['FAIL']} failed",
            f"{len(self._running)} of {self._slots()} slots busy",
        ]
        if counts["PAUSED"]:
            parts.insert(2, f"{counts['PAUSED']} paused")
            parts.insert(1, f"{len(self._study)} started")  # few are done before the end
        left = seconds_left(self._study, self._search, self._slots())
        return ", ".join([*parts, f"{about(left)} left"] if left is not None else parts)
