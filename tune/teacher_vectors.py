"""Teacher vectors of a large corpus, computed over all machines of a Ray cluster.

The teacher reads the corpus chunk by chunk, as it does on one machine, and nothing else enters the vectors of
a chunk: they are those of one machine bit for bit where the machines and their number of threads are alike,
and elsewhere differ by less than the half precision that they are kept in. They come back in order and are
written into the same cache entry.

The corpus passes through a window of some chunks for each reader of it: it may be larger than the memory of
the driver, and than the cluster's object store. (Ray Data reads by tasks that may run on any machine; the
corpus lies on the driver's.)
A reader gets a chunk when it has loaded the teacher, so that one that waits for a place on a machine keeps
nobody waiting; the chunk of one that dies is read by another.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from themo.devices import Device, resolve_device
from themo.errors import InputError, reason_of
from themo.targets import EncodeElsewhere
from themo.teacher import Target, Teacher
from tune.cluster import connect

CHUNKS_A_READER = 2
"""Of the window: one that is read, and one that waits for those before it."""

Names = tuple[str, str | None]
"""A teacher's architecture and weights. A folder must be shared by the machines."""

Vectors = npt.NDArray[np.float16]


def encoder_on(address: str) -> EncodeElsewhere:
    """What computes teacher vectors on the cluster at an address, with all its GPUs, or else all its CPUs."""

    def encode(
        names: Names, device: Device, chunks: Iterable[list[str]], target: Target
    ) -> Iterator[Vectors]:
        with (
            tempfile.TemporaryDirectory(prefix="themo-ray-") as folder,
            connect(address, Path(folder) / "ray.log") as cluster,
        ):
            machines = list(cluster.machines().values())
            kind = "GPU" if device != "cpu" and any(m.get("GPU") for m in machines) else "CPU"
            n_readers = sum(int(machine.get(kind, 0.0)) for machine in machines)
            yield from _encode(chunks, (names, device, target), kind, max(1, n_readers))

    return encode


def _encode(
    chunks: Iterable[list[str]], of_reader: tuple[Names, Device, Target], kind: str, n_readers: int
) -> Iterator[Vectors]:
    import ray
    from ray.exceptions import RayError, RayTaskError

    reader = ray.remote(num_cpus=1, num_gpus=1 if kind == "GPU" else 0)(_Reader)
    readers = _Readers(partial(reader.remote, *of_reader), n_readers)
    try:
        yield from _in_order(iter(chunks), readers, CHUNKS_A_READER * n_readers)
    except RayError as error:
        cause = error.cause if isinstance(error, RayTaskError) else error
        raise InputError(f"--address: the teacher cannot read on the cluster: {reason_of(cause)}") from error
    finally:
        readers.dismiss()


@dataclass(eq=False)
class _Chunk:
    """References to a chunk in the object store and, once it has been read, to its vectors."""

    texts: Any
    vectors: Any = None


def _in_order(chunks: Iterator[list[str]], readers: _Readers, size: int) -> Iterator[Vectors]:
    """The vectors of each chunk; so many chunks at most are under way at once."""
    import ray

    window: deque[_Chunk] = deque()
    while True:
        while len(window) < size and (texts := next(chunks, None)) is not None:
            window.append(_Chunk(ray.put(texts)))
            readers.waiting.append(window[-1])
        if not window:
            return
        while (vectors := readers.fetch(window[0])) is None:
            readers.work()
        window.popleft()
        yield vectors


class _Readers:
    """The teacher on workers, each of which reads a chunk at a time.

    Args:
        start: Starts one.
        most: How many at most.

    Attributes:
        waiting: Chunks that none of them has, the next one first.
    """

    def __init__(self, start: Callable[[], Any], most: int) -> None:
        self._start = start
        self._most = most
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, _Chunk | None, Any]] = {}
        self._losses = 0
        self.waiting: deque[_Chunk] = deque()

    def fetch(self, chunk: _Chunk) -> Vectors | None:
        """The vectors of a chunk; None where they are not there, or not any more: then it is read again."""
        import ray

        if chunk.vectors is None:
            return None
        try:
            vectors: Vectors = ray.get(chunk.vectors)
        except _losses() as error:
            self._count(error)
            chunk.vectors = None
            self.waiting.appendleft(chunk)
            return None
        return vectors

    def work(self) -> None:
        """Hand out what waits, and wait until a reader is done with something."""
        import ray

        while self.waiting and self._idle:
            reader, first = self._idle.pop(), self.waiting.popleft()
            done, vectors = reader.read.options(num_returns=2).remote(first.texts)
            self._busy[done] = (reader, first, vectors)
        n_loading = sum(chunk is None for _, chunk, _ in self._busy.values())
        for _ in range(min(len(self.waiting) - n_loading, self._most - len(self._busy))):
            reader = self._start()
            self._busy[reader.load.remote()] = (reader, None, None)
        (done,), _ = ray.wait(list(self._busy), num_returns=1)
        reader, chunk, vectors = self._busy.pop(done)
        try:
            ray.get(done)
        except _losses() as error:
            self._count(error)
            if chunk is not None:
                self.waiting.appendleft(chunk)
            return
        self._idle.append(reader)
        if chunk is not None:
            chunk.vectors, self._losses = vectors, 0

    def dismiss(self) -> None:
        """Let what they have be free for others."""
        import ray

        for reader in (*self._idle, *(reader for reader, _, _ in self._busy.values())):
            ray.kill(reader)

    def _count(self, error: Exception) -> None:
        """Raise what was lost where all of them might have died twice, and nothing was read in between."""
        self._losses += 1
        if self._losses > 2 * self._most:
            raise error


def _losses() -> tuple[type[Exception], ...]:
    """What says that a reader, or what it has read, is gone; anything else is the fault of what it does."""
    from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayActorError

    return RayActorError, ObjectLostError, NodeDiedError, OutOfMemoryError


class _Reader:
    """The teacher on a worker."""

    def __init__(self, names: Names, device: Device, target: Target) -> None:
        self._names = names
        self._device = device
        self._target = target

    def load(self) -> None:
        """Apart from the start: what goes wrong here is no death."""
        self._teacher = Teacher.load(*self._names, str(resolve_device(self._device)))

    def read(self, texts: list[str]) -> tuple[None, Vectors]:
        """Nothing, as a sign that it is done, and the vectors, which stay where they are until their turn."""
        return None, self._teacher.encode_texts(texts, self._target).astype(np.float16)
