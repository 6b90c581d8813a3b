"""NePS through its ask-and-tell interface: PriorBand, Hyperband and ASHA.

All use their defaults: reduction factor 3, and rungs from the number of reports, which is the fidelity.
NePS's documentation recommends PriorBand where the user has a prior, and Hyperband elsewhere. Here no method
has a
prior, as all start without the trusted settings: PriorBand draws uniformly and around the best setting.
`ifbo` is left out, since it downloads the weights of its model. A score is one minus the objective at the
rung.

NePS 0.17.0 requires pandas below 3 and networkx below 3, but Themo pins newer versions. `make peers` installs
NePS with these two requirements overridden.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its imports cause torch's deprecation warnings
    import neps

from benchmarks.searches.peers.budgeted import Budgeted, Proposal
from benchmarks.searches.peers.facts import Facts
from benchmarks.searches.peers.places import n_places, params_of
from benchmarks.searches.peers.randomness import OwnRandomness
from benchmarks.searches.replay import Method
from tune.space.dimensions import Choice, Dimension, FloatRange
from tune.space.search_space import Space

FIDELITY = "reports"


class NepsMethod(Budgeted):
    """An optimizer of NePS.

    Args:
        space: The search space.
        algorithm: Its name in `neps.algorithms`.
        seed: Seed of the random states of the process, from which NePS draws.
        n_reports: Reports of a whole training.
    """

    def __init__(self, space: Space, algorithm: str, seed: int, n_reports: int) -> None:
        super().__init__()
        self._space, self._randomness = space, OwnRandomness(seed)
        logging.getLogger("neps").setLevel(logging.ERROR)  # PriorBand says that it has no prior
        with self._randomness.in_force():
            optimizer = getattr(neps.algorithms, algorithm)(_pipeline_space(space, n_reports))
        self._neps = neps.AskAndTell(optimizer)

    def propose(self) -> Proposal:
        """A new setting at a rung, or a known one at the next rung."""
        with self._randomness.in_force():
            asked = self._neps.ask()
        setting, _, _ = asked.id.partition("_")
        return Proposal(
            setting, params_of(self._space, asked.config), asked.config[FIDELITY], handle=asked.id
        )

    def tell(self, asked: Proposal, value: float, *, failed: bool) -> None:  # noqa: ARG002
        """Report one minus the objective; a failure has the worst score."""
        self._neps.tell(asked.handle, 1 - value)


def _pipeline_space(space: Space, n_reports: int) -> Any:
    domains = {name: _domain(dimension) for name, dimension in space.dimensions.items()}
    fidelity = neps.IntegerFidelity(lower=1, upper=n_reports)
    return type("Searched", (neps.PipelineSpace,), domains | {FIDELITY: fidelity})()


def _domain(dimension: Dimension) -> Any:
    match dimension:
        case FloatRange(low=low, high=high, log=log):
            return neps.Float(lower=low, upper=high, log=log)
        case Choice():
            return neps.Categorical(choices=tuple(range(n_places(dimension))))
        case _:
            return neps.Integer(lower=0, upper=n_places(dimension) - 1)


def priorband(space: Space, seed: int, facts: Facts) -> Method:
    """PriorBand over Hyperband's brackets, without a prior."""
    return NepsMethod(space, "priorband", seed, facts.n_reports)


def hyperband(space: Space, seed: int, facts: Facts) -> Method:
    """Hyperband, which NePS chooses for a space with a fidelity and without a prior."""
    return NepsMethod(space, "hyperband", seed, facts.n_reports)


def asha(space: Space, seed: int, facts: Facts) -> Method:
    """ASHA that promotes, recommended for many workers.

    It promotes settings that still train (`findings/neps-asha-promotes-unevaluated.sh`); these restart.
    """
    return NepsMethod(space, "asha", seed, facts.n_reports)
