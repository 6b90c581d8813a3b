"""Training data on all machines of a cluster: a machine without the driver's files fetches them once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from themo.config.places import expand_home
from themo.data.dataset import CaptionedImages, EncodedPairs, TrainingData
from themo.errors import InputError
from themo.files.cache import Cache

CHUNK_BYTES = 32 << 20
"""Chunk size of transfers, so that files need not fit into memory."""

FOLDER_VARIABLE = "THEMO_SHIPPED_DIR"
"""Variable with the folder of fetched files on a machine; default ``~/.cache/themo/shipped``."""


@dataclass(frozen=True)
class File:
    """A file on the driver's machine.

    Attributes:
        path: Absolute path on the driver's machine.
        size: Size in bytes.
        modified: Time of the last change, nanoseconds since the epoch.
    """

    path: Path
    size: int
    modified: int

    def is_here(self) -> bool:
        """Whether this machine sees the same file: it is the driver's machine or shares the folder."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.size, self.modified)


@dataclass(frozen=True)
class Item:
    """A folder with its files, or a single file.

    Attributes:
        path: Absolute path on the driver's machine.
        files: The files, sorted by name.
    """

    path: Path
    files: tuple[File, ...]

    @classmethod
    def at(cls, path: Path) -> Item:
        """The file or folder at a path of this machine."""
        path = path.absolute()
        found = [path] if path.is_file() else sorted(inner for inner in path.rglob("*") if inner.is_file())
        stats = [(each, each.stat()) for each in found]
        return cls(path, tuple(File(each, stat.st_size, stat.st_mtime_ns) for each, stat in stats))

    @property
    def folder(self) -> Path:
        """The folder to which the files' names are relative."""
        is_file = [file.path for file in self.files] == [self.path]
        return self.path.parent if is_file else self.path


@dataclass(frozen=True)
class Shipment:
    """The files of training data, and the actor that serves them.

    Attributes:
        items: The files and folders that the data names, by name.
        source: Ray actor on the driver's machine.
    """

    items: dict[str, Item]
    source: Any

    @classmethod
    def of(cls, data: Iterable[TrainingData]) -> Shipment:
        """The shipment of all files that the trials of a search read; call it on the driver."""
        items = {str(path): Item.at(path) for each in data for path in _paths(each)}
        here = ray.get_runtime_context().get_node_id()
        actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Source)
        source = actor.options(scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False))
        return cls(items, source.remote({file.path for item in items.values() for file in item.files}))

    def unpack(self, data: TrainingData) -> TrainingData:
        """The data with paths of this machine; missing files are fetched, once for all workers of a machine.

        Raises:
            OSError: A file cannot be written, such as on a full disk.
        """

        def here(path: Path) -> Path:
            item = self.items[str(path)]
            return item.path if all(file.is_here() for file in item.files) else self._fetched(item)

        def pairs_here(pairs: EncodedPairs) -> EncodedPairs:
            return EncodedPairs(here(pairs.folder), here(pairs.vectors))

        def images_here(images: CaptionedImages) -> CaptionedImages:
            to_image_space = images.to_image_space and here(images.to_image_space)
            return CaptionedImages(pairs_here(images.captions), to_image_space)

        return replace(
            data,
            train=pairs_here(data.train),
            validation=pairs_here(data.validation),
            backbone=str(here(Path(data.backbone))) if data.backbone in self.items else data.backbone,
            images=data.images and images_here(data.images),
            to_image_space=data.to_image_space and here(data.to_image_space),
            plain_backbone=data.plain_backbone and str(here(Path(data.plain_backbone))),
        )

    def _fetched(self, item: Item) -> Path:
        if item in _fetched:
            return _fetched[item]

        def fetch(folder: Path) -> None:
            for file in item.files:
                target = folder / file.path.relative_to(item.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as out:
                    for offset in range(0, file.size, CHUNK_BYTES):
                        out.write(ray.get(self.source.read.remote(file.path, offset)))

        key = [[str(file.path), file.size, file.modified] for file in item.files]
        try:
            entry = Cache(shipped_folder()).entry("data", key, fetch)
        except InputError as error:
            raise error.__cause__ or error from None  # the OSError, since the caller may wait for space
        _fetched[item] = entry / item.path.relative_to(item.folder)
        return _fetched[item]


class _Source:
    """Reads the files of a shipment, and no other files.

    Args:
        allowed: Paths of the files.
    """

    def __init__(self, allowed: set[Path]) -> None:
        self._allowed = allowed

    def read(self, path: Path, offset: int) -> bytes:
        """A chunk of a file."""
        if path not in self._allowed:
            raise PermissionError(f"{path} is not a file of this search")
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK_BYTES)


def shipped_folder() -> Path:
    """Folder of fetched files on this machine."""
    return Path(expand_home(os.environ.get(FOLDER_VARIABLE) or "~/.cache/themo/shipped"))


_fetched: dict[Item, Path] = {}
"""Items that this process has fetched or found: opening an entry of a cache reads all its files."""


def _paths(data: TrainingData) -> Iterable[Path]:
    every = [data.train, data.validation, *([data.images.captions] if data.images else [])]
    for pairs in every:
        yield from (pairs.folder, pairs.vectors)
    if data.images and data.images.to_image_space:
        yield data.images.to_image_space
    if data.to_image_space:
        yield data.to_image_space
    if data.plain_backbone:
        yield Path(data.plain_backbone)
    if Path(data.backbone).is_dir():
        yield Path(data.backbone)
