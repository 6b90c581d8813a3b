"""Teacher vectors of a large corpus, computed over all machines of a Ray cluster with Ray Data.

The teacher encodes the corpus chunk by chunk, as on one machine. The vectors equal those of one machine bit
for bit if the machines and their numbers of threads are equal; otherwise they differ by less than the half
precision of the cache. They return in order and go into the same cache entry. The corpus passes over the
cluster window by window, so that it may exceed the memory of the driver and the object store; the teacher is
loaded again for each window.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from themo.data.targets import EncodeElsewhere
from themo.errors import InputError, reason_of
from themo.models.teacher_names import Target
from themo.process.devices import Device, resolve_device
from tune.cluster.connection import connect
from tune.cluster.own_device import own_device

WINDOW = 64
"""Chunks in the driver's memory and in the object store at a time: four million sentences."""

_DEATHS = 3
"""Maximum number of retries of a worker and of a chunk."""

Names = tuple[str, str | None]
"""A teacher's architecture and weights. All machines must share a folder that they name."""


def encoder_on(address: str) -> EncodeElsewhere:
    """A function that computes teacher vectors on all GPUs of a cluster, or on all CPUs without GPUs."""

    def encode(
        names: Names, device: Device, chunks: Iterable[list[str]], target: Target
    ) -> Iterator[npt.NDArray[np.float16]]:
        with (
            tempfile.TemporaryDirectory(prefix="themo-ray-") as folder,
            connect(address, Path(folder) / "ray.log") as cluster,
        ):
            machines = list(cluster.machines().values())
            kind = "GPU" if device != "cpu" and any(m.get("GPU") for m in machines) else "CPU"
            if kind == "CPU" and device == "cuda":
                raise InputError("--address: the teacher cannot run on the cluster: Ray has no GPU for it")
            n_readers = sum(int(machine.get(kind, 0.0)) for machine in machines)
            yield from _encode(chunks, (names, device, target, float(kind == "GPU")), n_readers)

    return encode


def _encode(
    chunks: Iterable[list[str]], of_reader: tuple[Names, Device, Target, float], n_readers: int
) -> Iterator[npt.NDArray[np.float16]]:
    import ray.data
    from ray.exceptions import RayError

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    options = {
        "fn_constructor_args": of_reader,
        "compute": ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, min(n_readers, WINDOW))),
        "num_cpus": 1,
        "num_gpus": of_reader[-1],
        "max_restarts": _DEATHS,  # Ray Data retries for ever by default
        "max_task_retries": _DEATHS,
    }
    rest = iter(chunks)
    while window := [pa.table({"text": chunk}) for chunk in islice(rest, WINDOW)]:
        vectors = _map(ray.data.from_arrow_refs([ray.put(table) for table in window]), **options)
        try:
            for batch in vectors.iter_batches(batch_size=None, batch_format="numpy"):
                yield batch["vector"]
        except RayError as error:
            reason = reason_of(error)
            raise InputError(f"--address: the teacher cannot run on the cluster: {reason}") from error


def _map(texts: Any, **options: Any) -> Any:
    """Map each block of texts, a chunk, to its vectors."""
    with warnings.catch_warnings():
        # two of the options have no parameters of their own yet; Ray deprecates the others
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
        return texts.map_batches(_Reader, batch_size=None, batch_format="pyarrow", **options)


class _Reader:
    """The teacher on a worker; on a GPU only if Ray assigned one."""

    def __init__(self, names: Names, device: Device, target: Target, gpus: float) -> None:
        from themo.models.teacher import Teacher  # with torch, on the worker alone

        device = own_device(device, gpus, "the teacher")
        self._teacher = Teacher.load(*names, str(resolve_device(device)))
        self._target = target

    def __call__(self, chunk: pa.Table) -> dict[str, npt.NDArray[Any]]:
        vectors = self._teacher.encode_texts(chunk["text"].to_pylist(), self._target)
        return {"vector": vectors.astype(np.float16)}
