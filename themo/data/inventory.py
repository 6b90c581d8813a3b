"""The inventory of a run's files for ``prepare --dry-run``: present or missing, and download sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rich.filesize import decimal

from themo.config.catalogue import CATALOGUE, parse_weighted
from themo.config.places import LOCAL
from themo.config.presets import MINIATURE
from themo.config.settings import Settings
from themo.data.sources import miniature_is_built
from themo.data.test_files import parts
from themo.errors import InputError
from themo.files.weights import PICKLED_WEIGHTS, SAFE_WEIGHTS
from themo.models.teacher_names import hub_repository

_OF_TESTS = (
    *("captions", "images", "imagenet", "prompts", "class_names", "templates"),
    *("xm3600_captions", "xm3600_images", "xflickrco_captions", "xflickrco_images"),
)
"""Files and folders of the test sets, by their settings."""


@dataclass(frozen=True)
class Item:
    """An input of a run.

    Attributes:
        name: Purpose of the input.
        place: Path, or name at the host.
        state: ``there``, or ``missing`` with the source and size of the download.
    """

    name: str
    place: str
    state: str


def inventory(settings: Settings, *, offline: bool = False) -> list[Item]:
    """List all inputs that settings name, in reading order.

    Args:
        settings: Settings of a run.
        offline: Do not ask hosts for sizes.
    """
    return [*_repositories(settings, offline), *_files(settings), *_test_data(settings, offline)]


def _repositories(settings: Settings, offline: bool) -> Iterator[Item]:
    corpora = [("corpus", parse_weighted(name)[1]) for name in settings.data.corpus]
    if settings.data.validation is not None:
        corpora.append(("validation", settings.data.validation))
    for name, corpus in corpora:
        if corpus in CATALOGUE:
            entry = CATALOGUE[corpus]
            yield _of_hub(f"{name} {corpus}", entry.repository, "dataset", (entry.files,), offline)
        else:
            yield _local(name, corpus, settings)
    weights = (SAFE_WEIGHTS, PICKLED_WEIGHTS)
    student = settings.student
    models = [("student", student.backbone, weights if student.backbone_weights else ("config.json",))]
    if settings.data.targets is None:
        config = settings.teacher
        yield _tower("teacher", config.architecture, config.pretrained, settings, offline)
    tests = settings.benchmarks
    if tests.mclip is not None and tests.mclip_architecture is not None:
        yield _tower("mclip images", tests.mclip_architecture, tests.mclip_pretrained, settings, offline)
    for name, model in (
        ("mclip", settings.benchmarks.mclip),
        ("translator", settings.benchmarks.translator),
        ("prompt_translator", settings.benchmarks.prompt_translator),
    ):
        if model is not None:
            models.append((name, model, weights))
    for name, model, files in models:
        if _is_local(model):
            yield _local(name, model, settings)
        else:
            yield _of_hub(name, model, "model", files, offline)


def _tower(name: str, architecture: str, pretrained: str | None, settings: Settings, offline: bool) -> Item:
    """Return the item of an open_clip model."""
    is_folder = _is_local(architecture)
    repository = None if is_folder else hub_repository(architecture, pretrained)
    if repository is not None:
        return _of_hub(f"{name} {architecture}", repository, "model", ("*.safetensors", "*.bin"), offline)
    if is_folder:
        return _local(name, architecture, settings)
    return Item(name, architecture, "open_clip's own")


def _files(settings: Settings) -> Iterator[Item]:
    fetched = {name for name in _OF_TESTS if _source(settings, name) is not None}
    for section, names in (
        (settings.data, ("targets", "validation_captions", "validation_images")),
        (settings.benchmarks, _OF_TESTS),
    ):
        for name in names:
            place = getattr(section, name)
            if place is not None and name not in fetched:
                yield _local(name, place, settings)


def _source(settings: Settings, name: str) -> str | None:
    source: str | None = getattr(settings.benchmarks, f"{name}_source", None)
    return source


def _is_local(name: str) -> bool:
    return name.startswith((MINIATURE, LOCAL, "/", ".")) or Path(name).exists()


def _local(name: str, place: str, settings: Settings) -> Item:
    if place.startswith(MINIATURE):
        is_built = miniature_is_built(settings)
        return Item(name, place, "there" if is_built else "missing: made by Themo at first use")
    there = Path(place.removeprefix(LOCAL)).exists()
    return Item(name, place, "there" if there else "missing: no such file or folder")


def _of_hub(name: str, repository: str, kind: str, patterns: tuple[str, ...], offline: bool) -> Item:
    from themo.fetching.hub import ENDPOINT, is_cached, remote_bytes  # the hub's client, only where asked

    if is_cached(repository, kind, patterns):
        return Item(name, repository, "there")
    if offline:
        return Item(name, repository, f"missing: from {ENDPOINT}")
    try:
        amount = decimal(remote_bytes(repository, kind, patterns))
    except InputError as error:  # local items are listed all the same
        return Item(name, repository, f"missing, size unknown: {error}")
    return Item(name, repository, f"missing: {amount} from {ENDPOINT}")


def _test_data(settings: Settings, offline: bool) -> Iterator[Item]:
    for part in parts(settings):
        state = "there"
        if not part.is_there:
            from themo.fetching.downloads import probe

            try:
                size = None if offline else probe(part.source)
            except InputError:
                size = None
            amount = f"{size / 1e6:,.1f} MB" if size is not None else "size unknown"
            asked = "" if part.is_captions else " (--tests)"
            state = f"missing: {amount} from {urlsplit(part.source).hostname}{asked}"
        yield Item(part.name, str(part.place), state)
