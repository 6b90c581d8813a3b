"""Clusters of the tests' own process, also where a machine is too busy to start one at the first attempt."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tune.cluster.connection import RAY_VARIABLES, leave

_ATTEMPTS = 5

_HERE = Path(__file__).parent
PATH = os.pathsep.join([str(_HERE), str(_HERE.parent.parent), os.environ.get("PYTHONPATH", "")])
"""PYTHONPATH of workers that import this folder's modules."""


@contextmanager
def one_machine(**options: float) -> Iterator[None]:
    """A cluster of this machine, by `ray.init` with these options."""
    import ray

    def start() -> None:
        # any other address would be that of a cluster that another test has left
        ray.init(address="local", include_dashboard=False, log_to_driver=False, **options)

    with _environment():
        try:
            _start(start, leave)
            yield
        finally:
            leave()


@contextmanager
def several_machines(*machines: Mapping[str, float]) -> Iterator[None]:
    """A cluster of several nodes on this machine, of these resources each, which this process has joined."""
    import ray
    from ray.cluster_utils import Cluster

    begun: list[Cluster] = []

    def start() -> None:
        begun.append(Cluster())
        for machine in machines:
            begun[-1].add_node(include_dashboard=False, **machine)
        ray.init(address=begun[-1].address, log_to_driver=False)

    def end() -> None:
        leave()
        begun.pop().shutdown()

    with _environment():
        try:
            _start(start, end)
            yield
        finally:
            if begun:
                end()


def _start(start: Callable[[], None], end: Callable[[], None]) -> None:
    """Start a cluster, again where Ray gives it up: after 15 s for some of its processes, 30 s for all."""
    for attempt in range(_ATTEMPTS):
        try:
            return start()
        except Exception:  # Ray has no kind of its own for it
            if attempt == _ATTEMPTS - 1:
                raise
            end()
    return None


@contextmanager
def _environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", PATH)
        for name, value in RAY_VARIABLES.items():
            patch.setenv(name, os.environ.get(name, value))
        yield
