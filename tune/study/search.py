"""What a search is determined by, and its directory: made, read again, grown, held by one process."""

from __future__ import annotations

import json
import math
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from themo import __version__
from themo.config.sections import HIGHER_IS_BETTER
from themo.config.settings import Settings
from themo.config.yaml_files import read_yaml, write_yaml
from themo.errors import InputError, did_you_mean
from themo.files.atomic import write_text
from tune.cluster.resources import Resources
from tune.space.search_space import Space, from_tree
from tune.study.limits import is_exhausted, trials_without_gain
from tune.study.naming import LOCK_FILE, SEARCH_FILE, STUDY_FILE, Place, reserve, search_folder
from tune.study.study import Study
from tune.study.trial_record import Mode, Trial
from tune.study.tried import most_trials

TRIALS_FOLDER = "trials"
PAIRS_FILE = "pairs.json"
"""What the sentence pairs of its trials were made of, by searched data settings."""

RESUME = "--resume"
"""What goes on with a search; all else only reads it."""

GROWABLE = ("num_samples", "stop_after_no_gain")
"""What may change while a search goes on: when it has enough."""


@dataclass(frozen=True)
class Search:
    """All that a search is determined by; kept as ``search.yaml``."""

    name: str
    uid: str
    space: Space
    settings: Settings
    resources: Resources

    @property
    def objective(self) -> str:
        """The metric that is searched on, by which every trial keeps its best student too."""
        return self.settings.objective

    @property
    def mode(self) -> Mode:
        """Whether it is to be great or small."""
        return "max" if HIGHER_IS_BETTER[self.settings.objective] else "min"

    @property
    def folder(self) -> Path:
        """Its directory."""
        return search_folder(self.name, self.settings)

    def to_tree(self) -> dict[str, Any]:
        """As ``search.yaml`` has it."""
        return {
            "themo": __version__,
            "name": self.name,
            "uid": self.uid,
            **self.space.to_tree(),
            "resources": asdict(self.resources),
            "settings": self.settings.model_dump(mode="json"),
        }


def new_search(
    name: str,
    space: Space,
    settings: Settings,
    resources: Resources,
    carried: Sequence[Trial] = (),
    place: Place | None = None,
) -> Search:
    """Make the directory of a search, ``<logs_dir>/tune/<name>``, with its ``search.yaml``.

    `training.threads` becomes the trial's whole share of CPUs where it is left open, so that the winner's
    settings repeat its numbers wherever they are run; `training.objective` becomes one for all trials.

    Args:
        name: Of the search.
        space: What is searched.
        settings: What the search starts from.
        resources: What a trial gets.
        carried: Trials of another search that proposals learn from too.
        place: The directory of that name, where it was reserved before.

    Raises:
        InputError: The name is taken or not a file's name, or the directory cannot be written.
    """
    threads = settings.training.threads or resources.threads
    settings = settings.override({"threads": threads, "objective": settings.objective})
    search = Search(name, secrets.token_hex(8), space, settings, resources)
    with place or reserve(name, settings) as held:
        try:
            if carried:
                Study(held.folder / STUDY_FILE, search.mode, carried=carried).save()
            write_text(held.folder / SEARCH_FILE, write_yaml(search.to_tree()))  # last: with it, it is one
        except OSError as error:
            raise InputError(f"--name: {held.folder} cannot be written: {error.strerror}") from None
    return search


def discard_untried(search: Search) -> None:
    """Remove the directory of a new search refused before its first trial: its name is free again.

    It stays where another process has gone on with it meanwhile.
    """
    folder = search.folder
    study_path = folder / STUDY_FILE
    with suppress(InputError), alone(folder):
        if not (study_path.exists() and len(Study.read(study_path))):
            shutil.rmtree(folder, ignore_errors=True)


def read_search(folder: Path, asked_by: str = RESUME, *, to_go_on: bool = False) -> Search:
    """The search of a directory.

    Args:
        folder: The search directory.
        asked_by: What a refusal names as the place where the search was asked for.
        to_go_on: Whether it must have been begun by this version of Themo.

    Raises:
        InputError: There is none, its file is damaged, or another version is to go on with it.
    """
    path = folder / SEARCH_FILE
    if not path.is_file():
        others = [other.name for other in search_folders(folder.parent)]
        hint = did_you_mean(folder.name, others)
        raise InputError(f"{asked_by}: there is no search at {folder}: it holds no {SEARCH_FILE}{hint}")
    tree = read_yaml(path)
    version = tree.pop("themo", __version__)
    of = "" if version == __version__ else f", begun by themo {version}, this is {__version__}"
    if of and to_go_on:
        raise InputError(f"{path}: was begun by themo {version}, this is {__version__}: go on with that one")
    try:
        settings = Settings.model_validate(tree.pop("settings"))
        resources = Resources(**tree.pop("resources"))
        name, uid = str(tree.pop("name")), str(tree.pop("uid"))
    except (KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: is not a whole description of a search{of}: {reason}") from None
    return Search(name, uid, from_tree(tree, settings, source=str(path)), settings, resources)


def grow(search: Search, num_samples: int | None = None, stop_after_no_gain: int | None = None) -> Search:
    """Change when a search has enough trials, which may be sooner too; kept in ``search.yaml``.

    Args:
        search: Which one.
        num_samples: Trials in all; None leaves them as they are.
        stop_after_no_gain: As of `tune.space.search_settings.SearchSettings`; None leaves it as it is.

    Raises:
        InputError: It has more trials than that already, or more were asked for and none would begin, since
            too many have gained nothing or all settings have been tried, or another process runs it.
    """
    folder = search.folder
    with alone(folder):
        study_path = folder / STUDY_FILE
        study = Study.read(study_path) if study_path.exists() else Study(None, search.mode)
        if num_samples is not None and num_samples < len(study):
            raise InputError(
                f"--num-samples: must be at least the {len(study)} trials that {search.name} has, "
                f"got {num_samples}"
            )
        changes = {"num_samples": num_samples, "stop_after_no_gain": stop_after_no_gain}
        given = {name: value for name, value in changes.items() if value is not None}
        space = search.space.searched_by(**given)
        own = search.space.search
        is_more = space.search.num_samples > own.num_samples
        is_more |= (stop_after_no_gain or 0) > (own.stop_after_no_gain or math.inf)
        if is_more and is_exhausted(study, space.search):
            n_vain = trials_without_gain(study)
            raise InputError(
                f"--stop-after-no-gain: must be at least {n_vain + 1} for {search.name} to begin more "
                f"trials, the last {n_vain} gained nothing, got {space.search.stop_after_no_gain}"
            )
        if is_more and most_trials(study, space) <= len(study):
            raise InputError(
                f"--num-samples: must be at most {len(study)}, all {space.n_points:.0f} settings of the "
                f"space of {search.name} have been tried, got {space.search.num_samples}: a new search may "
                f"have a larger space and start from these trials by --warm-start {search.name}"
            )
        search = replace(search, space=space)
        write_text(folder / SEARCH_FILE, write_yaml(search.to_tree()))
    return search


def refuse_another_space(search: Search, space: Space, source: str) -> None:
    """Refuse to go on in another space than a search began with.

    Raises:
        InputError: It is another one; the message names what differs.
    """
    ours, theirs = search.space.to_tree(), space.to_tree()
    differing = [
        f"{part}.{name}"
        for part in ("space", "search")
        for name in ours[part] | theirs[part]
        if ours[part].get(name) != theirs[part].get(name) and name not in GROWABLE
    ]
    if ours["first"] != theirs["first"]:
        differing.append("first")
    if differing:
        raise InputError(
            f"--space {source}: must be the space that {search.name} began with, {', '.join(differing)} "
            f"differ: a new search may start from its trials by --warm-start {search.name}"
        )


def has_pairs(search: Search) -> bool:
    """Whether the sentence pairs of a search stand fast: it has begun, though perhaps no trial."""
    folder = search.folder
    study_path = folder / STUDY_FILE
    is_older = study_path.exists() and len(Study.read(study_path)) > 0  # than the file of pairs
    return (folder / PAIRS_FILE).exists() or is_older


def refuse_other_pairs(folder: Path, corpora: Mapping[str, str]) -> None:
    """Refuse to go on with other sentence pairs than a search was begun with; those of a new one are kept.

    Args:
        folder: The search directory.
        corpora: `themo.data.dataset.TrainingData.corpus` by the searched data settings.

    Raises:
        InputError: They are others.
        OSError: The disk is full.
    """
    path = folder / PAIRS_FILE
    if not path.exists():
        write_text(path, json.dumps(dict(corpora), indent=1))
    elif json.loads(path.read_text(encoding="utf-8")) != corpora:
        raise InputError(
            f"--resume: {path}: the search was begun with other sentence pairs: a corpus has changed since, "
            "or the captions of tests that it is compared with; let both be as they were, or begin anew: "
            f"--repeat {folder.name}"
        )


def search_folders(parent: Path) -> list[Path]:
    """The directories of searches in a folder; not those that a kill left half made."""
    return [path.parent for path in parent.glob(f"[!.]*/{SEARCH_FILE}")]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Refuse a second driver on one search; the lock goes with the process that holds it."""
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=1)  # `status` tries it for a moment
    except Timeout:
        raise InputError(f"--resume: another process runs the search at {folder}") from None
    try:
        if not (folder / SEARCH_FILE).is_file():  # discarded while this process waited, which made it anew
            (folder / LOCK_FILE).unlink()
            with suppress(OSError):  # there is more in it, which is none of ours
                folder.rmdir()
            raise InputError(f"--resume: there is no search at {folder} any more")
        yield
    finally:
        lock.release()
