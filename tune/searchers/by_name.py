"""The settings of the next trial, by the searcher that a search names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import qmc

from tune.searchers import evolution
from tune.searchers.distributions import distributions_of
from tune.searchers.history import to_optuna
from tune.space.cube import decode
from tune.space.dimensions import Scalar
from tune.space.search_space import Space
from tune.study.study import Study
from tune.study.trial_record import Trial
from tune.study.tried import draw_untried, is_tried

_DRAWS = 16
"""How often a searcher draws again before settings are drawn among all that are left."""

_POINTS = 256
"""How many points of a Sobol sequence are tried before that."""


def propose(space: Space, study: Study) -> dict[str, Scalar]:
    """The next trial's settings.

    The trusted settings of `space.first` come first, what they leave open proposed like all others. Then

    - ``tpe``: Optuna's TPE (Bergstra et al., 2011, "Algorithms for Hyper-Parameter Optimization";
      multivariate, with a constant liar for the trials under way), which knows stopped trials as such.
    - ``gp``: Optuna's Gaussian process with expected improvement. A stopped trial counts with the best that
      it reached, a failed one as the worst of all.
    - ``cmaes``: `tune.searchers.evolution` for ranges, choices at random. Trials count as with ``gp``.
    - ``random``: every value of a range or choice alike.
    - ``quasi-random``: points of a scrambled Sobol sequence, which leaves no part of the space out. Trusted
      trials use none of them up.

    The first three begin with `startup_trials` at random; trials carried over from another search count among
    them, but for ``cmaes``, which begins around the best of both. Everything is built anew from the record,
    every random state from seed and trial number: a resumed search proposes what it would have proposed.

    A run is deterministic, so that settings which a trial has already, also a carried one, are not proposed:
    the searcher draws again with other random states, a Sobol sequence goes on to its next point, and where
    that does not help, settings are drawn at random among those that are left. Trusted settings are
    tried in any case.

    Args:
        space: What is searched; has settings left that are not tried (`tune.study.tried.most_trials`).
        study: All trials so far; the proposal becomes number `len(study)`.
    """
    number, trusted = len(study), _trusted(space, len(study))
    drawn: dict[str, Scalar] = {}
    for drawn in _draws(space, study, trusted):
        if len(trusted) == len(space.dimensions) or not is_tried(space, study, drawn):
            return drawn
    random = np.random.default_rng(np.random.SeedSequence([space.search.seed, number, _DRAWS]))
    return draw_untried(space, study, trusted, random) or drawn  # a trusted trial may find nothing else


def _draws(space: Space, study: Study, trusted: Mapping[str, Scalar]) -> Iterator[dict[str, Scalar]]:
    """What a searcher proposes, and then would propose instead, if it were to draw again."""
    number = len(study)
    if space.search.searcher == "quasi-random" and number >= len(space.first):
        yield from _sobol_points(space, number - len(space.first))
        return
    n_draws = _DRAWS if space.search.searcher != "gp" else 2  # a draw of the process takes a second
    for draw in range(n_draws):
        entropy = [space.search.seed, number, draw] if draw else [space.search.seed, number]
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        yield {**_draw(space, study, seed), **trusted}


def _sobol_points(space: Space, n_before: int) -> Iterator[dict[str, Scalar]]:
    """Points of the scrambled Sobol sequence after those of earlier proposals; trusted trials take none.

    A point that was passed over as tried needs no count: it is tried, or was taken, at each later proposal.
    """
    sequence = qmc.Sobol(len(space.dimensions), rng=np.random.default_rng(space.search.seed))
    if n_before:
        sequence.fast_forward(n_before)
    for _ in range(_POINTS):
        place = sequence.random(1)[0]
        yield {n: decode(d, float(p)) for (n, d), p in zip(space.dimensions.items(), place, strict=True)}


def _draw(space: Space, study: Study, seed: int) -> dict[str, Scalar]:
    """A proposal of the searcher, with what is trusted for this trial where Optuna's samplers are asked."""
    n_startup = space.search.startup_trials
    match space.search.searcher:
        case "tpe":
            return _ask(space, study, _Tpe(n_startup_trials=n_startup, seed=seed))
        case "gp":
            # two at least: of a single trial no process can be fitted
            gp = GPSampler(n_startup_trials=max(2, n_startup), seed=seed, warn_independent_sampling=False)
            return _ask(space, _all_complete(study), gp)
        case "random" | "quasi-random":  # of the latter: what trusted settings leave open
            return _ask(space, study, RandomSampler(seed=seed))
        case "cmaes":
            drawn = _ask(space, study, RandomSampler(seed=seed))
            if len(study) >= n_startup:
                drawn |= evolution.sample(space, study, _scores(study), seed)
            return drawn


class _Tpe(TPESampler):
    """Optuna's compares every distribution of every trial at each proposal; here they are the space's."""

    def infer_relative_search_space(
        self,
        study: optuna.study.Study,
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """The settings that all trials have that ended, sorted by name, and more than one value for each."""
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        if not ended:
            return {}
        known = ended[0].distributions
        shared = set(known).intersection(*(past.distributions for past in ended))
        return {name: known[name] for name in sorted(shared) if not known[name].single()}


def _ask(space: Space, study: Study, sampler: BaseSampler) -> dict[str, Scalar]:
    """A proposal by one of Optuna's samplers."""
    history = to_optuna(space, study, sampler)
    if trusted := _trusted(space, len(study)):
        history.enqueue_trial(trusted)
    trial = history.ask(distributions_of(space.dimensions))
    return {name: trial.params[name] for name in space.dimensions}


def _trusted(space: Space, number: int) -> dict[str, Scalar]:
    return dict(space.first[number]) if number < len(space.first) else {}


def _scores(study: Study) -> dict[int, float]:
    """What each trial that does not run has reached, the greater the better; a failed one as the worst."""
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


def _all_complete(study: Study) -> Study:
    """The record for a searcher that learns of complete trials only."""
    sign = 1 if study.mode == "max" else -1
    scores = _scores(study)

    def complete(trial: Trial) -> Trial:
        if trial.number not in scores:
            return trial
        return replace(trial, state="COMPLETE", values={trial.pairs_seen: sign * scores[trial.number]})

    carried = [complete(trial) for trial in study.carried]
    return Study(None, study.mode, [complete(trial) for trial in study], carried)
