"""Progress on standard error of steps longer than two seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from rich.console import Console

from themo.process.streams import Stream

console = Console(
    file=cast(TextIO, Stream("stderr")), highlight=False, soft_wrap=True, markup=False, emoji=False
)
"""Console on standard error for all output except results."""

Advance = Callable[..., None]
"""``advance(n, note="loss 0.12")``: count n more units; the note replaces the last one."""

SECONDS_BETWEEN_LINES = 10.0
"""Least seconds between lines if standard error is a file or a pipe."""


@contextmanager
def silence() -> Iterator[None]:
    """Silence the console for a block; also a decorator.

    It serves programs that train in a loop and print their own results.
    """
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


@contextmanager
def track(description: str, total: float, unit: str, before: int = 0) -> Iterator[Advance]:
    """Show the progress of a block: a bar with rate on a terminal, occasional lines elsewhere.

    Args:
        description: Activity, such as ``"Training"``.
        total: Number of units.
        unit: Name of a unit in the plural, such as ``"pairs"``.
        before: Number of units that an earlier block has done; they do not count for the rate.

    Yields:
        A function to call with the number of units just done.
    """
    if console.is_terminal:
        with _bar(description, total, unit, before) as advance:
            yield advance
    else:
        yield _lines(description, total, unit, before)


@contextmanager
def waiting(description: str) -> Iterator[None]:
    """Show a spinner on a terminal for a block of unknown length."""
    if console.is_terminal:
        with console.status(description):
            yield
    else:
        yield


@contextmanager
def _bar(description: str, total: float, unit: str, before: int) -> Iterator[Advance]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}  {task.fields[rate]}  {task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(description, total=total, completed=before, unit=unit, rate="", note="")
        start, done = time.monotonic(), 0.0

        def advance(n: float, note: str = "") -> None:
            nonlocal done
            done += n
            bar.update(task, advance=n, rate=_rate(done, time.monotonic() - start))
            if note:
                bar.update(task, note=note)

        yield advance


def _lines(description: str, total: float, unit: str, before: int) -> Advance:
    start = last = time.monotonic()
    done = 0.0

    def advance(n: float, note: str = "") -> None:
        nonlocal done, last
        done += n
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            place = f"{before + done:,.0f} of {total:,.0f} {unit}"
            parts = [place, _rate(done, now - start), *([note] if note else [])]
            console.print(f"{description}: {', '.join(parts)}")

    return advance


def _rate(done: float, seconds: float) -> str:
    rate = done / max(seconds, 1e-9)
    return f"{rate:,.0f}/s" if rate >= 1 or not done else f"{1 / rate:,.1f} s each"
