"""Searches of other libraries as methods of replays, each by the library's own code.

| name | library | left out |
|---|---|---|
| optuna-hyperband, optuna-median, optuna-wilcoxon | Optuna 5.0.0 | |
| ray-optuna-asha | Ray 2.60.0 | |
| ray-bohb | Ray 2.60.0, HpBandSter 0.7.4 | from `make peers`: needs a C compiler |
| syne-tune-asha, syne-tune-bohb, syne-tune-ashacqr | Syne Tune 0.16.0 | |
| neps-priorband, neps-hyperband, neps-asha | NePS 0.17.0 | ifbo: downloads weights |
| smac-multi-fidelity | SMAC3 2.4.1 | |
| random | NumPy | |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from benchmarks.searches.peers.facts import Facts
from benchmarks.searches.replay import Method
from tune.space.search_space import Space

Factory = Callable[[Space, int, Facts], Method]
"""Makes a method from the space, a seed and the facts of the task."""


class PeerMissingError(ImportError):
    """A package of a peer is not installed; the message names it."""


@dataclass(frozen=True)
class Peer:
    """A search of another library, imported at its first use.

    Attributes:
        name: Its name in tables.
        module: Its module here.
        function: Its factory there.
        requires: Modules that it imports, by the package that brings them.
    """

    name: str
    module: str
    function: str
    requires: Mapping[str, str]

    def missing(self) -> str | None:
        """The line that names the package to install; None if nothing is missing."""
        for package, module in self.requires.items():
            if find_spec(module) is None:
                return f"{self.name}: package {package} is not installed: make peers"
        return None

    def __call__(self, space: Space, seed: int, facts: Facts) -> Method:
        """A method with this seed.

        Raises:
            PeerMissingError: A package is not installed.
        """
        if (line := self.missing()) is not None:
            raise PeerMissingError(line)
        factory: Factory = getattr(import_module(f"{__name__}.{self.module}"), self.function)
        return factory(space, seed, facts)


_SYNE_TUNE = {"syne-tune": "syne_tune"}
_NEPS = {"neural-pipeline-search": "neps"}
_BOHB = {"configspace": "ConfigSpace", "hpbandster": "hpbandster", "netifaces": "netifaces"}

_ALL = (
    Peer("random", "random_search", "random_search", {}),
    Peer("optuna-hyperband", "optuna_methods", "with_hyperband", {}),
    Peer("optuna-median", "optuna_methods", "with_median", {}),
    Peer("optuna-wilcoxon", "optuna_methods", "with_wilcoxon", {}),
    Peer("ray-optuna-asha", "ray_methods", "optuna_with_asha", {}),
    Peer("ray-bohb", "ray_methods", "bohb", _BOHB),
    Peer("syne-tune-asha", "syne_tune_methods", "asha", _SYNE_TUNE),
    Peer("syne-tune-bohb", "syne_tune_methods", "bohb", _SYNE_TUNE),
    Peer("syne-tune-ashacqr", "syne_tune_methods", "ashacqr", _SYNE_TUNE),
    Peer("neps-priorband", "neps_methods", "priorband", _NEPS),
    Peer("neps-hyperband", "neps_methods", "hyperband", _NEPS),
    Peer("neps-asha", "neps_methods", "asha", _NEPS),
    Peer("smac-multi-fidelity", "smac_methods", "multi_fidelity", {"smac": "smac"}),
)

PEERS: Mapping[str, Peer] = {peer.name: peer for peer in _ALL}
"""All peers by name."""
