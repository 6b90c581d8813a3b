"""Checks with marker files that all machines of a cluster see the same storage under one name."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow

from themo.errors import InputError, reason_of
from themo.files.disk_space import is_full
from tune.cluster.storage import Storage

_ANSWER_SECONDS = 60.0
_SIGNATURE = ".themo"


def refuse_unwritable(storage: Storage) -> None:
    """Refuse a storage that this machine cannot write to.

    Raises:
        InputError: A file cannot be written there.
    """
    _leave_mark(storage).remove()


def refuse_unseen(storage: Storage, node_ids: Iterable[str]) -> None:
    """Refuse a storage that a machine of the Ray cluster does not share with this one.

    Args:
        storage: The storage.
        node_ids: Ray's ids of the machines that trials may run on.

    Raises:
        InputError: A machine does not see a file that this one wrote there, or cannot write there.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    mark = _leave_mark(storage)
    look = ray.remote(num_cpus=0, max_retries=0)(_look)
    try:
        looks = {
            node_id: look.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)
            ).remote(storage.place, mark.name)
            for node_id in node_ids
        }
        for node_id, answer in looks.items():
            try:
                machine, failure = ray.get(answer, timeout=_ANSWER_SECONDS)
            except ray.exceptions.RayError as error:
                if not any(node["NodeID"] == node_id and node["Alive"] for node in ray.nodes()):
                    continue  # the machine has just died
                machine, failure = f"node {node_id[:8]}", reason_of(error)
            if failure:
                raise InputError(
                    f"--storage-path {storage.place}: must be shared by all machines of the cluster, but "
                    f"{machine} {failure}"
                )
    finally:
        mark.remove()


def sign(storage: Storage) -> None:
    """Write the marker file that machines which join later check with `refuse_unsigned`.

    Raises:
        InputError: The file cannot be written.
    """
    _leave_mark(storage, _SIGNATURE)


def refuse_unsigned(storage: Storage) -> None:
    """Refuse a storage on a machine that does not share it with the driver.

    Raises:
        OSError: The marker file of `sign` is missing.
    """
    if not _Mark(storage, _SIGNATURE).is_there():
        raise OSError(f"{platform.node()} cannot see the files of other machines in {storage.place}")


@dataclass(frozen=True)
class _Mark:
    """A marker file in a storage."""

    storage: Storage
    name: str

    @property
    def _path(self) -> str:
        return f"{self.storage.root}/{self.name}"

    def write(self) -> None:
        self.storage.filesystem.create_dir(self.storage.root)
        with self.storage.filesystem.open_output_stream(self._path) as file:
            file.write(self.name.encode())

    def is_there(self) -> bool:
        return bool(self.storage.filesystem.get_file_info(self._path).is_file)

    def remove(self) -> None:
        self.storage.filesystem.delete_file(self._path)


def _leave_mark(storage: Storage, name: str | None = None) -> _Mark:
    mark = _Mark(storage, name or f".themo-{secrets.token_hex(8)}")
    try:
        mark.write()
    except (OSError, pyarrow.ArrowException) as error:
        if is_full(error):  # the caller may wait for space
            raise
        raise InputError(f"--storage-path {storage.place}: cannot be written: {reason_of(error)}") from None
    return mark


def _look(place: str, name: str) -> tuple[str, str]:
    """On a worker: the machine's name, and the problem with the storage there; empty without a problem."""
    machine = platform.node()
    try:
        storage = Storage(place)
        if not _Mark(storage, name).is_there():
            return machine, "cannot see files that this machine has written"
        _leave_mark(storage).remove()
    except (OSError, InputError, pyarrow.ArrowInvalid) as error:
        if not is_full(error):
            return machine, f"cannot use it: {reason_of(error)}"
    return machine, ""
