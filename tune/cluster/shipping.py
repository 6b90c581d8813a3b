"""Training data on the machines of a cluster: each that does not see the driver's files fetches them once."""

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
"""Read and sent at a time, so that no file has to fit into memory."""

FOLDER_VARIABLE = "THEMO_SHIPPED_DIR"
"""Where a machine keeps what it fetched; ``~/.cache/themo/shipped`` where it is not set."""


@dataclass(frozen=True)
class File:
    """A file on the driver's machine.

    Attributes:
        path: Absolute, there.
        size: In bytes.
        modified: Nanoseconds since the epoch.
    """

    path: Path
    size: int
    modified: int

    def is_here(self) -> bool:
        """Whether this machine sees the same one, by a shared folder or because it is the driver's."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.size, self.modified)


@dataclass(frozen=True)
class Item:
    """A folder with all that is in it, or a single file.

    Attributes:
        path: Absolute, on the driver's machine.
        files: In the order of their names.
    """

    path: Path
    files: tuple[File, ...]

    @classmethod
    def at(cls, path: Path) -> Item:
        """What stands at a path of this machine."""
        path = path.absolute()
        found = [path] if path.is_file() else sorted(inner for inner in path.rglob("*") if inner.is_file())
        stats = [(each, each.stat()) for each in found]
        return cls(path, tuple(File(each, stat.st_size, stat.st_mtime_ns) for each, stat in stats))

    @property
    def folder(self) -> Path:
        """What the files' names are relative to."""
        is_file = [file.path for file in self.files] == [self.path]
        return self.path.parent if is_file else self.path


@dataclass(frozen=True)
class Shipment:
    """The files of training data, and who hands them out.

    Attributes:
        items: What the data names, by the names that it has there.
        source: Ray actor on the driver's machine.
    """

    items: dict[str, Item]
    source: Any

    @classmethod
    def of(cls, data: Iterable[TrainingData]) -> Shipment:
        """All that the trials of a search read; to be called on the driver, whose machine hands it out."""
        items = {str(path): Item.at(path) for each in data for path in _paths(each)}
        here = ray.get_runtime_context().get_node_id()
        actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Source)
        source = actor.options(scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False))
        return cls(items, source.remote({file.path for item in items.values() for file in item.files}))

    def unpack(self, data: TrainingData) -> TrainingData:
        """The data with paths of this machine; what it does not see is fetched, once for all its workers.

        Raises:
            OSError: It cannot be written; there is no room for it, say.
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
            raise error.__cause__ or error from None  # the disk's own: room may be waited for
        _fetched[item] = entry / item.path.relative_to(item.folder)
        return _fetched[item]


class _Source:
    """Reads the files of a shipment, and no others.

    Args:
        allowed: Their paths.
    """

    def __init__(self, allowed: set[Path]) -> None:
        self._allowed = allowed

    def read(self, path: Path, offset: int) -> bytes:
        """A chunk of a file."""
        if path not in self._allowed:
            raise PermissionError(f"{path} is none of this search's files")
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK_BYTES)


def shipped_folder() -> Path:
    """Where this machine keeps what it fetched."""
    return Path(expand_home(os.environ.get(FOLDER_VARIABLE) or "~/.cache/themo/shipped"))


_fetched: dict[Item, Path] = {}
"""What this process has fetched or found: a cache's entry is read through whenever it is opened."""


def _paths(data: TrainingData) -> Iterable[Path]:
    every = [data.train, data.validation, *([data.images.captions] if data.images else [])]
    for pairs in every:
        yield from (pairs.folder, pairs.vectors)
    if data.images and data.images.to_image_space:
        yield data.images.to_image_space
    if Path(data.backbone).is_dir():
        yield Path(data.backbone)
