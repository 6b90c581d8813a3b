"""The record as an Optuna study, for proposals and importances, without copying trials.

Optuna's in-memory storage copies every trial that is added, which makes a proposal from 1,000 trials five
times as expensive.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tune.searchers.distributions import distribution_of
from tune.space.dimensions import Scalar, contains
from tune.space.search_space import Space
from tune.study.resource import curve_of
from tune.study.study import Study
from tune.study.trial_record import Mode, Trial

_STATES = {
    "RUNNING": TrialState.RUNNING,
    "PAUSED": TrialState.PRUNED,  # until it resumes, only its values are known
    "COMPLETE": TrialState.COMPLETE,
    "PRUNED": TrialState.PRUNED,
    "FAIL": TrialState.FAIL,
}

_STUDY_ID = 0

_ended: WeakKeyDictionary[Study, tuple[Space, bool, dict[int, FrozenTrial]]] = WeakKeyDictionary()
"""Cache of ended trials, of the records of this process."""


def to_optuna(
    space: Space, study: Study, sampler: BaseSampler | None = None, *, by_cost: bool = False
) -> optuna.study.Study:
    """The record as an Optuna study in memory; it proposes trials but accepts no results.

    A complete trial's value is its best report, which is that of the student kept. A pruned trial has only
    its intermediate values, by the search's resource. A failed trial has no value.

    With `by_cost` the logarithm of the cost is minimised too. Optuna has no pruned trials of two objectives,
    so a pruned one with a report is complete, with its best objective.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # else it prints a line for each study
    known_space, known_by_cost, ended = _ended.get(study, (space, by_cost, {}))
    if known_space is not space or known_by_cost != by_cost:
        ended = {}
    _ended[study] = (space, by_cost, ended)
    trials = []
    for position, trial in enumerate((*study.carried, *study)):
        frozen = ended.get(position)
        if frozen is None or not _is_still(frozen, trial, by_cost):
            frozen = _frozen(space, trial, study.mode, position, by_cost)
        if trial.is_done:
            ended[position] = frozen
        trials.append(frozen)
    directions = [StudyDirection.MAXIMIZE if study.mode == "max" else StudyDirection.MINIMIZE]
    directions += [StudyDirection.MINIMIZE] if by_cost else []
    return optuna.study.Study("record", History(directions, trials), sampler=sampler)


class History(BaseStorage):
    """Optuna storage of past trials, read only, and of the trials that Optuna proposes.

    Args:
        directions: Directions of the objectives.
        past: Past trials, numbered from 0.
    """

    def __init__(self, directions: Sequence[StudyDirection], past: Sequence[FrozenTrial]) -> None:
        self._directions = list(directions)
        self._n_past = len(past)
        self._trials = list(past)
        self._attributes: dict[str, Any] = {}

    def get_study_id_from_name(self, study_name: str) -> int:  # noqa: ARG002
        """The id of the only study."""
        return _STUDY_ID

    def get_study_name_from_id(self, study_id: int) -> str:  # noqa: ARG002
        """The name of the only study."""
        return "record"

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:  # noqa: ARG002
        """The directions of the objectives."""
        return self._directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:  # noqa: ARG002
        """None."""
        return {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:  # noqa: ARG002
        """System attributes set by a sampler."""
        return self._attributes

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:  # noqa: ARG002
        """Set a system attribute of the study."""
        self._attributes[key] = value

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """A trial by its number, which is its id."""
        return self._trials[trial_id]

    def get_all_trials(
        self,
        study_id: int,  # noqa: ARG002
        deepcopy: bool = True,  # noqa: ARG002 -- no caller here changes a trial
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """The trials in the given states, or all."""
        return [trial for trial in self._trials if states is None or trial.state in states]

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:  # noqa: ARG002
        """Start a trial, or queue one."""
        number = len(self._trials)
        state = TrialState.RUNNING if template_trial is None else template_trial.state
        attributes = {} if template_trial is None else dict(template_trial.system_attrs)
        self._trials.append(_trial(number, state, system_attrs=attributes))
        return number

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Set a proposed parameter of a trial."""
        trial = self._begun(trial_id)
        trial.params = trial.params | {param_name: distribution.to_external_repr(param_value_internal)}
        trial.distributions = trial.distributions | {param_name: distribution}

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Take a trial from the queue; False if it was taken before."""
        trial = self._begun(trial_id)
        if state == TrialState.RUNNING and trial.state != TrialState.WAITING:
            return False
        trial.state = state
        if values is not None:
            trial.values = list(values)
        return True

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a system attribute of a trial."""
        self._begun(trial_id).system_attrs[key] = value

    def _begun(self, trial_id: int) -> FrozenTrial:
        if trial_id < self._n_past:
            raise RuntimeError(f"trial {trial_id} is a past trial and read only")
        return self._trials[trial_id]

    def _not_of_a_record(self, *_: object, **__: object) -> NoReturn:
        raise NotImplementedError("not supported: a record is read only")

    create_new_study: Callable[..., int] = _not_of_a_record
    delete_study: Callable[..., None] = _not_of_a_record
    set_study_user_attr: Callable[..., None] = _not_of_a_record
    get_all_studies: Callable[..., Any] = _not_of_a_record
    set_trial_intermediate_value: Callable[..., None] = _not_of_a_record
    set_trial_user_attr: Callable[..., None] = _not_of_a_record


def _state(trial: Trial, by_cost: bool) -> TrialState:
    is_complete = by_cost and trial.state in ("PAUSED", "PRUNED") and bool(trial.values)
    return TrialState.COMPLETE if is_complete else _STATES[trial.state]


def _is_still(frozen: FrozenTrial, trial: Trial, by_cost: bool) -> bool:
    """Whether a trial is unchanged since it was cached: a stopped one may resume in an enlarged search."""
    is_as_long = len(frozen.intermediate_values) == len(trial.values)
    return frozen.state == _state(trial, by_cost) and is_as_long


def _frozen(space: Space, trial: Trial, mode: Mode, position: int, by_cost: bool) -> FrozenTrial:
    known, state = _within(space, trial.params), _state(trial, by_cost)
    of_cost = [math.log(trial.cost)] if by_cost and trial.cost is not None else []
    return _trial(
        position,
        state,
        values=[trial.best(mode), *of_cost] if state == TrialState.COMPLETE else None,
        params=known,
        distributions={name: distribution_of(space.dimensions[name]) for name in known},
        intermediate_values=_steps(trial, space),
    )


def _steps(trial: Trial, space: Space) -> dict[int, float]:
    """Values of the objective by Optuna's whole steps: sentence pairs, or milliseconds of training."""
    if space.search.resource == "pairs":
        return dict(trial.values)
    return {round(1000 * at): value for at, value in curve_of(trial, "seconds").items()}


def _trial(number: int, state: TrialState, **known: Any) -> FrozenTrial:
    nothing: dict[str, Any] = {
        "values": None,
        "params": {},
        "distributions": {},
        "intermediate_values": {},
        "user_attrs": {},
        "system_attrs": {},
    }
    # proposals and importances do not depend on times
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        datetime_start=None,
        datetime_complete=None,
        value=None,
        **nothing | known,
    )


def _within(space: Space, params: Mapping[str, Scalar]) -> dict[str, Scalar]:
    dimensions = space.dimensions
    return {name: v for name, v in params.items() if name in dimensions and contains(dimensions[name], v)}
