"""Progress of anything that takes longer than two seconds, on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from themo.process.streams import Stream

console = Console(
    file=cast(TextIO, Stream("stderr")), highlight=False, soft_wrap=True, markup=False, emoji=False
)
"""Everything that is not a result is printed here; results go to standard output."""

Advance = Callable[..., None]
"""``advance(n, note="loss 0.12")``: n more units are done; the note replaces the last one."""

SECONDS_BETWEEN_LINES = 10.0
"""Where standard error is a file or a pipe, a plain line at most this often."""


@contextmanager
def silence() -> Iterator[None]:
    """Print nothing on the console for a block; also as a decorator.

    For whoever trains in a loop of one process and says itself what came of it.
    """
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


@contextmanager
def track(description: str, total: float, unit: str) -> Iterator[Advance]:
    """Show the progress of a block: a bar with rate on a terminal, a line now and then elsewhere.

    Args:
        description: What is being done, as a user would say it.
        total: How many units there are to do.
        unit: Name of a unit in the plural, such as ``"pairs"``.

    Yields:
        A function to call with the number of units just done.
    """
    if console.is_terminal:
        with _bar(description, total, unit) as advance:
            yield advance
    else:
        yield _lines(description, total, unit)


@contextmanager
def waiting(description: str) -> Iterator[None]:
    """Show on a terminal that something goes on whose length nobody knows."""
    if console.is_terminal:
        with console.status(description):
            yield
    else:
        yield


@contextmanager
def _bar(description: str, total: float, unit: str) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}  {task.fields[rate]}  {task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(description, total=total, unit=unit, rate="", note="")
        start, done = time.monotonic(), 0.0

        def advance(n: float, note: str = "") -> None:
            nonlocal done
            done += n
            rate = f"{done / max(time.monotonic() - start, 1e-9):,.0f}/s"
            bar.update(task, advance=n, rate=rate)
            if note:
                bar.update(task, note=note)

        yield advance


def _lines(description: str, total: float, unit: str) -> Advance:
    start = last = time.monotonic()
    done = 0.0

    def advance(n: float, note: str = "") -> None:
        nonlocal done, last
        done += n
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            rate = done / (now - start)
            console.print(f"{description}: {done:,.0f} of {total:,.0f} {unit}, {rate:,.0f}/s {note}".rstrip())

    return advance
