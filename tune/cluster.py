"""The Ray cluster that trials run on: found or started, and how many trials it holds."""

from __future__ import annotations

import io
import logging
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TextIO

from themo.errors import InputError, reason_of
from themo.progress import console
from themo.room import LossyFile

RAY_VARIABLES = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "600",
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "1e9",
}
"""Read by Ray, when it is imported or started: no tables and tips, no log files that nobody reads, no
snapshots of a state that stands in study.json, trials in the working directory of the command, and more than
two seconds for a stopped one to leave its worker: Ray gives up the next one, and tells nobody."""


_REACH_SECONDS = 5.0
_GREET_SECONDS = 8.0
_SECONDS_BETWEEN_COUNTS = 5.0

_CLIENT = "ray://"

LOCAL = "local"
"""Address of a cluster that is yet to be started on this machine, where another one is to be overruled."""

_GREET = """
import sys
from ray._private import services
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._raylet import GcsClient
print("ready", flush=True)
if sys.argv[1] == "auto":
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
GcsClient(address=services.canonicalize_bootstrap_address(sys.argv[1]))
"""
"""What `ray.init` does first. A process of its own can be given up: Ray's attempts go on for minutes."""


Machine = Mapping[str, float]
"""What a machine of a cluster has, by Ray's names of resources."""


@dataclass(frozen=True)
class Resources:
    """What a trial gets, and where trials run.

    Attributes:
        cpus_per_trial: CPUs of a trial; trials may share one by fractions.
        gpus_per_trial: GPUs of a trial; trials may share one by fractions, or train on several each. None:
            one each, on a cluster that has any.
        max_concurrent: Trials at once at most; None: as many as the cluster holds.
        address: A running Ray cluster; None, or "local", starts one on this machine.
        by_memory: Whether trials share GPUs by the memory that the first of them took (`tune.memory`).
        storage_path: Folder or URI for checkpoints that every machine of the cluster shares; None: within the
            search directory.
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
        """Processes that train a trial together, a GPU each; they may run on different machines."""
        return max(1, math.ceil(self.gpus_per_trial or 0.0))

    @property
    def of_worker(self) -> dict[str, float]:
        """What one of them gets, by Ray's names."""
        gpus = self.gpus_per_trial or 0.0
        return {"CPU": self.cpus_per_trial / self.workers, "GPU": gpus / self.workers}

    @property
    def threads(self) -> int:
        """Of each of them, where the settings leave it open: its whole share of CPUs."""
        return max(1, math.floor(self.of_worker["CPU"]))

    def on(self, machines: Sequence[Machine]) -> Resources:
        """What a trial gets on such machines, where that was left open."""
        if self.gpus_per_trial is not None:
            return self
        return replace(self, gpus_per_trial=float(any(machine.get("GPU", 0.0) >= 1 for machine in machines)))


def asked_address(given: str | None) -> str | None:
    """The address that ``--address`` gives, or else RAY_ADDRESS, which Ray sets for submitted jobs."""
    return os.environ.get("RAY_ADDRESS") or None if given is None else given


def refuse_unreachable(address: str | None) -> None:
    """Refuse an address that no search can run at, within seconds; Ray itself would try for minutes.

    Args:
        address: ``HOST:PORT``, ``auto``, or None or ``local`` for a cluster that is yet to be started.

    Raises:
        InputError: Nobody listens there, it is no Ray cluster, it refuses our token, or it is of the form
            ``ray://``, of which Ray Tune can make no use.
    """
    if address in (None, LOCAL):
        return
    is_client = address.startswith(_CLIENT)
    host, _, port = address.removeprefix(_CLIENT).rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=_REACH_SECONDS).close()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"--address: no Ray cluster answers at {address}: {reason}") from None
    elif address != "auto":
        raise InputError(f"--address (or RAY_ADDRESS) must be HOST:PORT or auto, got {address!r}")
    if is_client:
        raise InputError(
            f"--address: Ray Tune drives a search from within its cluster, not through {address}: give "
            f"HOST:PORT on one of its machines, or submit the command: ray job submit --address "
            f"http://{host}:8265 -- python -m themo tune --address auto"
        )
    _greet(address)


@cache  # a search asks twice: before it prepares data, and when it connects
def _greet(address: str) -> None:
    """Refuse the address of a listener that is no Ray cluster, or one that refuses our token."""
    with subprocess.Popen(
        [sys.executable, "-c", _GREET, address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as greeting:
        if greeting.stdout is not None:
            greeting.stdout.readline()  # Ray is imported: only now does the time count
        try:
            _, said = greeting.communicate(timeout=_GREET_SECONDS)
        except subprocess.TimeoutExpired:
            greeting.kill()
            raise InputError(
                f"--address: no Ray cluster answers at {address}: no answer in {_GREET_SECONDS:.0f} s"
            ) from None
    if "AuthenticationError" in said or "find an authentication token" in said:  # a wrong one, or none
        raise InputError(
            f"--address: the cluster at {address} refuses this token, or its lack: set RAY_AUTH_MODE=token "
            f"and RAY_AUTH_TOKEN_PATH to a file of the cluster's token (on its head: ray get-auth-token)"
        )
    if "ConnectionError" in said:
        raise InputError(f"--address: no Ray cluster answers at {address}: none runs on this machine")
    # whatever else it was, `ray.init` says it better


class Cluster:
    """The cluster that this process is connected to.

    Attributes:
        dashboard: Address of Ray's dashboard; None where none runs.
    """

    def __init__(self, dashboard: str | None) -> None:
        self.dashboard = dashboard

    def machines(self) -> dict[str, Machine]:
        """Those that are there now, by Ray's id of the node."""
        import ray

        return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


class Slots:
    """How many trials a cluster holds at once, as its machines come and go.

    Args:
        resources: What a trial gets.
        share: As `resources.gpus_per_trial`, where that changes.
        cluster: Counted now, and again when the last count is older than a few seconds.

    Raises:
        InputError: It cannot hold one.
    """

    def __init__(
        self, resources: Resources, cluster: Cluster, share: Callable[[], float] | None = None
    ) -> None:
        self._resources = resources
        self._cluster = cluster
        self._share = share
        self._gpus = 0.0
        self._now = self.most = self._count()

    def __call__(self) -> int:
        """The number, one at least: a trial that no machine can hold waits for one that can."""
        is_old = time.monotonic() - self._counted > _SECONDS_BETWEEN_COUNTS
        if is_old or (self._share and self._share() != self._resources.gpus_per_trial):
            try:
                self._now = self._count()
            except InputError:
                self._now = 1
            self.most = max(self.most, self._now)
        return self._now

    def share(self) -> float:
        """GPUs of a trial that begins now; where that was left open, one from when there are any."""
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
        if self._gpus:  # a machine with GPUs that is away comes back: nobody trains on CPUs in between
            self._resources = replace(self._resources, gpus_per_trial=self._gpus)
        return count_slots(self._resources, machines)


@contextmanager
def connect(address: str | None, log: Path) -> Iterator[Cluster]:
    """The cluster, for the length of a block.

    Args:
        address: A running cluster; None starts one on this machine, unless this process has one already.
        log: File for all that Ray would put on the screen; errors of workers reach standard output otherwise,
            where results belong.

    Yields:
        The cluster.

    Raises:
        InputError: Nobody answers at the address.
    """
    refuse_unreachable(address)
    for name, value in RAY_VARIABLES.items():
        os.environ.setdefault(name, value)
    import ray

    is_ours = not ray.is_initialized()
    is_started_here = is_ours and address is None
    kept = io.TextIOWrapper(io.BufferedWriter(LossyFile(log, "ab")), encoding="utf-8")
    with ExitStack() as stack:
        if is_started_here:
            stack.enter_context(_on_this_machine())
        file = stack.enter_context(kept)
        stack.enter_context(redirect_stdout(file))
        handler = stack.enter_context(_logging_to(file))
        dashboard = None
        if is_ours:
            dashboard = _start(log) if address is None else _join(address)
        logging.getLogger("ray").handlers[:] = [handler]  # starting Ray has put its own back
        try:
            yield Cluster(f"http://{dashboard}" if dashboard else None)
        finally:
            if is_ours:
                ray.shutdown()


def _join(address: str) -> str | None:
    """Join a cluster; the address of its dashboard."""
    import ray

    try:
        context = ray.init(
            address=address,
            runtime_env={"py_modules": _own_packages(), "env_vars": RAY_VARIABLES},
            logging_level=logging.WARNING,
            log_to_driver=False,
        )
    except (ConnectionError, ValueError) as error:
        raise InputError(f"--address: no Ray cluster answers at {address}: {reason_of(error)}") from None
    return context.dashboard_url or None


def _start(log: Path) -> str | None:
    """Start a cluster on this machine, again where Ray has no patience; the address of its dashboard."""
    import ray

    has_failed = False
    while True:
        try:
            context = ray.init(
                address=LOCAL,  # else Ray would join any that it finds
                include_dashboard=False,
                logging_level=logging.WARNING,
                log_to_driver=False,
            )
            return context.dashboard_url or None
        except Exception as error:  # Ray has no kind of its own for it
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
            if has_failed:
                raise RuntimeError(
                    f"Ray did not start in the 30 s that it waits, twice: this machine has too much to do "
                    f"(more in {log}); the search goes on with --resume"
                ) from None
            has_failed = True
            console.print("Ray did not start in the 30 s that it waits: once more")


def count_slots(resources: Resources, machines: Sequence[Machine]) -> int:
    """Trials that the cluster holds at once, `max_concurrent` at most.

    Raises:
        InputError: Not even one: no machine has what a trial is to get.
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
    places = sum(  # of workers, each of which fits on one machine
        min(int(machine.get(kind, 0.0) / amount + 1e-9) for kind, amount in wanted.items() if amount)
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


def _own_packages() -> list[str]:
    """Folders of this code, which goes to the nodes of a cluster with a search: a kilobyte or two hundred."""
    import themo

    return [str(Path(module_file).parent) for module_file in (themo.__file__, __file__)]


@contextmanager
def _on_this_machine() -> Iterator[None]:
    """Have a cluster that is started here listen on 127.0.0.1 alone, as it does on a Mac and on Windows.

    After it the process may join, or start, a cluster of several machines again.
    """
    from ray._private import ray_constants

    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR  # for the processes that Ray starts
    before, was_enabled = os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False  # for this one, which has read the variable already
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = was_enabled
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _logging_to(file: TextIO) -> Iterator[logging.Handler]:
    """Ray's log lines into a file instead of onto standard error."""
    logger = logging.getLogger("ray")
    before = logger.handlers[:]
    handler = logging.StreamHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.handlers[:] = [handler]
    try:
        yield handler
    finally:
        logger.handlers[:] = before
