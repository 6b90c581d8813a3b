"""Versions that are part of a search directory: its best version, and those of its trials.

logs/tune/NAME/
search.yaml                                       the search, with its id
best/                                             the best version
trials/session-1/trial-0007/checkpoint_000008/    a version of trial 7
trials/session-2/confirms-7-seed-1/checkpoint_000008/    a version of a run that confirms trial 7

With ``--storage-path``, the content of ``trials/`` is in STORAGE/NAME-UID instead.
"""

from __future__ import annotations

import re
from pathlib import Path

from themo.config.yaml_files import read_yaml
from themo.errors import InputError
from themo.files.run_folders import BEST_VERSION, SEARCH_FILE, is_search

_TRIALS = "trials"
_TRIAL = re.compile(r"(?:trial-([0-9]+)|(confirms-[0-9]+-seed-[0-9]+))(?:-from-[0-9]+)?")
"""Folder of a trial, or of a run that confirms one; ``trial-0007-from-12800`` was resumed."""
_TRIALS_DEPTH = 2
"""Folders between `_TRIALS` and a version."""


def search_of(version: Path) -> Path | None:
    """Return the directory of the search that a version is part of; None for a version of `train`."""
    path = version.resolve()
    if is_of_trial(path):
        folder = path.parents[_TRIALS_DEPTH + 1]
    elif path.name == BEST_VERSION:
        folder = path.parent
    else:
        return None
    return folder if is_search(folder) else None


def is_of_trial(version: Path) -> bool:
    """Whether the path of a version is that of a trial's."""
    above = version.resolve().parents
    return len(above) > _TRIALS_DEPTH + 1 and above[_TRIALS_DEPTH].name == _TRIALS


def is_trial_checkpoint(version: Path) -> bool:
    """Whether the path of a version ends as that of a trial's does, in a search directory or a storage."""
    path = version.resolve()
    return (
        path.name.startswith("checkpoint_")
        and _TRIAL.fullmatch(path.parent.name) is not None
        and path.parent.parent.name.startswith("session-")
    )


def place_of_trials(search: Path) -> str:
    """Return the folder with the versions of a search's trials; for a storage with an address, the storage.

    Raises:
        InputError: The search is damaged.
    """
    tree = read_yaml(search / SEARCH_FILE)
    resources = tree.get("resources")
    storage = resources.get("storage_path") if isinstance(resources, dict) else None
    if storage is None:
        return str(search / _TRIALS)
    return str(storage) if "://" in str(storage) else f"{storage}/{tree.get('name')}-{tree.get('uid')}"


def trial_key(version: Path) -> str:
    """Return the key of a trial's run in MLflow, as `tune.results.run_tags.run_key`, from a trial's version.

    Raises:
        InputError: The search is damaged, or the folder's name is not that of a trial.
    """
    path = version.resolve()
    file, parts = path.parents[_TRIALS_DEPTH + 1] / SEARCH_FILE, _TRIAL.fullmatch(path.parent.name)
    tree = read_yaml(file)
    if "uid" not in tree:
        raise InputError(f"{file}: must name the `uid` of the search")
    if parts is None:
        raise InputError(
            f"{path.parent}: the folder of a trial must be named trial-NUMBER or confirms-NUMBER-seed-SEED, "
            f"got {path.parent.name!r}"
        )
    number, confirms = parts.groups()
    return f"{tree['uid']}/{confirms or int(number)}"
