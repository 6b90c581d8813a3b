"""Proposes the settings of the next trial by the searcher of a search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from tune.forecasts.forecasts import are_possible, forecasts_of
from tune.searchers import evolution, quasi_random
from tune.searchers.conditional_tpe import ConditionalTpe
from tune.searchers.distributions import distributions_of
from tune.searchers.history import to_optuna
from tune.space.cube import decode
from tune.space.dimensions import Scalar
from tune.space.search_space import Space
from tune.study.study import Study
from tune.study.trial_record import Trial
from tune.study.tried import draw_untried, is_tried

_N_DRAWS = 16
"""Largest number of draws of a searcher, the first included, before settings are drawn at random from all
untried ones."""


def propose(space: Space, study: Study) -> dict[str, Scalar]:
    """The next trial's settings.

    The trusted settings of `space.first` come first; dimensions that they leave open are proposed like all
    others. The proposals of a warm start follow (`Study.proposals`). Then

    - ``tpe``: Optuna's TPE (Bergstra et al., 2011, "Algorithms for Hyper-Parameter Optimization";
      multivariate, with a constant liar for running trials), which treats stopped trials as pruned.
    - ``gp``: Optuna's Gaussian process with expected improvement. A stopped trial counts with its best
      objective, a failed one as the worst of all.
    - ``cmaes``: `tune.searchers.evolution` for ranges, choices at random. Trials count as with ``gp``.
    - ``forecast``: the largest expected gain at the end of a curve (`tune.forecasts`), after first points of
      ``quasi-random``.
    - ``random``: uniform over each range or choice.
    - ``quasi-random``: `tune.searchers.quasi_random`, points that cover the space evenly. Trusted trials use
      no points.

    With two objectives ``tpe`` and ``gp`` model both, the cost by its logarithm; ``tpe`` then counts a
    stopped trial with its best objective too. It is multivariate with one objective and with two. Optuna's
    default with two is independent, a model per setting; the fronts of both were alike on two formulas of
    five settings (12 seeds of 48 trials each), so one rule serves both.

    A conditional setting is drawn like all others and left out where it is inactive. ``tpe`` then models
    settings that are active together as a group. To ``gp`` an inactive setting has the middle of its range,
    to ``cmaes`` the mean of its distribution, which does not move.

    The first three start with `startup_trials` random trials. Trials carried over from another search count
    among them, except for ``cmaes``, which starts around the best of both. Every searcher is rebuilt from the
    record, and every random state from seed, trial number and carried settings (`Study.salt`): a resumed
    search makes the same proposals.

    Training is deterministic, so settings of an earlier or carried trial are not proposed again: the searcher
    draws again with other random states, a Sobol sequence advances to its next point, and if that does not
    help, settings are drawn at random from the untried ones. Trusted settings are tried in any case.

    Args:
        space: The search space, with untried settings left (`tune.study.tried.most_trials`).
        study: All trials so far; the proposal becomes number `len(study)`.
    """
    number, trusted = len(study), _trusted(space, len(study))
    if (proposal := _proposal(space, study)) is not None:
        return proposal
    drawn: dict[str, Scalar] = {}
    for drawn in _draws(space, study, trusted):
        if space.is_complete(trusted) or not is_tried(space, study, drawn):
            return drawn
    # this draw follows those of the searcher, which are numbered from 0 in their entropy
    entropy = [space.search.seed, number, _N_DRAWS, *study.salt]
    random = np.random.default_rng(np.random.SeedSequence(entropy))
    return (
        draw_untried(space, study, trusted, random, near=drawn) or drawn
    )  # no other completion of a trusted trial may exist


def _proposal(space: Space, study: Study) -> dict[str, Scalar] | None:
    """The warm start's proposal for the next trial; None: no proposal left, or already tried."""
    place = len(study) - len(space.first)
    if not 0 <= place < len(study.proposals):
        return None
    proposal = dict(study.proposals[place])
    return None if is_tried(space, study, proposal) else proposal


def _draws(space: Space, study: Study, trusted: Mapping[str, Scalar]) -> Iterator[dict[str, Scalar]]:
    """A searcher's draws: its proposal, then others if that was tried."""
    number, is_started = len(study), len(study) >= max(space.search.startup_trials, len(space.first))
    if space.search.searcher == "forecast" and is_started and are_possible(study):
        yield from islice(forecasts_of(space, study).proposals(), _N_DRAWS)
        return
    if space.search.searcher in ("quasi-random", "forecast") and number >= len(space.first):
        # skipped points need no count: each later proposal skips them again, as tried
        yield from map(space.active, quasi_random.points(space, number - len(space.first), study.salt))
        return
    n_draws = _N_DRAWS if space.search.searcher != "gp" else 2  # a draw of the process takes a second
    for draw in range(n_draws):
        own_draw = [draw] if draw or study.salt else []
        entropy = [space.search.seed, number, *own_draw, *study.salt]
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        yield space.active({**_draw(space, study, seed), **trusted})


def _draw(space: Space, study: Study, seed: int) -> dict[str, Scalar]:
    """A proposal for all dimensions, inactive ones too; Optuna's samplers receive trusted values."""
    n_startup = space.search.startup_trials
    match space.search.searcher:
        case "tpe":
            if space.conditions:
                trusted = _trusted(space, len(study))
                sampler = ConditionalTpe(space, trusted, n_startup_trials=n_startup, seed=seed)
                return _ask(space, study, sampler)
            return _ask(space, study, _Tpe(n_startup_trials=n_startup, seed=seed, multivariate=True))
        case "gp":
            # at least two: a process cannot be fitted to a single trial
            gp = GPSampler(n_startup_trials=max(2, n_startup), seed=seed, warn_independent_sampling=False)
            return _ask(space, _all_complete(_filled(space, study)), gp)
        case (
            "random" | "quasi-random" | "forecast"
        ):  # "quasi-random": dimensions that trusted settings leave open
            return _ask(space, study, RandomSampler(seed=seed))
        case "cmaes":
            drawn = _ask(space, study, RandomSampler(seed=seed))
            if len(study) >= n_startup:
                drawn |= evolution.sample(space, study, _scores(study), seed)
            return drawn


class _Tpe(TPESampler):
    """Optuna's TPE without its comparison of every distribution of every trial, slow at each proposal."""

    def infer_relative_search_space(
        self,
        study: optuna.study.Study,
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Dimensions that all ended trials have and that hold more than one value, sorted by name."""
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        if not ended:
            return {}
        known = ended[0].distributions
        shared = set(known).intersection(*(past.distributions for past in ended))
        return {name: known[name] for name in sorted(shared) if not known[name].single()}


def _ask(space: Space, study: Study, sampler: BaseSampler) -> dict[str, Scalar]:
    """A proposal of one of Optuna's samplers."""
    history = to_optuna(space, study, sampler, by_cost=space.search.second_objective is not None)
    if trusted := _trusted(space, len(study)):
        history.enqueue_trial(trusted)
    trial = history.ask(distributions_of(space.dimensions))
    return {name: trial.params[name] for name in space.dimensions}


def _trusted(space: Space, number: int) -> dict[str, Scalar]:
    return dict(space.first[number]) if number < len(space.first) else {}


def _scores(study: Study) -> dict[int, float]:
    """Score of each trial that is not running, higher is better; a failed one has the worst score."""
    sign = 1 if study.mode == "max" else -1
    bests = {
        trial.number: trial.best(study.mode)
        for trial in (*study.carried, *study)
        if trial.state not in ("RUNNING", "FAIL")
    }
    scores = {number: sign * best for number, best in bests.items() if best is not None}
    if scores:
        scores |= {trial.number: min(scores.values()) for trial in study if trial.state == "FAIL"}
    return scores


def _filled(space: Space, study: Study) -> Study:
    """The record with the middle of its dimension for each inactive setting."""
    if not space.conditions:
        return study

    def fill(trial: Trial) -> Trial:
        inactive = [name for name in space.conditions if not space.is_active(name, trial.params)]
        middle = {name: decode(space.dimensions[name], 0.5) for name in inactive}
        return replace(trial, params=trial.params | middle)

    return Study(None, study.mode, [*map(fill, study)], [*map(fill, study.carried)])


def _all_complete(study: Study) -> Study:
    """The record for a searcher that learns from complete trials only."""
    sign = 1 if study.mode == "max" else -1
    scores = _scores(study)
    costly = [trial for trial in (*study.carried, *study) if trial.cost is not None]
    dearest = max(costly, key=_cost, default=None)

    def complete(trial: Trial) -> Trial:
        if trial.number not in scores:
            return trial
        values = {trial.pairs_seen: sign * scores[trial.number]}
        metrics = trial.metrics if dearest is None or trial.state != "FAIL" else dearest.metrics
        return replace(trial, state="COMPLETE", values=values, metrics=metrics)

    carried = [complete(trial) for trial in study.carried]
    return Study(None, study.mode, [complete(trial) for trial in study], carried)


def _cost(trial: Trial) -> float:
    return trial.cost or 0.0
