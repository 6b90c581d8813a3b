"""Random states for libraries that draw from the states of the process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class OwnRandomness:
    """Random states of Python, NumPy and torch that belong to one method.

    Args:
        seed: Seed of all three.
    """

    def __init__(self, seed: int) -> None:
        own = np.random.RandomState(seed).get_state()
        self._states = random.Random(seed).getstate(), own, torch.Generator().manual_seed(seed).get_state()

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Context in which the process has these states; the previous states are restored at the end."""
        before = _get()
        _set(self._states)
        try:
            yield
        finally:
            self._states = _get()
            _set(before)


def _get() -> tuple[Any, Any, torch.Tensor]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002


def _set(states: tuple[Any, Any, torch.Tensor]) -> None:
    of_python, of_numpy, of_torch = states
    random.setstate(of_python)
    np.random.set_state(of_numpy)  # noqa: NPY002
    torch.set_rng_state(of_torch)
