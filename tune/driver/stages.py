"""The stages of a session: the trials of a search, then the runs that confirm its winner.

The same loop and the same workers train both. A stage holds the record, the source of new trials, and the
callbacks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from ray.tune import Callback

from tune.cluster.slots import Slots
from tune.confirmation.verdict import next_run, verdict
from tune.driver.checkpoints import Keeper
from tune.driver.session_state import SessionState
from tune.results.confirmation_view import ConfirmationView
from tune.results.live import LiveView
from tune.results.trial_table import TrialTable
from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space
from tune.study.confirmation import SEED
from tune.study.limits import are_trials_done
from tune.study.study import Study
from tune.study.trial_record import Trial


class View(Protocol):
    """A Ray callback that shows progress."""

    def close(self) -> None:
        """Restore the terminal."""


@dataclass(frozen=True)
class Stage:
    """The trials that a loop trains, with their record, callbacks and view.

    Attributes:
        record: The trials of the stage.
        space: The space whose scheduler judges them.
        draw: Adds the next new trial; None: the space's searcher proposes it.
        keeper: Records checkpoints.
        runs: Keeps the reports for MLflow.
        view: Shows progress.
        is_done: Whether no trial is left.
    """

    record: Study
    space: Space
    draw: Callable[[], Trial | None] | None
    keeper: Keeper
    runs: Callback
    view: View
    is_done: Callable[[], bool]


def trials_of(state: SessionState, session: str, slots: Slots, runs: Callable[[Study], Callback]) -> Stage:
    """The trials of a search.

    Args:
        state: The search and its record.
        session: Name of the loop's folder in the storage.
        slots: Returns the current number of slots.
        runs: Makes the callback that keeps the reports of a record for MLflow.
    """
    search, study = state.search, state.study
    space = search.space
    table = TrialTable(study, space, search.folder)
    return Stage(
        record=study,
        space=space,
        draw=None,
        keeper=Keeper(state, study, session, "trial", lambda _: state.patience(table.write)),
        runs=runs(study),
        view=LiveView(study, search, slots),
        is_done=lambda: are_trials_done(study, space),
    )


def confirmation_of(state: SessionState, session: str, runs: Callable[[Study], Callback]) -> Stage:
    """The runs that confirm the winner of a search; none is stopped early, and no student is kept.

    Args:
        state: The search and its record.
        session: Name of the loop's folder in the storage.
        runs: Makes the callback that keeps the reports of a record for MLflow.
    """
    search, study = state.search, state.study
    space = replace(search.space, first=(), search=never_stopped(search.space.search))

    def draw() -> Trial | None:
        run = next_run(study)
        if run is None:
            return None
        number, seed = run
        return study.runs.add(study[number].params | {SEED: seed}, confirms=number)

    def drop_student(run: Trial) -> None:
        if run.is_done and (path := run.checkpoint) is not None:
            study.runs.drop_checkpoint(run.number)  # first: a kill in between leaves a folder, not a gap
            keeper.remove(path)

    keeper = Keeper(state, study.runs, session, "confirmation", drop_student)

    def is_over() -> bool:
        found = verdict(study)
        return found is not None and found.is_over

    return Stage(
        record=study.runs,
        space=space,
        draw=draw,
        keeper=keeper,
        runs=runs(study.runs),
        view=ConfirmationView(study),
        is_done=is_over,
    )


def never_stopped(search: SearchSettings) -> SearchSettings:
    """Copy of search settings that stops no trial early; a checkpoint is written every `grace_pairs`.

    The runs of a confirmation are compared by the objective alone.
    """
    return search.model_copy(update={"scheduler": "none", "second_objective": None})
