"""Check that the test data of settings exist, before any model is loaded."""

from __future__ import annotations

import shlex
from pathlib import Path

from themo.config.presets import MINIATURE
from themo.config.settings import Settings
from themo.data.sources import Sources
from themo.errors import InputError, MissingInputError
from themo.evaluation.open_sets import settings_of_sets
from themo.evaluation.score_names import ACCURACY, RETRIEVAL

_FETCHED = ("captions", "images", "imagenet", "xm3600_captions", "xflickrco_captions")
"""Settings of test data that may have an address."""


def refuse_missing_test_data(settings: Settings, version: Path | None, task: str) -> None:
    """Refuse settings whose test data for a task are missing or not named.

    Files of the miniature, which are built, count as present.

    Args:
        settings: Settings of the test.
        version: Version directory that is tested; None: baselines alone.
        task: "retrieval", "accuracy" or "all".

    Raises:
        InputError: A file or folder does not exist or cannot be reached; the message names the setting, and
            the command that fetches it where settings give an address.
    """
    config, sources = settings.benchmarks, Sources(settings)
    names: list[str] = []
    if config.captions and config.images and task in ("all", RETRIEVAL):
        names += ["captions", "images"]
    if task in ("all", RETRIEVAL):
        names += settings_of_sets(settings)
    if config.imagenet and task in ("all", ACCURACY):
        names += ["imagenet", "prompts", "class_names", "templates"]
    if not names:
        raise InputError(f"benchmarks: must name test data for --task {task}, but name none")
    for name in names:
        place = getattr(config, name)
        if place is not None and not place.startswith(MINIATURE):
            try:
                sources.path(place, f"benchmarks.{name}")
            except MissingInputError as error:
                if name in ("xm3600_images", "xflickrco_images"):  # no command fetches these
                    raise
                raise with_fetching_command(error, settings, version) from None


def with_fetching_command(error: MissingInputError, settings: Settings, version: Path | None) -> InputError:
    """The error with the command that fetches the test data, where settings give an address."""
    config = settings.benchmarks
    if not any(getattr(config, f"{name}_source") for name in _FETCHED):
        return error
    command = ["python", "-m", "themo", "prepare", "--tests"]
    if version is not None:
        command += ["--config", str(version / "config.yaml")]
    of = "" if version is not None else ", with this test's --config or --preset,"
    return InputError(f"{error}; `{shlex.join(command)}`{of} fetches the test data")
