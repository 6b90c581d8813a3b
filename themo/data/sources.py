"""Resolution of names in settings to files, building the miniature on demand.

A setting such as ``miniature:corpus/train.tsv`` names a file of the miniature, wherever its cache is. Other
names are ordinary paths, or names for the library that loads them.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from themo.config.catalogue import CATALOGUE, parse_weighted
from themo.config.miniature import MiniatureRecipe
from themo.config.places import LOCAL
from themo.config.presets import MINIATURE
from themo.config.settings import Settings
from themo.errors import InputError, MissingInputError
from themo.files.cache import Cache
from themo.process.progress import console

if TYPE_CHECKING:
    from themo.data.corpora import Corpus
    from themo.miniature.pictured import Pictured

MINIATURE_VERSION = 2
"""Version in the miniature's cache key: raise it when a change of code changes the miniature."""


class Sources:
    """Resolver of the names in settings.

    Args:
        settings: Settings with the miniature's recipe and the cache folder.
    """

    def __init__(self, settings: Settings) -> None:
        self.cache = Cache(Path(settings.paths.cache_dir).absolute())  # Ray workers start in other folders
        self._settings = settings

    @cached_property
    def miniature(self) -> Path:
        """Return the folder of the miniature, built at first use."""
        return miniature(self.cache, self._settings.miniature)

    def resolve(self, name: str) -> str:
        """Replace ``miniature:`` in a name by its folder; make the path of a folder absolute."""
        if name.startswith(MINIATURE):
            return str(self.miniature / name.removeprefix(MINIATURE))
        kind = LOCAL if name.startswith(LOCAL) else ""
        place = name.removeprefix(kind)
        is_folder = os.path.isdir(place)  # noqa: PTH112 -- Path raises for some texts
        return kind + (str(Path(place).absolute()) if is_folder else place)

    def teacher(self, architecture: str, pretrained: str | None) -> tuple[str, str | None]:
        """A teacher's architecture and weights, resolved: the first arguments of `Teacher.load`."""
        return self.resolve(architecture), self.resolve(pretrained) if pretrained else None

    def pictured(self, captions: str) -> Pictured | None:
        """Return the scenes of a retrieval set's pictures if it is the miniature's, else None."""
        from themo.miniature.pictured import Pictured, PicturedSplit, pictured_scenes
        from themo.miniature.scenes import World

        for split in get_args(PicturedSplit):
            if captions == f"{MINIATURE}{split}/xtd10":
                recipe = self._settings.miniature
                world = World(recipe.seed)
                return Pictured(pictured_scenes(recipe, world, split)[0], world, split)
        return None

    def corpus(
        self, name: str, setting: str, columns: tuple[str, str], image_column: str | None = None
    ) -> Corpus:
        """Return the corpus of a name in settings: files, or a corpus of the catalogue.

        Raises:
            InputError: The file is missing, or the corpus cannot be fetched.
        """
        from themo.data.corpora import Corpus  # with Arrow, which looking for files does without

        weight, plain = parse_weighted(name)
        if plain in CATALOGUE:
            from themo.fetching.hub import fetch_dataset  # imports take a second

            entry = CATALOGUE[plain]
            files = fetch_dataset(entry.repository, entry.files)
            return Corpus(plain, files, entry.columns, weight, only=entry.only)
        return Corpus(plain, (self.path(plain, setting),), columns, weight, image_column)

    def fetch_repositories(self) -> None:
        """Fetch missing corpora and the backbone from the hub.

        Raises:
            InputError: The hub is unreachable, or lacks a repository.
        """
        data, student = self._settings.data, self._settings.student
        for name in data.corpus:
            self.corpus(name, "data.corpus", data.columns)
        if not student.backbone.startswith(MINIATURE):
            self.backbone(student.backbone, student.backbone_weights)

    def backbone(self, name: str, weights: bool) -> str:
        """Return the folder of the student's backbone, fetched from the hub if it is missing.

        Raises:
            InputError: The model is unknown or cannot be fetched.
        """
        folder = self.resolve(name)
        if Path(folder).is_dir():
            return folder
        from themo.fetching.hub import fetch_model  # imports take a second

        return str(fetch_model(folder, f"student.backbone {name}", weights=weights))

    def backbone_repository(self, name: str) -> str | None:
        """Return the hub repository of a backbone; None if it is a folder."""
        return None if Path(self.resolve(name)).is_dir() else name

    def path(self, name: str, setting: str) -> Path:
        """Return the path of an existing file or folder, absolute and without ``..``.

        Raises:
            InputError: The path does not exist or cannot be read; the message names the setting.
        """
        path = Path(self.resolve(name)).absolute()
        try:
            path.stat()
        except FileNotFoundError:
            known = f"; known names: {', '.join(CATALOGUE)}" if setting == "data.corpus" else ""
            raise MissingInputError(f"{setting}: no such file or folder: {name}{known}") from None
        except (OSError, ValueError) as error:  # ValueError: a null byte in the name
            raise InputError(
                f"{setting}: cannot be read: {name}: {getattr(error, 'strerror', error)}"
            ) from None
        # only the folder: a file of the hub's cache is a link to a file without the name's suffix
        return path.parent.resolve() / path.name if ".." in path.parts else path


def refuse_missing_files(settings: Settings) -> None:
    """Refuse settings whose training data are missing, without reading the data.

    Corpora of the catalogue, which are fetched, and files of the miniature, which are built, count as
    present.

    Raises:
        InputError: A file or folder does not exist or cannot be reached; the message names the setting.
    """
    sources, data = Sources(settings), settings.data
    corpora = [("data.corpus", parse_weighted(name)[1]) for name in data.corpus]
    corpora.append(("data.validation", data.validation or ""))
    files = [(name, getattr(data, name)) for name in ("targets", "validation_captions", "validation_images")]
    named = [(setting, name) for setting, name in corpora if name not in CATALOGUE]
    for setting, name in [*named, *((f"data.{setting}", name or "") for setting, name in files)]:
        if name and not name.startswith(MINIATURE):
            sources.path(name, setting)


def miniature_is_built(settings: Settings) -> bool:
    """Whether the miniature of some settings is in the cache."""
    return Cache(Path(settings.paths.cache_dir)).has("miniature", _miniature_key(settings.miniature))


def _miniature_key(recipe: MiniatureRecipe) -> dict[str, object]:
    return {"version": MINIATURE_VERSION, **recipe.model_dump(mode="json")}


def miniature(cache: Cache, recipe: MiniatureRecipe) -> Path:
    """Return the folder of a recipe's miniature, built if it is not in the cache."""

    def build(folder: Path) -> None:
        from themo.miniature.building import build as build_world  # imports torch and open_clip

        console.print(
            "Building the miniature (scenes, captions, teacher); later runs take it from the cache."
        )
        build_world(recipe, folder)

    return cache.entry("miniature", _miniature_key(recipe), build)
