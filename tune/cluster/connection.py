"""The Ray cluster that trials run on: started here, or joined."""

from __future__ import annotations

import gc
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from themo.errors import InputError, reason_of
from themo.files.disk_space import LossyFile
from themo.process.progress import console
from themo.process.signals import sparing_children
from tune.cluster.address import LOCAL, refuse_unreachable, submission
from tune.cluster.folders import refuse_unfit_folders

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
"""Read by Ray, when it is imported or started: no tables and tips, no log files that nobody reads, no
snapshots of a state that stands in study.json, and trials in the working directory of the command. A trial
whose machine is taken away (preempted) has failed, and goes on from the record: Ray would begin it again as
it was begun first. A stopped trial has more than two seconds to leave its worker: Ray gives up the next one,
and tells nobody."""


_ATTEMPTS = 5

Machine = Mapping[str, float]
"""What a machine of a cluster has, by Ray's names of resources."""


class ClusterError(RuntimeError):
    """Ray has failed, in one line."""


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
        InputError: Nobody answers at the address, or this process cannot join the cluster there.
        ClusterError: Ray raised something in the block, or could not be started; a traceback is in the log.
    """
    refuse_unreachable(address)
    refuse_unfit_folders(address)
    for name, value in RAY_VARIABLES.items():
        os.environ.setdefault(name, value)
    import ray
    from ray.tune import TuneError

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
            on_sigterm = signal.getsignal(signal.SIGTERM)
            dashboard = _start(log) if address is None else _join(address)
            if callable(on_sigterm) and signal.getsignal(signal.SIGTERM) is not on_sigterm:
                signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own there
        logging.getLogger("ray").handlers[:] = [handler]  # starting Ray has put its own back
        try:
            yield Cluster(f"http://{dashboard}" if dashboard else None)
        except (ray.exceptions.RayError, TuneError) as error:
            traceback.print_exc(file=file)
            raise ClusterError(f"Ray: {_told(error)} (more in {log})") from error
        finally:
            if is_ours:
                leave()


def leave() -> None:
    """Disconnect from Ray, and end what was started here, while no garbage is collected.

    Collecting a cycle that holds one of Ray's references, in any thread, ends the process at once where the
    core worker has just gone and Python does not know it yet (Ray 2.60): MLflow's thread works to the end.
    """
    import ray

    is_collecting = gc.isenabled()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        if is_collecting:
            gc.enable()


def _told(error: Exception) -> str:
    """The line of an error of Ray's that tells what it is; of a traceback within it, the last."""
    return str(error).strip().splitlines()[-1] if "Traceback" in str(error) else reason_of(error)


def _join(address: str) -> str | None:
    """Join a cluster; the address of its dashboard."""
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
    except RuntimeError as error:  # another version of Ray or Python, or no machine of the cluster
        raise InputError(
            f"--address: the cluster at {address} must be joined on one of its machines, with its Ray and "
            f"its Python ({' '.join(str(error).split())}), or submit the command: "
            f"{submission(address.rpartition(':')[0] or 'HEAD')}"
        ) from None
    return context.dashboard_url or None


def _start(log: Path) -> str | None:
    """Start a cluster on this machine, again where Ray has no patience; the address of its dashboard."""
    import ray

    for attempt in range(1, _ATTEMPTS + 1):
        if attempt > 1:
            console.print(f"Ray did not start in the 30 s that it waits: attempt {attempt} of {_ATTEMPTS}")
        try:
            with sparing_children():
                context = ray.init(
                    address=LOCAL,  # else Ray would join any that it finds
                    include_dashboard=False,
                    job_config=_job_config(),
                    logging_level=logging.WARNING,
                    log_to_driver=False,
                )
            return context.dashboard_url or None
        except Exception as error:  # Ray has no kind of its own for it
            if "timed out during startup" not in str(error):
                raise
            leave()
    raise ClusterError(
        f"Ray did not start in the 30 s that it waits, {_ATTEMPTS} times: this machine has too much to do "
        f"(more in {log})"
    )


class _Places(list[str]):
    """Folders of modules that workers are given: none where this process does not look itself.

    Ray adds the working directory before all other places: a file ``tune.py`` there would stand in for ours.
    """

    def extend(self, folders: Iterable[str]) -> None:
        """Add those that this process looks in."""
        own = [os.path.realpath(place or os.path.curdir) for place in sys.path]
        super().extend(folder for folder in folders if os.path.realpath(folder) in own)


def _job_config() -> Any:
    from ray.job_config import JobConfig

    config = JobConfig()
    config._py_driver_sys_path = _Places()  # an argument that is empty would not be kept
    return config


def _own_packages() -> list[str]:
    """Folders of this code, which goes to the nodes of a cluster with a search: a kilobyte or two hundred."""
    import themo
    import tune

    return [package.__path__[0] for package in (themo, tune)]


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
