"""Fetching of the test sets' files: captions before training, images on request."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from themo.config.benchmarks import BenchmarkSettings
from themo.config.settings import Settings
from themo.data.crossmodal3600 import CAPTIONS_FILE
from themo.data.missing_files import first_named
from themo.data.xflickrco import captions_file
from themo.data.xtd10 import CAPTIONS_FOLDERS, ENGLISH, IMAGE_NAMES, captions_name, find_file, listed_images
from themo.errors import InputError
from themo.fetching.archives import is_unpacked, refuse_other_kinds, unpack
from themo.files.locks import alone
from themo.process.progress import console


@dataclass(frozen=True)
class Part:
    """A downloadable part of the test data.

    Attributes:
        name: Name for messages.
        place: The file, or the folder for the archive's content.
        source: Address of the file or archive.
        signs: Files and non-empty folders that show that an archive's content is there; empty for a plain
            file.
        captions: Folder that lists the images of an archive, if it exists yet.
        keep: Returns whether to unpack a member of the archive.
        is_captions: Whether training needs the part, to keep captions of the tests out of its pairs.
    """

    name: str
    place: Path
    source: str
    signs: tuple[str, ...] = ()
    captions: Path | None = None
    keep: Callable[[str], bool] = lambda _: True
    is_captions: bool = False

    @property
    def archive(self) -> Path | None:
        """Path of the downloaded archive; None for a file.

        The place is part of the name, since addresses of two parts may end alike; the address's query is not.
        """
        name = Path(re.split("[?#]", self.source)[0]).name
        return self.place.parent / f"{self.place.name}-{name}" if self.signs else None

    @property
    def is_there(self) -> bool:
        """Whether the part is complete, unpacked or copied by hand.

        After a kill the archive is there, and the marker of its unpacking is not.
        """
        if self.archive is None:
            return self.place.exists()
        is_interrupted = self.archive.exists() and not is_unpacked(self.archive, self.place)
        return not is_interrupted and not self.lacking()

    def lacking(self) -> list[str]:
        """Return the names that an archive's folder lacks: listed images, or signs where there is no list."""
        if self.captions is not None:
            try:
                images = dict.fromkeys(listed_images(self.captions, self.place))
                return [str(path.relative_to(self.place)) for path in images if not path.is_file()]
            except InputError:  # without a list, only the folders can be checked
                pass
        return [sign for sign in self.signs if not _is_filled(self.place / sign)]


def _is_filled(path: Path) -> bool:
    """Whether a path is a file or a non-empty folder."""
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def _is_for_tests(member: str) -> bool:
    """Whether ImageNet's validation needs a member of its archive, which may hold other splits."""
    return re.match(r"ILSVRC/(Data|Annotations)/CLS-LOC/(train|test)/", member) is None


def parts(settings: Settings) -> Iterator[Part]:
    """Yield the parts of the test data with a place and an address in the settings."""
    config = settings.benchmarks
    if config.captions is not None and config.captions_source is not None:
        for name in (IMAGE_NAMES, *dict.fromkeys(map(captions_name, (ENGLISH, config.language)))):
            folder = CAPTIONS_FOLDERS.get(name, "XTD10")
            path = find_file(Path(config.captions), name)
            if not path.is_file():
                path = Path(config.captions) / folder / name
            source = f"{config.captions_source}/{folder}/{name}"
            yield Part(f"XTD10 {name}", path, source, is_captions=True)
    yield from _captions_of_sets(config)
    if config.images is not None and config.images_source is not None:
        place = Path(config.images)
        captions = Path(config.captions) if config.captions is not None else None
        folders = ("train2014", "val2014")
        yield Part("MSCOCO images", place, config.images_source, folders, captions)
    if config.imagenet is not None and config.imagenet_source is not None:
        place = Path(config.imagenet)
        images = tuple(f"ILSVRC/{kind}/CLS-LOC/val" for kind in ("Data", "Annotations"))
        signs = (*images, "LOC_synset_mapping.txt")
        source = config.imagenet_source
        yield Part("ImageNet validation", place, source, signs, keep=_is_for_tests)


def _captions_of_sets(config: BenchmarkSettings) -> Iterator[Part]:
    """Yield the captions of Crossmodal-3600, an archive, and of xFlickr&CO, a file a language."""
    if config.xm3600_captions is not None and config.xm3600_captions_source is not None:
        yield Part(
            "Crossmodal-3600 captions",
            Path(config.xm3600_captions),
            config.xm3600_captions_source,
            (CAPTIONS_FILE,),
            keep=lambda member: member == CAPTIONS_FILE,
            is_captions=True,
        )
    if config.xflickrco_captions is not None and config.xflickrco_captions_source is not None:
        for name in map(captions_file, dict.fromkeys((ENGLISH, config.language))):
            source = f"{config.xflickrco_captions_source}/{name}"
            yield Part(f"xFlickr&CO {name}", Path(config.xflickrco_captions, name), source, is_captions=True)


def fetch_parts(settings: Settings, *, offline: bool = False) -> None:
    """Fetch and unpack missing test data.

    Raises:
        InputError: No part has an address; a host is unreachable; an archive is damaged, unsafe or without
            the expected files; the disk is full.
    """
    wanted = list(parts(settings))
    if not wanted:
        raise InputError("--tests: no benchmarks.captions_source, images_source or imagenet_source is given")
    for part in wanted:
        if not part.is_there:
            _fetch(part, offline)


def fetch_captions(settings: Settings, *, offline: bool | None = None) -> None:
    """Fetch the captions, which no training pair may hold; print a warning if that fails.

    Args:
        settings: Settings with folders and addresses of the captions.
        offline: No network access; None: as ``HF_HUB_OFFLINE`` says, also for the hub's files.
    """
    if offline is None:
        offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    if settings.data.targets is not None:
        return  # a student of own targets is never tested on images
    failures = []
    for part in parts(settings):
        if part.is_captions and not part.is_there:
            try:
                _fetch(part, offline)
            except InputError as error:
                failures.append(str(error))
    if failures:
        reasons = "\n".join(failures)
        console.print(
            f"{reasons}. Without these files, captions of the tests may be among the training pairs; "
            "once the files exist, corpus and teacher vectors are prepared again, and earlier runs and "
            "searches cannot be resumed"
        )


def _fetch(part: Part, offline: bool) -> None:
    """Fetch and unpack a part; a lock leaves the work to one of several processes."""
    from themo.fetching.downloads import fetch

    archive = part.archive
    if archive is None:
        console.print(f"{part.name}: from {part.source} to {part.place}")
        fetch(part.source, part.place, offline=offline)
        return
    refuse_other_kinds(archive, part.source)
    try:
        part.place.parent.mkdir(parents=True, exist_ok=True)
        lock = part.place.parent / f".{part.place.name}.fetching.lock"
        with alone(lock, f"{part.place}: another process is fetching it; waiting"):
            if part.is_there:  # by now
                return
            console.print(f"{part.name}: from {part.source} to {part.place}")
            was_there = archive.exists()  # put there by the user, or downloaded by a killed run
            fetch(part.source, archive, offline=offline)
            unpack(archive, part.place, part.keep)
            if lacking := part.lacking():
                raise InputError(
                    f"{archive}: must contain {first_named(lacking)}, which {part.place} lacks after "
                    "unpacking; remove the archive to download it again"
                )
            if was_there:
                console.print(f"{archive}: is unpacked and no longer needed")
            else:
                archive.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{part.place}: cannot be written: {error.strerror or error}") from error
