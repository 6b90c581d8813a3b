"""Number of trials that a cluster holds at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from themo.errors import InputError
from themo.process.progress import console
from tune.cluster.connection import Cluster, Machine
from tune.cluster.resources import Resources

_SECONDS_BETWEEN_COUNTS = 5.0


class Slots:
    """Number of trials that a cluster holds at once, as its machines come and go.

    Args:
        resources: Resources of a trial.
        cluster: The cluster; counted now, and again when the last count is older than a few seconds.
        share: Returns the current `gpus_per_trial`, if that changes during a search.
        wait: Maximum seconds to wait for machines to come back if the cluster cannot hold a trial now.

    Raises:
        InputError: The cluster cannot hold a trial after the wait.
    """

    def __init__(
        self,
        resources: Resources,
        cluster: Cluster,
        share: Callable[[], float] | None = None,
        *,
        wait: float = 0.0,
    ) -> None:
        self._resources = resources
        self._cluster = cluster
        self._share = share
        self._gpus = 0.0
        self._waits = False
        self._now = self.most = 1
        end = time.monotonic() + wait
        while time.monotonic() < end:
            self._count_again()
            if not self._waits:
                return
            time.sleep(_SECONDS_BETWEEN_COUNTS)
        self._now = self.most = self._count()

    def __call__(self) -> int:
        """The number of slots, at least 1: a trial that fits no machine waits in Ray's queue."""
        is_old = time.monotonic() - self._counted > _SECONDS_BETWEEN_COUNTS
        if is_old or (self._share and self._share() != self._resources.gpus_per_trial):
            self._count_again()
        return self._now

    def _count_again(self) -> None:
        try:
            self._now, waits = self._count(), False
        except InputError:
            self._now, waits = 1, True
        self._print_change(waits)
        self.most = max(self.most, self._now)

    def _print_change(self, waits: bool) -> None:
        """Print once when the cluster cannot hold a trial any more, and when it can again."""
        if waits == self._waits:
            return
        self._waits = waits
        wanted, workers = self._resources.of_worker, self._resources.workers
        machine = "machine" if workers == 1 else f"{workers} places on machines"
        if waits:
            console.print(
                f"Warning: the cluster has no {machine} for a trial now ({wanted['CPU']:g} CPUs, "
                f"{wanted['GPU']:g} GPUs): the search waits for one"
            )
        else:
            console.print("The cluster has room for trials again")

    def share(self) -> float:
        """GPUs for a trial that starts now; by default 1 if a machine has a GPU, else 0."""
        if self._share:
            return self._share()
        self()
        return self._gpus

    def _count(self) -> int:
        self._counted = time.monotonic()
        if self._share:
            self._resources = replace(self._resources, gpus_per_trial=self._share())
        machines = list(self._cluster.machines().values())
        self._gpus = self._resources.on(machines).gpus_per_trial or 0.0
        if self._gpus:  # a lost machine with GPUs comes back: no trial trains on CPUs meanwhile
            self._resources = replace(self._resources, gpus_per_trial=self._gpus)
        return count_slots(self._resources, machines)


def count_slots(resources: Resources, machines: Sequence[Machine]) -> int:
    """Number of trials that the cluster holds at once, at most `max_concurrent`.

    Raises:
        InputError: The cluster cannot hold a trial: no machine has the resources.
    """
    resources = resources.on(machines)
    wanted, workers = resources.of_worker, resources.workers
    gpus = sum(int(machine.get("GPU", 0.0)) for machine in machines)
    if workers > max(1, gpus):
        raise InputError(
            f"--gpus-per-trial must be at most {gpus}, the GPUs of the cluster's machines, got {workers}"
        )
    for kind, amount in wanted.items():
        most = max((machine.get(kind, 0.0) for machine in machines), default=0.0)
        if amount > most:
            where = "what" if workers == 1 else f"for {workers} GPUs {workers} times what"
            raise InputError(
                f"--{kind.lower()}s-per-trial must be at most {most * workers:g}, {where} the cluster's "
                f"largest machine has, got {amount * workers:g}"
            )
    places = sum(  # for worker processes, each of which fits on one machine
        min(_places(kind, machine.get(kind, 0.0), amount) for kind, amount in wanted.items() if amount)
        for machine in machines
    )
    slots = places // workers
    if slots < 1:
        enough = "some machine" if workers == 1 else f"{workers} times some machine"
        raise InputError(
            f"--cpus-per-trial, --gpus-per-trial: {enough} of the cluster must have both, "
            f"got {wanted['CPU']:g} CPUs and {wanted['GPU']:g} GPUs"
        )
    return min(slots, resources.max_concurrent or slots)


def _places(kind: str, there: float, amount: float) -> int:
    """Number of workers whose amount of a resource a machine has; Ray takes a fraction from one GPU only."""
    if kind == "GPU" and amount < 1:
        return int(there) * int(1 / amount + 1e-9)
    return int(there / amount + 1e-9)
