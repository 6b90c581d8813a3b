"""Runs one trial on a worker: settings in, reports out, resumed from a checkpoint if there is one.

Every worker imports this module before its first trial, with PyTorch and the training code, so that a trial's
time is training time.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from ray import tune as ray_tune

from themo.data.dataset import TrainingData
from themo.errors import reason_of
from themo.files.disk_space import Patience
from themo.process.devices import is_device_fault, is_out_of_memory
from themo.process.garbage import freeze
from themo.training.distributed import PeerLostError
from tune.cluster.own_device import DeviceError, own_device
from tune.cluster.sharing import refuse_unsigned
from tune.cluster.storage import Storage, wait_for_storage
from tune.schedulers.rules import scheduler_of
from tune.study.front import cost_metric
from tune.study.trial_record import DIVERGED
from tune.worker.memory import keep_to_share
from tune.worker.reporter import Report, Reporter, Send, StorageError
from tune.worker.student_cost import student_cost
from tune.worker.work import Work


def run_trial(
    config: dict[str, Any],
    work: Work,
    newest: ray_tune.Checkpoint | None,
    send: Send,
    *,
    reports: bool = True,
) -> None:
    """Train, and send reports or the failure to the driver.

    A trial that diverges or raises ends with a report of the failure. It is retried only if its worker died,
    lost its peers or the storage, or has a broken GPU; such a worker is not reused. All other workers are, so
    threads and memory are reset here, and seeds by the training function.

    Args:
        config: The trial.
        work: Inputs shared by all trials.
        newest: Checkpoint to resume from.
        send: Sends reports to the driver.
        reports: Whether this process sends reports, not only failures.

    Raises:
        PeerLostError: Another process of the trial is gone.
        StorageError: Data, checkpoint or report did not arrive.
        DeviceError: The GPU is broken.
    """
    _clear_device(config["gpus"])
    search = work.search
    before = config["checkpoint_pairs" if search.resource == "pairs" else "training_seconds"]
    reporter = Reporter(
        config["number"], scheduler_of(search), work.measure, before, send, search.resource, search.is_spent
    )
    try:
        settings = work.settings.override(config["params"], source=f"trial {config['number']}")
        device = own_device(settings.training.device, config["gpus"], "the trial")
        settings = settings.override({"device": device})
        torch.set_num_threads(settings.training.threads or torch.get_num_threads())
        leaves = settings.leaves()
        data = work.data[tuple(leaves[name] for name in work.data_leaves)]
        with ExitStack() as stack:
            waits = reporter.wait if reports else _drop_notice
            data, resume = _fetched(data, work, newest, stack, waits)
            if (second := search.second_objective) is not None and reports:
                measured = partial(student_cost, settings, data, second)
                cost = config["cost"] or Patience(warn=waits)(measured)
                reporter.add_to_reports({cost_metric(second): cost})
            work.train(settings, data, report=reporter if reports else _drop_report, resume=resume)
    except (
        PeerLostError,
        StorageError,
        DeviceError,
    ):  # not the trial's fault: handled like a death of this worker
        raise
    except FloatingPointError as error:
        reporter.fail(f"{DIVERGED}{error}")
    except Exception as error:  # any error ends this trial, not the search
        if is_device_fault(error):
            raise DeviceError(reason_of(error)) from error
        if is_out_of_memory(error):
            reporter.fail("out of device memory", traceback.format_exc(), is_memory_fault=True)
        else:
            reporter.fail(f"{type(error).__name__}: {_first_line(error)}", traceback.format_exc())


def _clear_device(gpus: float) -> None:
    """Free memory of the previous trial, also on the GPU, and limit this trial to its share of the GPU.

    Raises:
        DeviceError: The GPU does not respond, perhaps since the previous trial.
    """
    gc.collect()
    _exclude_imports_from_collection()
    try:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        keep_to_share(gpus)
    except Exception as error:  # any error: none of the trial's code has run yet
        raise DeviceError(reason_of(error)) from error


@cache
def _exclude_imports_from_collection() -> None:
    """Exclude imported modules from garbage collection, which took most of the time between trials."""
    freeze()


def _fetched(
    data: TrainingData,
    work: Work,
    newest: ray_tune.Checkpoint | None,
    stack: ExitStack,
    waits: Callable[[str], None],
) -> tuple[TrainingData, Path | None]:
    """Training data and checkpoint on this machine, the latter until `stack` closes; waits on a full disk.

    Raises:
        StorageError: Data or checkpoint cannot be fetched.
    """
    shipment, storage = work.shipment, Storage(work.storage)
    try:
        if shipment is not None:  # this machine may have joined after the others were checked
            wait_for_storage(lambda: refuse_unsigned(storage), lambda: False, waits)
            data = Patience(warn=waits)(lambda: shipment.unpack(data))
        if newest is None:
            return data, None
        return data, Path(
            wait_for_storage(
                lambda: stack.enter_context(newest.as_directory()),
                storage.is_reachable,
                waits,
            )
        )
    except Exception as error:  # any error: a retry may succeed
        raise StorageError(f"data or checkpoint cannot be fetched: {reason_of(error)}") from error


def newest_checkpoint(config: dict[str, Any], work: Work, send: Send) -> ray_tune.Checkpoint | None:
    """The checkpoint to resume a trial from; None: a new start. To Ray a retried trial is a new one.

    Waits while the storage is unreachable, which Arrow may ask for a bucket's region.

    Args:
        config: The trial.
        work: Inputs shared by all trials.
        send: Sends the reason of the wait to the driver.
    """
    if config["checkpoint"] is None:
        return None
    storage = Storage(work.storage)
    waiting = Reporter(config["number"], scheduler_of(work.search), lambda: None, 0.0, send)
    filesystem = wait_for_storage(lambda: storage.filesystem, storage.is_reachable, waiting.wait)
    return ray_tune.Checkpoint(f"{storage.root}/{config['checkpoint']}", filesystem)


def _drop_report(report: Report) -> None:
    """Drop a report: rank 0 sends it."""


def _drop_notice(for_what: str) -> None:
    """Drop a notice: rank 0 waits for the same and sends it."""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"
