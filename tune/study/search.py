"""The definition of a search and its directory: create, read, lock."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from themo import __version__
from themo.config.sections import HIGHER_IS_BETTER
from themo.config.settings import Settings
from themo.config.yaml_files import read_yaml, write_yaml
from themo.errors import InputError, did_you_mean, reason_of
from themo.files.atomic import write_text
from themo.files.locks import try_lock
from themo.files.run_folders import SEARCH_FILE, STUDY_FILE
from tune.cluster.resources import Resources
from tune.space.dimensions import Scalar
from tune.space.search_space import Space, from_tree
from tune.study.naming import LOCK_FILE, ReservedFolder, reserve, search_folder
from tune.study.study import Study
from tune.study.trial_record import Mode, Trial

TRIALS_FOLDER = "trials"
PAIRS_FILE = "pairs.json"
"""Identity of the trials' sentence pairs, by searched data settings; `_TARGETS` has that of their vectors."""
_TARGETS = "targets"

FIRST_RUNG = "first_rung"
"""Key of ``search.yaml``: sentence pairs at a first rung that is given as a share."""

RESUME = "--resume"
"""The option that resumes a search; all others only read it."""


@dataclass(frozen=True)
class Search:
    """The full definition of a search, stored as ``search.yaml``."""

    name: str
    uid: str
    space: Space
    settings: Settings
    resources: Resources

    @property
    def objective(self) -> str:
        """The optimized metric, by which every trial also keeps its best student."""
        return self.settings.objective

    @property
    def mode(self) -> Mode:
        """Whether the objective is maximized or minimized."""
        return "max" if HIGHER_IS_BETTER[self.settings.objective] else "min"

    @property
    def folder(self) -> Path:
        """The search directory."""
        return search_folder(self.name, self.settings)

    def to_tree(self) -> dict[str, Any]:
        """The content of ``search.yaml``; `FIRST_RUNG` holds the pairs of a first rung given as a share."""
        search = self.space.search
        is_known = search.grace_share is not None and search.grace_pairs is not None
        return {
            "themo": __version__,
            "name": self.name,
            "uid": self.uid,
            **self.space.to_tree(),
            **({FIRST_RUNG: search.first_pairs} if is_known else {}),
            "resources": asdict(self.resources),
            "settings": self.settings.model_dump(mode="json"),
        }


def new_search(
    name: str,
    space: Space,
    settings: Settings,
    resources: Resources,
    carried: Sequence[Trial] = (),
    place: ReservedFolder | None = None,
    *,
    proposals: Sequence[Mapping[str, Scalar]] = (),
) -> Search:
    """Create the directory of a search, ``<logs_dir>/tune/<name>``, with its ``search.yaml``.

    If `training.threads` is not set, it becomes the trial's number of CPUs, so that the winner's settings
    reproduce its numbers on any machine. `training.objective` is fixed for all trials.

    Args:
        name: Name of the search.
        space: The search space.
        settings: Base settings of the trials.
        resources: Resources of a trial.
        carried: Trials of another search that the searcher also learns from.
        place: The directory of that name, if already reserved.
        proposals: Settings that are proposed after the trusted ones.

    Raises:
        InputError: The name is taken or invalid, or the directory cannot be written.
    """
    threads = settings.training.threads or resources.threads
    settings = settings.override({"threads": threads, "objective": settings.objective})
    search = Search(name, secrets.token_hex(8), space, settings, resources)
    with place or reserve(name, settings) as held:
        try:
            if carried or proposals:
                Study(held.folder / STUDY_FILE, search.mode, carried=carried, proposals=proposals).save()
            # last: it makes the directory a search
            write_text(held.folder / SEARCH_FILE, write_yaml(search.to_tree()))
        except OSError as error:
            raise InputError(f"--name: {held.folder} cannot be written: {error.strerror}") from None
    return search


def discard_untried(search: Search) -> None:
    """Remove the directory of a new search that failed before its first trial, to free its name.

    The directory is kept if another process has resumed the search.
    """
    folder = search.folder
    study_path = folder / STUDY_FILE
    with suppress(InputError), alone(folder):
        if not (study_path.exists() and len(Study.read(study_path))):
            shutil.rmtree(folder, ignore_errors=True)


def read_search(folder: Path, asked_by: str = RESUME, *, to_resume: bool = False) -> Search:
    """Read the search of a directory.

    Args:
        folder: The search directory.
        asked_by: The option that an error message names.
        to_resume: Whether the search will be resumed, which needs the version of Themo that started it.

    Raises:
        InputError: There is no search, its file is damaged, or another version of Themo started it.
    """
    path = folder / SEARCH_FILE
    if not path.is_file():
        others = [other.name for other in search_folders(folder.parent)]
        hint = did_you_mean(folder.name, others)
        raise InputError(f"{asked_by}: there is no search at {folder}: {SEARCH_FILE} is missing{hint}")
    tree = read_yaml(path)
    version = tree.pop("themo", __version__)
    of = "" if version == __version__ else f", started by themo {version}, this is {__version__}"
    if of and to_resume:
        raise InputError(
            f"{path}: was started by themo {version}, this is {__version__}: resume it with themo {version}"
        )
    try:
        settings = Settings.model_validate(tree.pop("settings"))
        resources = Resources(**tree.pop("resources"))
        name, uid = str(tree.pop("name")), str(tree.pop("uid"))
        first_rung = tree.pop(FIRST_RUNG, None)
        if not (first_rung is None or (type(first_rung) is int and first_rung > 0)):
            raise ValueError(f"{FIRST_RUNG} must be a whole number above 0, got {first_rung!r}")
    except (KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: is not a complete search definition{of}: {reason}") from None
    space = from_tree(tree, settings, source=str(path)).with_first_rung(first_rung)
    return Search(name, uid, space, settings, resources)


def has_study(folder: Path) -> bool:
    """Whether a search directory has its ``study.json``, which the first session of a search writes.

    Raises:
        InputError: The file is missing although the search has prepared its data.
    """
    path = folder / STUDY_FILE
    if not path.exists() and (folder / PAIRS_FILE).exists():
        raise InputError(
            f"{path}: is missing, though the search has started: restore the file, or start a new search: "
            f"--repeat {folder.name}"
        )
    return path.exists()


def has_pairs(search: Search) -> bool:
    """Whether the sentence pairs of a search are fixed: its data has been prepared once."""
    folder = search.folder
    study_path = folder / STUDY_FILE
    is_older = study_path.exists() and len(Study.read(study_path)) > 0  # than the file of pairs
    return (folder / PAIRS_FILE).exists() or is_older


def refuse_other_pairs(folder: Path, corpora: Mapping[str, str], targets: Mapping[str, str]) -> None:
    """Refuse to resume a search with other sentence pairs or vectors; save the identities of a new search's.

    Args:
        folder: The search directory.
        corpora: `themo.data.dataset.TrainingData.corpus` by the searched data settings.
        targets: `themo.data.dataset.TrainingData.targets` by the searched data settings.

    Raises:
        InputError: The pairs or the teacher vectors differ, or their file is damaged.
        OSError: The disk is full.
    """
    path = folder / PAIRS_FILE
    if not path.exists():
        write_text(path, json.dumps({**corpora, _TARGETS: dict(targets)}, indent=1))
        return
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"--resume: {path}: is damaged: {reason_of(error)}; restore it, or start a new search: "
            f"--repeat {folder.name}"
        ) from error
    # searches of older versions have no vectors
    known_targets = known.pop(_TARGETS, targets) if isinstance(known, dict) else targets
    if known != corpora:
        raise InputError(
            f"--resume: {path}: the search was started with other sentence pairs: a corpus has changed, "
            "or the test captions that are removed from it; restore them, or start a new search: "
            f"--repeat {folder.name}"
        )
    if known_targets != targets:
        raise InputError(
            f"--resume: {path}: the search was started with other teacher vectors: the teacher or the file "
            f"of data.targets has changed; restore it, or start a new search: --repeat {folder.name}"
        )


def search_folders(parent: Path) -> list[Path]:
    """The search directories in a folder, without those that a kill left incomplete."""
    return [path.parent for path in parent.glob(f"[!.]*/{SEARCH_FILE}")]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Refuse a second driver on one search; the lock goes with the process that holds it."""
    lock = try_lock(folder / LOCK_FILE, seconds=1)  # `status` tries it for a moment
    if lock is None:
        raise InputError(f"--resume: another process runs the search at {folder}")
    try:
        # discarded while this process waited; the lock recreated the folder
        if not (folder / SEARCH_FILE).is_file():
            (folder / LOCK_FILE).unlink()
            with suppress(OSError):  # the folder holds files of others
                folder.rmdir()
            raise InputError(f"--resume: the search at {folder} no longer exists")
        yield
    finally:
        lock.release()
