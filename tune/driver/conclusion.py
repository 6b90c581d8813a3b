"""Tests the winner and writes the report of the search after the last trial of a session."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from themo.errors import InputError, reason_of
from themo.evaluation.recording import score_and_record
from themo.process.progress import console
from themo.tracking.unsent import is_marked

if TYPE_CHECKING:
    from rich.console import Group

    from themo.tracking.registry import Registered
    from tune.study.search import Search


@dataclass(frozen=True)
class Conclusion:
    """The winner's test and the report of a search.

    Attributes:
        scores: Test scores, as in ``test.json``; None if the winner was not tested.
        shown: The scores for the terminal; None without `scores`.
        report: ``report.html``; None if it could not be written.
        registered: The winner in MLflow's registry; None: not requested, or failed.
        unregistered: Reason why registration failed, in one line; empty if it succeeded or was not requested.
    """

    scores: dict[str, Any] | None = None
    shown: Group | str | None = None
    report: Path | None = None
    registered: Registered | None = None
    unregistered: str = ""

    def refuse_unregistered(self, resume_command: str) -> None:
        """Refuse a result whose winner could not be registered.

        Args:
            resume_command: Command that registers it.

        Raises:
            InputError: The winner is not registered.
        """
        if self.unregistered:
            again = f"the search is done; to register its winner: {resume_command}"
            raise InputError(f"{self.unregistered}; {again}")


def conclude(search: Search, best: Path, register: str | None = None) -> Conclusion:
    """Test the winner, write the report of a search, and send both to MLflow.

    A failure prints its reason and keeps the search's result.

    Args:
        search: A search with a winner.
        best: The winner's version directory.
        register: Name under which MLflow's registry takes the winner; None: nothing is registered.
    """
    from tune.results.report.page import write_report
    from tune.study.search import alone, read_search

    folder = best.parent
    try:
        with alone(folder):  # a search resumed meanwhile could get another winner
            begun = replace(search, space=read_search(folder).space)  # its rungs are known since it began
            tested, report = _tested(best), _written(lambda: write_report(begun, folder))
            _send_to_mlflow(begun, folder)
            registered, unregistered = _registered(begun, best, register)
    except InputError as error:
        console.print(f"Not tested, and no report written: {reason_of(error)}")
        return Conclusion(unregistered=f"--register: {reason_of(error)}" if register else "")
    scores, shown = tested or (None, None)
    return Conclusion(scores, shown, report, registered, unregistered)


def _tested(best: Path) -> tuple[dict[str, Any], Group | str] | None:
    """Return the winner's scores and a table of them; None if it was not tested.

    An earlier test is kept, as when a finished search is resumed: it may cover more.
    """
    from themo.checkpoints.versions import TEST_FILE, read_settings
    from themo.evaluation.report.tables import read_scores

    if (best / TEST_FILE).exists():
        with suppress(InputError):  # damaged: test again
            return read_scores(best / TEST_FILE), f"Tested before: {best / TEST_FILE}"
    winner = read_settings(best)  # the winner's teacher, if the search chose teachers
    if not winner.benchmarks.names_tests or winner.data.targets is not None:
        return None
    try:
        tested = score_and_record(winner, best, "all", baseline=False, floor=True, must_answer=False)
    except Exception as error:  # no failure may lose the search's result
        console.print(f"Not tested: {reason_of(error)}")
        return None
    return tested.to_dict(), tested.scores.to_tables()


def _written(write: Callable[[], Path]) -> Path | None:
    """Write the report of a finished search; print the reason and return None if that fails."""
    try:
        return write()
    except Exception as error:  # no failure may lose the search's result
        console.print(f"No report was written: {reason_of(error)}")
        return None


def _send_to_mlflow(search: Search, folder: Path) -> None:
    """Send the winner to the search's run in MLflow; print the reason if that fails.

    Does nothing if the session found the server unreachable and printed the command that sends the search
    later, which includes the winner.
    """
    from tune.results.parent_run import send_winner

    try:
        if not is_marked(folder):
            send_winner(search, folder)
    except Exception as error:  # no failure may lose the search's result
        console.print(f"The winner is not in MLflow: {reason_of(error)}", soft_wrap=True)


def _registered(search: Search, best: Path, name: str | None) -> tuple[Registered | None, str]:
    """The winner in MLflow's registry, and the reason of a failure; None and "" if not requested."""
    if name is None:
        return None, ""
    from tune.results.parent_run import register_winner

    try:
        return register_winner(search, best, name), ""
    except Exception as error:  # no failure may lose the search's result
        return None, f"--register: {reason_of(error)}"
