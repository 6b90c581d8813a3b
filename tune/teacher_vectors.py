"""Teacher vectors of a large corpus, computed over all machines of a Ray cluster with Ray Data.

The teacher reads the corpus chunk by chunk, as it does on one machine, and nothing else enters the vectors of
a chunk: they are those of one machine bit for bit where the machines and their number of threads are alike,
and elsewhere differ by less than the half precision that they are kept in. They come back in order and are
written into the same cache entry.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from themo.devices import Device, resolve_device
from themo.errors import InputError, reason_of
from themo.progress import track
from themo.targets import EncodeElsewhere
from themo.teacher import Target, Teacher
from tune.cluster import connect

Names = tuple[str, str | None]
"""A teacher's architecture and weights. A folder must be shared by the machines."""


def encoder_on(address: str) -> EncodeElsewhere:
    """What computes teacher vectors on the cluster at an address, with all its GPUs, or else all its CPUs."""

    def encode(
        names: Names, device: Device, chunks: Iterable[list[str]], target: Target
    ) -> Iterator[npt.NDArray[np.float16]]:
        with (
            tempfile.TemporaryDirectory(prefix="themo-ray-") as folder,
            connect(address, Path(folder) / "ray.log") as cluster,
        ):
            machines = list(cluster.machines().values())
            kind = "GPU" if device != "cpu" and any(m.get("GPU") for m in machines) else "CPU"
            n_readers = sum(int(machine.get(kind, 0.0)) for machine in machines)
            yield from _encode(chunks, (names, device, target), kind, n_readers)

    return encode


def _encode(
    chunks: Iterable[list[str]], of_reader: tuple[Names, Device, Target], kind: str, n_readers: int
) -> Iterator[npt.NDArray[np.float16]]:
    import ray.data
    from ray.exceptions import RayError

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    tables = [pa.table({"text": chunk}) for chunk in chunks]
    n_texts = sum(map(len, tables))
    vectors = ray.data.from_arrow_refs([ray.put(table) for table in tables]).map_batches(
        _Reader,
        fn_constructor_args=of_reader,
        batch_size=None,  # a chunk
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, min(n_readers, len(tables)))),
        num_cpus=1,
        num_gpus=1 if kind == "GPU" else 0,
    )
    try:
        with track("Teacher reads English on the cluster", n_texts, "texts") as advance:
            for batch in vectors.iter_batches(batch_size=None, batch_format="numpy"):
                advance(len(batch["vector"]))
                yield batch["vector"]
    except RayError as error:
        raise InputError(f"--address: the teacher cannot read on the cluster: {reason_of(error)}") from error


class _Reader:
    """The teacher on a worker."""

    def __init__(self, names: Names, device: Device, target: Target) -> None:
        self._teacher = Teacher.load(*names, str(resolve_device(device)))
        self._target = target

    def __call__(self, chunk: pa.Table) -> dict[str, npt.NDArray[Any]]:
        vectors = self._teacher.encode_texts(chunk["text"].to_pylist(), self._target)
        return {"vector": vectors.astype(np.float16)}
