"""One trial on several GPUs: Ray Train's workers train together, the first one's reports go to Ray Tune.

    Ray Tune -- actor of the trial, here `run` -- Ray Train's controller -- workers, one a GPU
                        ^                                                     |
                        +----------------- Mailbox: reports, failures --------+

The actor asks for no CPU and no GPU: those are the workers', which may stand on different machines. A worker
waits with every report until Ray Tune has decided on it, as a trial on one GPU does, so that both are judged
alike. A version directory travels with its report, as Ray's objects do, and the actor hands it to Ray Tune.

A worker that dies takes the others with it, and then the actor: to Ray Tune the trial's worker has died, and
it starts again from its checkpoint. So there is one count of failures, and one way to resume.

Ray Train sets the workers' resources aside in a placement group of its own, which outlives a controller that
is killed, as it is with the actor of a trial that is stopped. The driver removes it (`GroupRemover`).
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
from tune.worker.reporter import folder_for_version, tell_tune, tell_tune_of_waiting
from tune.worker.trial import Work, newest_checkpoint, run_trial
from tune.worker.trial_report import TrialReport

_TICK_SECONDS = 1.0
_START_SECONDS = "300"
"""For all workers to be there: they load PyTorch, and may wait for those of a trial that has just ended."""

_PATIENCE_SECONDS = 14 * 24 * 3600
"""How long a worker waits for the first one, which may itself wait without limit for a disk or the storage.

A worker's death needs no limit: gloo sees it by the connection, and Ray Train ends the others whatever they
wait for. 31 bits of milliseconds hold 24 days at most.
"""

REQUEST: dict[str, float] = {"cpu": 0, "gpu": 0, "memory": 1}
"""The trial's actor's: Ray Tune insists on something, and a byte of memory is on every machine."""


def run(config: dict[str, Any], *, work: Work, uid: str, workers: int, cpus: float) -> None:
    """Run one trial; called by Ray Tune on an actor of its own.

    Args:
        config: The trial.
        work: What all trials share.
        uid: The search's.
        workers: Number of workers, each with a GPU.
        cpus: CPUs of each.
    """
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # a cluster that we did not start has not heard of it
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = _START_SECONDS
    mailbox = ray.remote(num_cpus=0)(Mailbox).remote()
    with tempfile.TemporaryDirectory(prefix="themo-train-") as folder:
        trainer = _Trainer(
            _train_on_worker,
            train_loop_config={
                "config": config,
                "work": work,
                "newest": newest_checkpoint(config["checkpoint"], work.storage),
                "mailbox": mailbox,
            },
            torch_config=_Torch(),
            scaling_config=ray.train.ScalingConfig(
                num_workers=workers,
                use_gpu=True,
                resources_per_worker={"CPU": cpus, "GPU": 1, "memory": _mark(uid, config["number"])},
            ),
            run_config=ray.train.RunConfig(storage_path=folder, name="train"),  # nothing is kept there
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
    """Frees what the workers of a trial had when the trial ends, is stopped, or starts again.

    Args:
        uid: The search's.
    """

    def __init__(self, uid: str) -> None:
        self._uid = uid

    def on_trial_complete(self, *, trial: Any, **_: object) -> None:
        """Of a trial that has ended or is stopped."""
        mark = _mark(self._uid, trial.config["number"])
        for group, facts in placement_group_table().items():
            if facts["state"] != "REMOVED" and any(
                b.get("memory") == mark for b in facts["bundles"].values()
            ):
                remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(group))))

    def on_trial_error(self, *, trial: Any, **_: object) -> None:
        """Of a trial whose actor has died."""
        self.on_trial_complete(trial=trial)


def _mark(uid: str, number: int) -> int:
    """What the placement group of a trial's workers is known by: bytes of memory, which no machine lacks.

    Ray Train gives its groups no name, and a trial may die before it could tell which one is its.
    """
    return 2**20 + zlib.crc32(f"{uid}/{number}".encode()) % 2**20


class _Trainer(TorchTrainer):  # type: ignore[misc]
    """Without Ray Train's own remover of placement groups.

    That is an actor which outlives the search where it cannot ask a dashboard how the controller is.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [each for each in callbacks if not isinstance(each, PlacementGroupCleanerCallback)]


class _Training(threading.Thread):
    """Ray Train at work, which `fit` waits for."""

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
        tell_tune(message.report, None)
        return
    files = message.files
    with ExitStack() as stack:

        def unpacked() -> Path:
            folder = folder_for_version(stack)
            _unpack(files, folder)
            return folder

        wait_for_room = Patience(tell=lambda for_what: tell_tune_of_waiting(message.report, for_what))
        tell_tune(message.report, wait_for_room(unpacked))


def _train_on_worker(loop: dict[str, Any]) -> None:
    """One worker of a trial; called by Ray Train on each of them, with torch.distributed connected."""
    mailbox = loop["mailbox"]

    def tell(report: TrialReport, version: Path | None) -> None:
        ray.get(mailbox.tell.remote(Message(report, None if version is None else _pack(version))))

    is_first = ray.train.get_context().get_world_rank() == 0
    run_trial(loop["config"], loop["work"], loop["newest"], tell, reports=is_first)


def _pack(folder: Path) -> Files:
    """The files below a folder by their paths in it."""
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
    """Ray's own, which asks a worker for its device: Ray's GPUs may be names for nothing, as in tests."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Connect the workers."""
        backend_config.backend = "nccl" if worker_group.execute_single(0, torch.cuda.is_available) else "gloo"
        super().on_start(worker_group, backend_config)


@dataclass
class _Torch(TorchConfig):  # type: ignore[misc]
    """How workers are connected, and which device each takes."""

    backend: str | None = "gloo"
    timeout_s: int = _PATIENCE_SECONDS

    @property
    def backend_cls(self) -> type[_Backend]:
        """What connects them."""
        return _Backend
