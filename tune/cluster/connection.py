"""The Ray cluster that trials run on: started here, or joined."""

from __future__ import annotations

import gc
import io
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from themo.errors import InputError, reason_of
from themo.files.disk_space import LossyFile
from themo.process.progress import console
from themo.process.signals import sparing_children
from tune.cluster.address import refuse_unreachable, submission
from tune.cluster.folders import refuse_unfit_folders
from tune.cluster.resources import LOCAL

RAY_VARIABLES = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "600",
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "1e9",
}
"""Ray reads these when it is imported or started: no tables and tips, no unread log files, no snapshots of a
state that study.json holds, and trials in the working directory of the command. A trial whose machine is
preempted fails and resumes from the record: Ray would restart it from its first configuration. A stopped
trial has more than two seconds to leave its worker: otherwise Ray silently gives up the next trial."""


_ATTEMPTS = 5

Machine = Mapping[str, float]
"""Amount of each resource of a machine, by Ray's names."""


class ClusterError(RuntimeError):
    """Ray failed; the message is one line."""


class Cluster:
    """The cluster that this process is connected to.

    Attributes:
        dashboard: Address of Ray's dashboard; None without a dashboard.
    """

    def __init__(self, dashboard: str | None) -> None:
        self.dashboard = dashboard

    def machines(self) -> dict[str, Machine]:
        """The machines that are alive, by Ray's id of the node."""
        import ray

        return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


@contextmanager
def connect(address: str | None, log: Path) -> Iterator[Cluster]:
    """Join or start a cluster for the duration of a block.

    Args:
        address: A running cluster; None starts one on this machine, unless this process is connected already.
        log: File for Ray's output; otherwise errors of workers would reach standard output, which is for
            results.

    Yields:
        The cluster.

    Raises:
        InputError: No cluster answers at the address, or this process cannot join it.
        ClusterError: Ray raised an error in the block or did not start; the log holds the traceback.
    """
    refuse_unreachable(address)
    refuse_unfit_folders(address)
    for name, value in RAY_VARIABLES.items():
        os.environ.setdefault(name, value)
    import ray
    from ray.tune import TuneError

    is_ours = not ray.is_initialized()
    is_started_here = is_ours and address is None
    log_file = io.TextIOWrapper(io.BufferedWriter(LossyFile(log, "ab")), encoding="utf-8")
    with ExitStack() as stack:
        if is_started_here:
            stack.enter_context(_on_this_machine())
        file = stack.enter_context(log_file)
        stack.enter_context(redirect_stdout(file))
        handler = stack.enter_context(_logging_to(file))
        dashboard = None
        if is_ours:
            on_sigterm = signal.getsignal(signal.SIGTERM)
            dashboard = _start(log) if address is None else _join(address)
            if callable(on_sigterm) and signal.getsignal(signal.SIGTERM) is not on_sigterm:
                signal.signal(signal.SIGTERM, on_sigterm)  # Ray replaced it
        logging.getLogger("ray").handlers[:] = [handler]  # Ray added its own again
        try:
            yield Cluster(f"http://{dashboard}" if dashboard else None)
        except (ray.exceptions.RayError, TuneError) as error:
            traceback.print_exc(file=file)
            raise ClusterError(f"Ray: {_reason(error)} (more in {log})") from error
        finally:
            if is_ours:
                leave()


def leave() -> None:
    """Disconnect from Ray and stop a cluster that this process started, without garbage collection.

    If any thread, such as MLflow's, collects a cycle that holds one of Ray's references just after Ray's core
    worker has gone, the process ends at once (Ray 2.60).

    The end of the core worker also resets SIGTERM in the operating system, unnoticed by Python. The handler
    is restored before Ray's processes are stopped, which takes seconds: otherwise a SIGTERM during the
    winner's test would end this process without a word.
    """
    import ray
    from ray._private.worker import _global_node as node

    on_sigterm = signal.getsignal(signal.SIGTERM)

    def restore_handler() -> None:
        if on_sigterm is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)

    if node is not None:
        stop_processes = node.kill_all_processes

        def stop_processes_with_handler(*args: Any, **options: Any) -> None:
            restore_handler()
            stop_processes(*args, **options)

        node.kill_all_processes = stop_processes_with_handler
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        restore_handler()
        if is_collecting:
            gc.enable()


def _reason(error: Exception) -> str:
    """One line of a Ray error: the last line if the message contains a traceback."""
    return str(error).strip().splitlines()[-1] if "Traceback" in str(error) else reason_of(error)


def _join(address: str) -> str | None:
    """Join a cluster; return the address of its dashboard."""
    import ray

    try:
        context = ray.init(
            address=address,
            job_config=_job_config(),
            runtime_env={"py_modules": _own_packages(), "env_vars": RAY_VARIABLES},
            logging_level=logging.WARNING,
            log_to_driver=False,
        )
    except (ConnectionError, ValueError) as error:
        raise InputError(f"--address: no Ray cluster answers at {address}: {reason_of(error)}") from None
    except RuntimeError as error:  # another version of Ray or Python, or this is no machine of the cluster
        raise InputError(
            f"--address: the cluster at {address} must be joined on one of its machines, with its Ray and "
            f"its Python ({' '.join(str(error).split())}), or submit the command: "
            f"{submission(address.rpartition(':')[0] or 'HEAD')}"
        ) from None
    return context.dashboard_url or None


def _start(log: Path) -> str | None:
    """Start a cluster on this machine, with retries; return the address of its dashboard."""
    import ray

    for attempt in range(1, _ATTEMPTS + 1):
        if attempt > 1:
            console.print(f"Ray did not start within 30 s: attempt {attempt} of {_ATTEMPTS}")
        try:
            with sparing_children(), _groups_of_their_own():
                context = ray.init(
                    address=LOCAL,  # otherwise Ray joins any cluster on this machine
                    include_dashboard=False,
                    job_config=_job_config(),
                    logging_level=logging.WARNING,
                    log_to_driver=False,
                )
            return context.dashboard_url or None
        except Exception as error:  # Ray has no exception class for a slow start
            if "timed out during startup" not in str(error):
                raise
            leave()
    raise ClusterError(
        f"Ray did not start within 30 s in {_ATTEMPTS} attempts: this machine is overloaded (more in {log})"
    )


@contextmanager
def _groups_of_their_own() -> Iterator[None]:
    """Start Ray's processes outside this process's group for a block.

    A shell's `kill %1` and `timeout` send SIGTERM to the whole group. Without its cluster this process could
    not say how to resume: Ray's core waits for 60 s, prints a line of its log and ends the process.
    """
    from ray._private import services

    before = services.ConsolePopen
    services.ConsolePopen = partial(before, process_group=0)
    try:
        yield
    finally:
        services.ConsolePopen = before


class _Places(list[str]):
    """Module search path for workers, limited to the folders on this process's own path.

    Ray puts the working directory first: a user's ``tune.py`` there would replace the package `tune`.
    """

    def extend(self, folders: Iterable[str]) -> None:
        """Add the folders that are on this process's own path."""
        own = [os.path.realpath(place or os.path.curdir) for place in sys.path]
        super().extend(folder for folder in folders if os.path.realpath(folder) in own)


def _job_config() -> Any:
    from ray.job_config import JobConfig

    config = JobConfig()
    config._py_driver_sys_path = _Places()  # the constructor drops an empty argument
    return config


def _own_packages() -> list[str]:
    """Folders of the packages that a search sends to the nodes of its cluster, about 200 KB."""
    import themo
    import tune

    return [package.__path__[0] for package in (themo, tune)]


@contextmanager
def _on_this_machine() -> Iterator[None]:
    """Make a cluster started in this block listen on 127.0.0.1 only, as on macOS and Windows.

    After the block, the process can join or start a cluster of several machines again.
    """
    from ray._private import ray_constants

    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR  # read by the processes that Ray starts
    before, was_enabled = os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False  # this process has read the variable already
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
    """Redirect Ray's log from standard error to a file."""
    logger = logging.getLogger("ray")
    before = logger.handlers[:]
    handler = logging.StreamHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.handlers[:] = [handler]
    try:
        yield handler
    finally:
        logger.handlers[:] = before
