"""The surrogate on settings outside its training data: its error, and the best predicted objective."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from benchmarks.measure import Row
from benchmarks.random_settings import draw
from benchmarks.searches.recording import AMOUNTS
from benchmarks.searches.replay import Oracle
from benchmarks.searches.surrogate import Floats, Surrogate, spread

FOLDS = 10
N_DRAWS = 3_000


@dataclass(frozen=True)
class Errors:
    """Predicted and recorded best objectives of settings that were left out, each of shape (settings,)."""

    predicted: Floats
    recorded: Floats

    @property
    def absolute(self) -> Floats:
        """Absolute errors of the objective."""
        return np.abs(self.predicted - self.recorded)

    @property
    def explained(self) -> float:
        """Share of the variance that is explained, on the surrogate's scale; 0: no better than the mean."""
        predicted, recorded = spread(self.predicted), spread(self.recorded)
        return 1 - float(((predicted - recorded) ** 2).sum() / ((recorded - recorded.mean()) ** 2).sum())


def errors_of(oracle: Oracle, folds: int = FOLDS, seed: int = 0) -> Errors:
    """Predict the complete recorded curves of each fold with a surrogate of the other folds."""
    whole = [curve for curve in oracle.firsts if curve.is_whole]
    order = np.random.default_rng(seed).permutation(len(whole))
    n_reports = max(len(curve.pairs) for curve in whole)
    predicted = np.empty(len(whole))
    for part in np.array_split(order, folds):
        left_out = {whole[i].number for i in part}
        known = [curve for curve in oracle.firsts if curve.number not in left_out]
        surrogate = Surrogate(oracle.space, known, n_reports)
        for i in part:
            predicted[i] = surrogate.predict(whole[i].params).values.max()
    return Errors(predicted, np.array([curve.best for curve in whole]))


def error_row(table: str, oracle: Oracle) -> Row:
    """The median absolute error of the predicted best objective, with its quartiles."""
    found = errors_of(oracle)
    low, middle, high = np.quantile(found.absolute, [0.25, 0.5, 0.75])
    rank = float(spearmanr(found.predicted, found.recorded).statistic)
    return Row(
        f"{table}: surrogate's error of left-out settings",
        float(middle),
        "objective",
        spread=(float(low), float(high)),
        detail=f"{len(found.recorded)} whole curves, {FOLDS} folds; quartiles; rank correlation {rank:.2f}; "
        f"{found.explained:.0%} of the variance explained, on a logarithmic scale",
        seeds=(0,),
    )


def reach_row(table: str, oracle: Oracle, n: int = N_DRAWS) -> Row:
    """The best objective that the surrogate predicts for uniform draws that were not recorded."""
    n_recorded = AMOUNTS[table].n_random
    bests = [oracle.predicted(params).best for params in draw(n_recorded + n)[n_recorded:]]
    n_above = sum(best >= oracle.bar for best in bests)
    n_curves = sum(curve.best >= oracle.bar for curve in oracle.firsts)
    return Row(
        f"{table}: surrogate's best of settings not recorded",
        max(bests),
        "objective",
        detail=f"{n_above} of {n:,} uniform draws and {n_curves} of {len(oracle.firsts)} recorded settings "
        f"reach the target, {oracle.bar:.4f}",
        seeds=(0,),
    )
