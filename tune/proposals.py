"""What to try next: Optuna's TPE, as a pure function of the seed and of the trials so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import optuna
from optuna.samplers import RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from tune.asha import Rungs
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
    for the trials under way), with a share of random ones that keeps it from settling early (as in BOHB,
    Falkner et al., 2018). TPE takes a complete trial for better than any stopped one, so it is shown the
    record in hindsight (`Rungs.in_hindsight`). Everything is built anew from the record, the random state
    from seed and trial number: a resumed search proposes what it would have proposed.

    Args:
        space: What is searched.
        study: All trials so far; the proposal becomes number `len(study)`.
    """
    number, search = len(study), space.search
    seed, coin = np.random.SeedSequence([search.seed, number]).generate_state(2).tolist()
    is_random = number < search.startup_trials or coin < search.random_share * 2**32
    sampler = RandomSampler(seed=seed) if is_random else TPESampler(n_startup_trials=0, seed=seed)
    history = optuna.create_study(direction=_direction(study.mode), sampler=sampler)
    rungs = Rungs.of(study, search)
    for trial in study:
        history.add_trial(_in_hindsight(space, trial, study.mode, rungs))
    if number < len(space.first):
        history.enqueue_trial(dict(space.first[number]))
    proposed = history.ask(dict(space.dimensions))
    return {name: proposed.params[name] for name in space.dimensions}


def to_optuna(space: Space, study: Study) -> optuna.study.Study:
    """The record as an Optuna study in memory, for importances and plots.

    A finished trial's value is the best that it reported, since that is the student that it keeps; a pruned
    one has its intermediate values only, by sentence pairs seen; a failed one has no value.
    """
    history = optuna.create_study(direction=_direction(study.mode))
    history.add_trials([_frozen(space, trial, study.mode) for trial in study])
    return history


def _direction(mode: Mode) -> StudyDirection:
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # no line a study on the screen
    return StudyDirection.MAXIMIZE if mode == "max" else StudyDirection.MINIMIZE


def _in_hindsight(space: Space, trial: Trial, mode: Mode, rungs: Rungs) -> FrozenTrial:
    values = rungs.in_hindsight(trial) if trial.state in ("COMPLETE", "PRUNED") else trial.values
    if len(values) == len(trial.values):
        return _frozen(space, trial, mode)
    return _frozen(space, replace(trial, state="PRUNED", values=values), mode)


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
