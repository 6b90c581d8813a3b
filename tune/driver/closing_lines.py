"""Prints the result of a search: tables or JSON on standard output, the next commands on standard error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from themo.config.settings import option
from themo.config.worlds import note_on_tests
from themo.files.run_folders import BEST_VERSION, STUDY_FILE
from themo.process.output import activation, columns, from_here, print_result, typed, with_command
from themo.process.progress import console
from tune.driver.conclusion import Conclusion
from tune.results.best_trials import BEST_SETTINGS, SearchResult, table
from tune.results.front import front_in_words
from tune.study.search import Search
from tune.study.study import Study
from tune.study.tracking_place import comparison_of


def to_json(result: SearchResult, end: Conclusion) -> dict[str, Any]:
    """The result as ``tune --json`` prints it."""
    printed = result.to_json() | ({"test": end.scores} if end.scores is not None else {})
    printed |= {"registered": end.registered.address} if end.registered else {}
    return printed | {"report": str(end.report) if end.report else None}


def print_tables(search: Search, result: SearchResult, end: Conclusion) -> None:
    """Print the best trials, the front of two objectives, and the winner's scores."""
    print_result(table(result, search.space.dimensions, columns()))
    for part in front_in_words(search, Study.read(result.folder / STUDY_FILE), result.folder):
        print_result(part)
    if end.shown is not None:
        print_result(end.shown)


def print_closing_lines(search: Search, result: SearchResult, end: Conclusion, resume_command: str) -> None:
    """Print the confirmation, and the commands that activate, reproduce, test and compare the result."""
    if command := activation():
        _print_command("Activate:", command)
    for line in result.confirmation.lines() if result.confirmation else []:
        _print_line("Confirmation:", line)
    if result.unconfirmed:
        _print_line("Not confirmed:", result.unconfirmed.reason)
        if result.unconfirmed.sufficient is not None:
            share = f"{result.unconfirmed.sufficient:g}"
            _print_command("Confirm it:", f"{resume_command} {option('confirm')} {share}")
    if not result.is_whole:
        n_done = sum(n for state, n in result.counts.items() if state not in ("RUNNING", "PAUSED"))
        _print_command(
            f"Time is up:    {n_done} of {result.num_samples} trials are done; to resume:", resume_command
        )
    if not result.best.lineage:  # no settings repeat a trial that was cloned
        label = "Train in full:" if result.best.cut else "Reproduce it:"
        _print_command(label, typed("train", "--config", result.folder / BEST_SETTINGS))
    if end.report:
        _print_line("Report:", end.report)
    if end.registered:
        _print_line("Registered:", str(end.registered))
    if end.scores is not None:
        if note := note_on_tests(search.settings):
            console.print(note, soft_wrap=True)
        # a test without baselines would remove the winner's from test.json
        test_it = typed("test", "--version-path", result.folder / BEST_VERSION, "--baseline")
        _print_command("Test it:", test_it)
    for line in comparison_of(result.folder, search.uid).lines(console):
        console.print(line, soft_wrap=True)


def _print_line(label: str, text: str | Path) -> None:
    shown = from_here(text) if isinstance(text, Path) else text
    console.print(f"{label:<14} {shown}", soft_wrap=True)


def _print_command(label: str, command: str) -> None:
    console.print(with_command(f"{label:<14} ", command, console), soft_wrap=True)
