"""One trial on a worker: settings in, reports out, resumed where a checkpoint stands.

This module is imported by every worker before its first trial, with PyTorch and the training code, so that
a trial's time is training time.
"""

from __future__ import annotations

import atexit
import gc
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import pyarrow.fs
import torch
from ray import tune as ray_tune

from themo.config.settings import Settings
from themo.data.dataset import TrainingData
from themo.errors import reason_of
from themo.files.disk_space import Patience
from themo.process.devices import is_device_fault, is_out_of_memory
from themo.training.distributed import PeerLostError
from tune.cluster.own_device import DeviceError, own_device
from tune.cluster.sharing import refuse_unsigned
from tune.cluster.shipping import Shipment
from tune.cluster.storage import Storage, answers, wait_for_storage
from tune.schedulers.rules import scheduler_of
from tune.space.dimensions import Scalar
from tune.space.search_settings import SearchSettings
from tune.study.trial_record import DIVERGED, Trial
from tune.worker.memory import keep_to_share, peak_memory
from tune.worker.reporter import Report, Reporter, StorageError, Tell, tell_tune


class Train(Protocol):
    """A training function; `themo.training.loop.train`."""

    def __call__(
        self,
        settings: Settings,
        data: TrainingData,
        *,
        report: Callable[[Report], None],
        resume: Path | None = None,
    ) -> object:
        """Train, calling `report` now and then, from the checkpoint `resume` where there is one."""


@dataclass(frozen=True)
class Work:
    """What all trials of a search share.

    Attributes:
        settings: What the searched settings are put into.
        search: How trials are judged, which is where a checkpoint is written.
        data: The training data of each combination of searched data settings.
        data_leaves: Which settings these are.
        storage: Folder or URI below which checkpoints are kept, as every worker sees it.
        train: The training function.
        shipment: How the data reaches machines that do not see the driver's files; None: all see them.
        measure: Tells what a trial took of its GPU's memory.
    """

    settings: Settings
    search: SearchSettings
    data: Mapping[tuple[Scalar, ...], TrainingData]
    data_leaves: tuple[str, ...]
    storage: str
    train: Train
    shipment: Shipment | None = None
    measure: Callable[[], float | None] = peak_memory


def configuration(trial: Trial) -> dict[str, Any]:
    """A trial as the configuration that Ray takes to the worker."""
    return {
        "number": trial.number,
        "params": dict(trial.params),
        "gpus": trial.gpus,
        "checkpoint": trial.checkpoint,
        "checkpoint_pairs": trial.checkpoint_pairs,
    }


def run(config: dict[str, Any], *, work: Work) -> None:
    """Run one trial; called by Ray on a worker."""
    run_trial(config, work, newest_checkpoint(config["checkpoint"], work.storage), tell_tune)


def run_trial(
    config: dict[str, Any],
    work: Work,
    newest: ray_tune.Checkpoint | None,
    tell: Tell,
    *,
    reports: bool = True,
) -> None:
    """Train, and tell what comes of it.

    A trial that diverges or raises ends with a report that says so. It is retried only where its worker died,
    was cut off from others or from the storage, or has a broken GPU; such a worker is not used again. All
    others are, so threads and memory are reset here, and seeds by the training function.

    Args:
        config: The trial.
        work: What all trials share.
        newest: Where it goes on from.
        tell: Takes reports to the driver.
        reports: Whether this process tells reports too, and not only failures.

    Raises:
        PeerLostError: Another process of the trial is gone.
        StorageError, DeviceError: As they say.
    """
    _clear_device(config["gpus"])
    reporter = Reporter(
        config["number"], scheduler_of(work.search), work.measure, config["checkpoint_pairs"], tell
    )
    try:
        settings = work.settings.override(config["params"], source=f"trial {config['number']}")
        device = own_device(settings.training.device, config["gpus"], "the trial")
        settings = settings.override({"device": device})
        torch.set_num_threads(settings.training.threads or torch.get_num_threads())
        leaves = settings.leaves()
        data = work.data[tuple(leaves[name] for name in work.data_leaves)]
        with ExitStack() as stack:
            waits = reporter.wait if reports else _say_nothing
            data, resume = _fetched(data, work, newest, stack, waits)
            work.train(settings, data, report=reporter if reports else _tell_nobody, resume=resume)
    except (PeerLostError, StorageError, DeviceError):  # no fault of the trial's: as if this worker had died
        raise
    except FloatingPointError as error:
        reporter.fail(f"{DIVERGED}{error}")
    except Exception as error:  # whatever it is, it is the trial's end and not the search's
        if is_device_fault(error):
            raise DeviceError(reason_of(error)) from error
        if is_out_of_memory(error):
            reporter.fail("out of device memory", traceback.format_exc(), is_memory_fault=True)
        else:
            reporter.fail(f"{type(error).__name__}: {_first_line(error)}", traceback.format_exc())


def _clear_device(gpus: float) -> None:
    """Free what the trial before has left, on the worker's GPU too, and set how much this one may take of it.

    Raises:
        DeviceError: The GPU does not answer, perhaps since that trial.
    """
    gc.collect()
    _spare_what_is_imported()
    try:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        keep_to_share(gpus)
    except Exception as error:  # whatever it is: nothing of the trial's has run yet
        raise DeviceError(reason_of(error)) from error


@cache
def _spare_what_is_imported() -> None:
    """Let the collector pass by the modules, once a process: most time between trials went into them."""
    gc.freeze()
    atexit.register(gc.unfreeze)  # else extensions take what is never freed for leaks, and print it


def _fetched(
    data: TrainingData,
    work: Work,
    newest: ray_tune.Checkpoint | None,
    stack: ExitStack,
    waits: Callable[[str], None],
) -> tuple[TrainingData, Path | None]:
    """Training data and checkpoint on this machine, the checkpoint until `stack` closes; waits for room.

    Raises:
        StorageError: They cannot be had.
    """
    shipment, storage = work.shipment, Storage(work.storage)
    try:
        if shipment is not None:  # a cluster's machine, which may have joined after the others were looked at
            wait_for_storage(lambda: refuse_unsigned(storage), lambda: False, waits)
            data = Patience(tell=waits)(lambda: shipment.unpack(data))
        if newest is None:
            return data, None
        return data, Path(
            wait_for_storage(
                lambda: stack.enter_context(newest.as_directory()),
                lambda: answers(storage.filesystem, storage.root),
                waits,
            )
        )
    except Exception as error:  # whatever it is: at the next attempt it may be over
        raise StorageError(f"data or checkpoint cannot be fetched: {reason_of(error)}") from error


def newest_checkpoint(checkpoint: str | None, storage: str) -> ray_tune.Checkpoint | None:
    """Where a trial goes on; None: at its start. Ray knows of none: a retried trial is a new one to it."""
    if checkpoint is None:
        return None
    filesystem, root = pyarrow.fs.FileSystem.from_uri(storage)
    return ray_tune.Checkpoint(f"{root}/{checkpoint}", filesystem)


def _tell_nobody(report: Report) -> None:
    """What the other processes of a trial report, the first one has reported."""


def _say_nothing(for_what: str) -> None:
    """The first process says what the others wait for too."""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"
