"""Where the files of the test sets come from: captions and images, fetched on request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from themo.archives import is_unpacked, unpack
from themo.benchmarks import CAPTIONS_FOLDERS, ENGLISH, IMAGE_NAMES, captions_name
from themo.config import Settings
from themo.downloads import Remote, fetch
from themo.errors import InputError
from themo.progress import console


@dataclass(frozen=True)
class Part:
    """A part of the test data that a host has.

    Attributes:
        name: For people.
        place: The file, or the folder that the archive is unpacked into.
        source: Its address.
        sign: What is there when the part is; of an archive, a folder of it.
    """

    name: str
    place: Path
    source: Remote
    sign: Path

    @property
    def archive(self) -> Path | None:
        """Where the archive lies until it is unpacked; None for a plain file."""
        return None if self.sign == self.place else self.place.parent / Path(self.source.url).name

    @property
    def is_there(self) -> bool:
        """Whether all of it is, or something of it that was put there by hand.

        An archive that still lies there was not unpacked to its end.
        """
        if self.archive is not None and self.archive.exists():
            return False
        return self.sign.exists() or (self.archive is not None and is_unpacked(self.archive, self.place))


def parts(settings: Settings) -> Iterator[Part]:
    """The parts of the test data that settings name a place and an address for."""
    config = settings.benchmarks
    if config.captions is not None and config.captions_source is not None:
        for name in (IMAGE_NAMES, *dict.fromkeys(map(captions_name, (ENGLISH, config.language)))):
            folder = CAPTIONS_FOLDERS.get(name, "XTD10")
            path = Path(config.captions) / folder / name
            yield Part(f"XTD10 {name}", path, Remote(f"{config.captions_source}/{folder}/{name}"), path)
    if config.images is not None and config.images_source is not None:
        place = Path(config.images)
        yield Part("MSCOCO images", place, Remote(config.images_source), place / "train2014")
    if config.imagenet is not None and config.imagenet_source is not None:
        place = Path(config.imagenet)
        yield Part("ImageNet validation", place, Remote(config.imagenet_source), place / "ILSVRC")


def fetch_parts(settings: Settings, *, offline: bool = False) -> None:
    """Fetch and unpack what is missing of the test data.

    Raises:
        InputError: Nothing has an address; a host cannot be reached; an archive is damaged or unsafe; the
            disk is full.
    """
    wanted = list(parts(settings))
    if not wanted:
        raise InputError("--tests: no benchmarks.captions_source, images_source or imagenet_source is given")
    for part in wanted:
        if part.is_there:
            continue
        archive = part.archive
        console.print(f"{part.name}: from {part.source.url} to {part.place}")
        fetch(part.source, archive or part.place, offline=offline)
        if archive is not None:
            unpack(archive, part.place)
            archive.unlink()
