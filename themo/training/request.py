"""Checks of a training run before model libraries are imported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from themo.checkpoints.search_parts import is_trial_checkpoint, search_of
from themo.checkpoints.versions import read_progress, read_settings
from themo.config.settings import Settings, load
from themo.config.worlds import load_for_training
from themo.data.sources import refuse_missing_files
from themo.errors import InputError
from themo.process.devices import refuse_missing_device
from themo.process.output import typed
from themo.tracking.uri import check_reachable, tracking_uri


def settings_of_run(
    config: Path | None, preset: str | None, overrides: Mapping[str, Any], resume: Path | None
) -> Settings:
    """The settings of a new run, or of the run to resume.

    Args:
        config: YAML file of settings; excludes `preset`.
        preset: Name of a preset.
        overrides: Values by leaf name.
        resume: Version directory of an unfinished run; excludes the other arguments.

    Raises:
        InputError: All problems in one line.
    """
    if resume is None:
        return load_for_training(config, preset, overrides)
    if overrides or config or preset:
        raise InputError("--resume uses the settings of the version; leave out all settings")
    settings = read_settings(resume)
    if (search := search_of(resume)) is not None:  # whose record would not have the reports
        logs_dir = search.parent.parent
        is_default = logs_dir == Path(load().paths.logs_dir).resolve()
        where: list[str | Path] = [] if is_default else ["--logs-dir", logs_dir]
        whole = typed("tune", "--resume", search.name, *where)
    elif is_trial_checkpoint(resume):  # in a storage, which does not name the search's directory
        whole = typed("tune", "--resume", "NAME")
    else:
        return settings
    alone = typed("train", "--config", resume / "config.yaml")
    raise InputError(
        f"--resume {resume}: is part of a search: resume the search by {whole}, "
        f"or train a version with its settings by {alone}"
    )


def refuse_unfit_request(settings: Settings, resume: Path | None) -> None:
    """Refuse a run whose files, checkpoint, device or MLflow server are missing.

    Args:
        settings: Settings of the run.
        resume: Version directory of an unfinished run; None: a new run.

    Raises:
        InputError: A file, checkpoint, device or server is missing or damaged.
    """
    if resume is not None:
        read_progress(resume)
    refuse_missing_files(settings)
    refuse_missing_device(settings.training.device)
    check_reachable(tracking_uri(Path(settings.paths.logs_dir)))
