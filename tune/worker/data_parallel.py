"""One trial on several GPUs: Ray Train's workers train together, rank 0 reports to Ray Tune.

    Ray Tune -- actor of the trial, here `run` -- Ray Train's controller -- workers, one a GPU
                        ^                                                     |
                        +----------------- Mailbox: reports, failures --------+

The actor requests no CPU and no GPU: those belong to the workers, which may run on different machines. A
worker waits after every report until Ray Tune has decided, as a trial on one GPU does, so both are judged
alike. A version directory is sent with its report as a Ray object, and the actor passes it to Ray Tune.

If a worker dies, the other workers and the actor end too. To Ray Tune the trial's worker has died, and the
trial resumes from its checkpoint. So there is one count of failures, and one way to resume.

Ray Train reserves the workers' resources in a placement group of its own, which outlives a killed controller;
stopping a trial kills its actor and its controller. The driver removes the group (`GroupRemover`).
"""

from __future__ import annotations

import os
import tempfile
import threading
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.train
import torch
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.torch.config import _TorchBackend
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.tune import Callback
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

from themo.files.disk_space import Patience
from tune.worker.mailbox import Files, Mailbox, Message
from tune.worker.reporter import folder_for_version, notify_tune_of_waiting, report_to_tune
from tune.worker.trial import newest_checkpoint, run_trial
from tune.worker.trial_report import TrialReport
from tune.worker.work import Work

_TICK_SECONDS = 1.0
_START_SECONDS = "300"
"""Timeout of the start of all workers: they load PyTorch, and may wait for workers of an ended trial."""

_PATIENCE_SECONDS = 14 * 24 * 3600
"""Timeout of a worker for rank 0, which may itself wait indefinitely for a disk or the storage.

A worker's death needs no timeout: gloo notices the closed connection, and Ray Train ends the other workers in
any case. The limit is 24 days, 31 bits of milliseconds.
"""

REQUEST: dict[str, float] = {"cpu": 0, "gpu": 0, "memory": 1}
"""Resources of the trial's actor: Ray Tune requires some, and every machine has a byte of memory."""


def run(config: dict[str, Any], *, work: Work, uid: str, workers: int, cpus: float) -> None:
    """Run one trial; called by Ray Tune on an actor of its own.

    Args:
        config: The trial.
        work: Inputs shared by all trials.
        uid: Unique id of the search.
        workers: Number of workers, each with a GPU.
        cpus: Number of CPUs of each worker.
    """
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # not set on a cluster that we did not start
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = _START_SECONDS
    mailbox = ray.remote(num_cpus=0)(Mailbox).remote()
    with tempfile.TemporaryDirectory(prefix="themo-train-") as folder:
        trainer = _Trainer(
            _train_on_worker,
            train_loop_config={
                "config": config,
                "work": work,
                "newest": newest_checkpoint(config, work, report_to_tune),
                "mailbox": mailbox,
            },
            torch_config=_Torch(),
            scaling_config=ray.train.ScalingConfig(
                num_workers=workers,
                use_gpu=True,
                resources_per_worker={"CPU": cpus, "GPU": 1, "memory": _mark(uid, config["number"])},
            ),
            run_config=ray.train.RunConfig(storage_path=folder, name="train"),  # nothing is stored there
        )
        training = _Training(trainer)
        training.start()
        while training.is_alive() or not ray.get(mailbox.is_empty.remote()):
            message = ray.get(mailbox.take.remote(_TICK_SECONDS))
            if message is not None:
                _report(message)
                ray.get(mailbox.answer.remote())
        if training.error is not None:
            raise training.error


class GroupRemover(Callback):  # type: ignore[misc]  # Ray has no types
    """Frees the resources of a trial's workers when the trial ends, is stopped, or is retried.

    Args:
        uid: Unique id of the search.
    """

    def __init__(self, uid: str) -> None:
        self._uid = uid

    def on_trial_complete(self, *, trial: Any, **_: object) -> None:
        """Free the resources of a trial that has ended or is stopped."""
        mark = _mark(self._uid, trial.config["number"])
        for group, facts in placement_group_table().items():
            if facts["state"] != "REMOVED" and any(
                b.get("memory") == mark for b in facts["bundles"].values()
            ):
                remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(group))))

    on_trial_error = on_trial_complete


def _mark(uid: str, number: int) -> int:
    """A number of bytes of memory that identifies the placement group of a trial's workers.

    Ray Train does not name its groups, and a trial may die before it can report its group.
    """
    return 2**20 + zlib.crc32(f"{uid}/{number}".encode()) % 2**20


class _Trainer(TorchTrainer):  # type: ignore[misc]
    """Ray Train's trainer without its own remover of placement groups.

    The remover is an actor that outlives the search if no dashboard tells it the controller's state.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [each for each in callbacks if not isinstance(each, PlacementGroupCleanerCallback)]


class _Training(threading.Thread):
    """A running Ray Train job; `fit` waits for its end."""

    def __init__(self, trainer: TorchTrainer) -> None:
        super().__init__(daemon=True)
        self._trainer = trainer
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._trainer.fit()
        except Exception as error:  # raised in the thread that waits
            self.error = error


def _report(message: Message) -> None:
    if message.files is None:
        report_to_tune(message.report, None)
        return
    files = message.files
    with ExitStack() as stack:

        def unpacked() -> Path:
            folder = folder_for_version(stack)
            _unpack(files, folder)
            return folder

        patience = Patience(warn=lambda for_what: notify_tune_of_waiting(message.report, for_what))
        report_to_tune(message.report, patience(unpacked))


def _train_on_worker(loop: dict[str, Any]) -> None:
    """Run one worker of a trial; called by Ray Train with torch.distributed connected."""
    mailbox = loop["mailbox"]

    def send(report: TrialReport, version: Path | None) -> None:
        ray.get(mailbox.send.remote(Message(report, None if version is None else _pack(version))))

    is_first = ray.train.get_context().get_world_rank() == 0
    run_trial(loop["config"], loop["work"], loop["newest"], send, reports=is_first)


def _pack(folder: Path) -> Files:
    """Contents of the files below a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): np.fromfile(path, np.uint8)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _unpack(files: Files, folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content.tofile(path)


class _Backend(_TorchBackend):  # type: ignore[misc]  # Ray has no types
    """Ray's backend with a device named by each worker: Ray's GPUs may not exist, as in tests."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Connect the workers."""
        backend_config.backend = "nccl" if worker_group.execute_single(0, torch.cuda.is_available) else "gloo"
        super().on_start(worker_group, backend_config)


@dataclass
class _Torch(TorchConfig):  # type: ignore[misc]
    """Configuration of the workers' connection and devices."""

    backend: str | None = "gloo"
    timeout_s: int = _PATIENCE_SECONDS

    @property
    def backend_cls(self) -> type[_Backend]:
        """The backend that connects the workers."""
        return _Backend
