"""Resources of a trial, and the cluster that provides them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from themo.errors import InputError

if TYPE_CHECKING:
    from themo.process.devices import Device
    from tune.cluster.connection import Machine

LOCAL = "local"
"""Address that starts a cluster on this machine even where RAY_ADDRESS is set."""


@dataclass(frozen=True)
class Resources:
    """Resources of a trial, and the cluster that provides them.

    Attributes:
        cpus_per_trial: CPUs of a trial; a fraction shares a CPU among trials.
        gpus_per_trial: GPUs of a trial; a fraction shares a GPU among trials, a number above 1 trains a trial
            on several GPUs. None: 1 on a cluster with GPUs, else 0.
        max_concurrent: Maximum number of concurrent trials; None: as many as the cluster holds.
        address: A running Ray cluster; None, or "local", starts one on this machine.
        by_memory: Whether trials share GPUs by the memory use of the first trials (`tune.worker.memory`).
        storage_path: Folder or URI for checkpoints, shared by all machines of the cluster; None: the search
            directory.
    """

    cpus_per_trial: float = 1.0
    gpus_per_trial: float | None = None
    max_concurrent: int | None = None
    address: str | None = None
    storage_path: str | None = None
    by_memory: bool = False

    def __post_init__(self) -> None:
        if self.address == LOCAL:
            object.__setattr__(self, "address", None)
        if not self.cpus_per_trial > 0:
            raise InputError(f"--cpus-per-trial must be above 0, got {self.cpus_per_trial:g}")
        if self.gpus_per_trial is not None and not self.gpus_per_trial >= 0:
            raise InputError(f"--gpus-per-trial must be at least 0, got {self.gpus_per_trial:g}")
        if self.workers > 1 and self.workers != self.gpus_per_trial:
            raise InputError(f"--gpus-per-trial must be a whole number above 1, got {self.gpus_per_trial:g}")
        if self.max_concurrent is not None and self.max_concurrent < 1:
            raise InputError(f"--max-concurrent must be at least 1, got {self.max_concurrent}")

    @property
    def workers(self) -> int:
        """Number of processes that train a trial together, one GPU each, on one or several machines."""
        return max(1, math.ceil(self.gpus_per_trial or 0.0))

    @property
    def of_worker(self) -> dict[str, float]:
        """Resources of one worker process, by Ray's names."""
        gpus = self.gpus_per_trial or 0.0
        return {"CPU": self.cpus_per_trial / self.workers, "GPU": gpus / self.workers}

    @property
    def threads(self) -> int:
        """Default number of threads of a worker process: its share of CPUs, at least 1."""
        return max(1, math.floor(self.of_worker["CPU"]))

    def refuse_no_gpus(self, device: Device) -> None:
        """Refuse a device that requires a GPU if trials get none.

        Raises:
            InputError: `device` is ``cuda`` and trials get no GPU.
        """
        if device == "cuda" and self.gpus_per_trial == 0:
            raise InputError(
                "--gpus-per-trial must be above 0, on machines with GPUs, where --device is cuda, got 0"
            )

    def on(self, machines: Sequence[Machine]) -> Resources:
        """Return a copy with `gpus_per_trial` set from the GPUs of the machines."""
        if self.gpus_per_trial is not None:
            return self
        return replace(self, gpus_per_trial=float(any(machine.get("GPU", 0.0) >= 1 for machine in machines)))
