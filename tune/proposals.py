"""What to try next: Optuna's TPE, as a pure function of the seed and of the trials so far."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from tune.space import Scalar, Space, contains
from tune.study import Mode, Study, Trial

_STATES = {
    "RUNNING": TrialState.RUNNING,
    "COMPLETE": TrialState.COMPLETE,
    "PRUNED": TrialState.PRUNED,
    "FAIL": TrialState.FAIL,
}


def propose(space: Space, study: Study) -> dict[str, Scalar]:
    """The next trial's settings.

    The trusted settings of `space.first` come first, those that they leave open drawn at random. Then TPE
    (Bergstra et al., 2011, "Algorithms for Hyper-Parameter Optimization"; multivariate, with a constant liar
    for the trials under way). Everything is built anew from the record, the sampler's random state from seed
    and trial number: a resumed search proposes what it would have proposed.

    Args:
        space: What is searched.
        study: All trials so far; the proposal becomes number `len(study)`.
    """
    number = len(study)
    seed = int(np.random.SeedSequence([space.search.seed, number]).generate_state(1)[0])
    sampler = TPESampler(n_startup_trials=space.search.startup_trials, seed=seed)
    history = to_optuna(space, study, sampler)
    if number < len(space.first):
        history.enqueue_trial(dict(space.first[number]))
    trial = history.ask(dict(space.dimensions))
    return {name: trial.params[name] for name in space.dimensions}


def to_optuna(
    space: Space, study: Study, sampler: optuna.samplers.BaseSampler | None = None
) -> optuna.study.Study:
    """The record as an Optuna study in memory, for proposals, importances and plots.

    A finished trial's value is the best that it reported, since that is the student that it keeps; a pruned
    one has its intermediate values only, by sentence pairs seen; a failed one has no value.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # no line a study on the screen
    direction = StudyDirection.MAXIMIZE if study.mode == "max" else StudyDirection.MINIMIZE
    history = optuna.create_study(direction=direction, sampler=sampler)
    history.add_trials([_frozen(space, trial, study.mode) for trial in study])
    return history


def _frozen(space: Space, trial: Trial, mode: Mode) -> FrozenTrial:
    known = _within(space, trial.params)
    return create_trial(
        state=_STATES[trial.state],
        params=known,
        distributions={name: space.dimensions[name] for name in known},
        intermediate_values=dict(trial.values),
        value=trial.best(mode) if trial.state == "COMPLETE" else None,
        user_attrs={"number": trial.number, "reason": trial.reason},
    )


def _within(space: Space, params: Mapping[str, Scalar]) -> dict[str, Scalar]:
    dimensions = space.dimensions
    return {name: v for name, v in params.items() if name in dimensions and contains(dimensions[name], v)}
