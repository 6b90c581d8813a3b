"""The definition of a search and its directory: create, read, grow, lock."""

from __future__ import annotations

import json
import math
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from themo import __version__
from themo.config.sections import HIGHER_IS_BETTER
from themo.config.settings import Settings
from themo.config.yaml_files import read_yaml, write_yaml
from themo.errors import InputError, did_you_mean
from themo.files.atomic import write_text
from themo.files.locks import try_lock
from tune.cluster.resources import Resources
from tune.space.dimensions import Scalar
from tune.space.search_space import Space, from_tree
from tune.study.limits import is_exhausted, small_gain, trials_without_gain
from tune.study.naming import LOCK_FILE, SEARCH_FILE, STUDY_FILE, Place, reserve, search_folder
from tune.study.study import Study
from tune.study.trial_record import Mode, Trial
from tune.study.tried import most_trials

TRIALS_FOLDER = "trials"
PAIRS_FILE = "pairs.json"
"""Identity of the trials' sentence pairs, by searched data settings."""

FIRST_RUNG = "first_rung"
"""Key of ``search.yaml``: sentence pairs at a first rung that is given as a share."""

RESUME = "--resume"
"""The option that resumes a search; all others only read it."""

GROWABLE = ("num_samples", "stop_after_no_gain", "stop_gain", "stop_chance", "confirm")
"""Settings that may change when a search is resumed: its limits."""


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
    place: Place | None = None,
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
            write_text(
                held.folder / SEARCH_FILE, write_yaml(search.to_tree())
            )  # last: it makes the directory a search
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


def read_search(folder: Path, asked_by: str = RESUME, *, to_go_on: bool = False) -> Search:
    """Read the search of a directory.

    Args:
        folder: The search directory.
        asked_by: The option that an error message names.
        to_go_on: Whether the search will be resumed, which needs the version of Themo that started it.

    Raises:
        InputError: There is no search, its file is damaged, or another version of Themo started it.
    """
    path = folder / SEARCH_FILE
    if not path.is_file():
        others = [other.name for other in search_folders(folder.parent)]
        hint = did_you_mean(folder.name, others)
        raise InputError(f"{asked_by}: there is no search at {folder}: it holds no {SEARCH_FILE}{hint}")
    tree = read_yaml(path)
    version = tree.pop("themo", __version__)
    of = "" if version == __version__ else f", started by themo {version}, this is {__version__}"
    if of and to_go_on:
        raise InputError(
            f"{path}: was started by themo {version}, this is {__version__}: resume it with that one"
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


def grow(
    search: Search,
    num_samples: int | None = None,
    stop_after_no_gain: int | Literal["off"] | None = None,
    confirm: float | None = None,
    *,
    stop_gain: float | Literal["off"] | None = None,
    stop_chance: float | None = None,
) -> Search:
    """Change the limits of a search, up or down, and save them in ``search.yaml``.

    Args:
        search: The search.
        num_samples: Total number of trials; None: unchanged.
        stop_after_no_gain: See `tune.space.search_settings.SearchSettings`, or ``off``; None: unchanged.
        confirm: The same; 0: off.
        stop_gain: The same; None: unchanged.
        stop_chance: The same; None: unchanged.

    Raises:
        InputError: The search has more trials already; or no further trial would start, because of
            `stop_after_no_gain`, because a gain is unlikely or because all settings have been tried; or the
            confirmation of the winner has begun; or another process runs the search.
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
        if confirm and study.confirmation is not None:
            raise InputError(
                f"--confirm: must be off or left out, the confirmation of {search.name} has begun: a test "
                f"that continues until it succeeds proves nothing, got {confirm:g}"
            )
        changes = {
            "num_samples": num_samples,
            "stop_after_no_gain": stop_after_no_gain,
            "stop_gain": stop_gain,
            "stop_chance": stop_chance,
            "confirm": confirm,
        }
        given = {name: value for name, value in changes.items() if value is not None}
        space = search.space.searched_by(**given)
        own = search.space.search
        new = space.search
        is_more = new.num_samples > own.num_samples
        is_more |= (new.stop_after_no_gain or math.inf) > (own.stop_after_no_gain or math.inf)
        if own.stop_gain is not None:
            is_more |= (new.stop_gain or 0.0) < own.stop_gain or new.gain_chance < own.gain_chance
        if is_more and is_exhausted(study, space.search):
            n_vain = trials_without_gain(study)
            raise InputError(
                f"--stop-after-no-gain: must be at least {n_vain + 1} for {search.name} to start more "
                f"trials, the last {n_vain} brought no gain, got {space.search.stop_after_no_gain}"
            )
        if is_more and (end := small_gain(study, space)) is not None:
            raise InputError(
                f"--stop-chance: must be at most {_rounded_down(end.chance)} for {search.name} to start more "
                f"trials, the chance that the remaining {end.n_left} gain more than {end.amount:g}, "
                f"got {end.limit:g}"
            )
        if is_more and space.search.num_samples <= len(study):
            raise InputError(
                f"--num-samples: must be above {len(study)} for {search.name} to start more trials, all of "
                f"its {len(study)} have begun, got {space.search.num_samples}"
            )
        if is_more and most_trials(study, space) <= len(study):
            raise InputError(
                f"--num-samples: must be at most {len(study)}, all {space.n_points:.0f} settings of the "
                f"space of {search.name} have been tried, got {space.search.num_samples}: start a new search "
                f"with a larger space and --warm-start {search.name}"
            )
        search = replace(search, space=space)
        write_text(folder / SEARCH_FILE, write_yaml(search.to_tree()))
    return search


def _rounded_down(chance: float) -> str:
    """A chance with two significant digits, not above it."""
    digits = max(2, 1 - math.floor(math.log10(chance))) if chance > 0 else 2
    return f"{math.floor(chance * 10**digits) / 10**digits:g}"


def refuse_another_space(search: Search, space: Space, source: str) -> None:
    """Refuse to resume a search with another space.

    Raises:
        InputError: The space differs; the message names the differences.
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
            f"--space {source}: must be the space of {search.name}, {', '.join(differing)} "
            f"differ: start a new search with --warm-start {search.name}"
        )


def has_pairs(search: Search) -> bool:
    """Whether the sentence pairs of a search are fixed: its data has been prepared once."""
    folder = search.folder
    study_path = folder / STUDY_FILE
    is_older = study_path.exists() and len(Study.read(study_path)) > 0  # than the file of pairs
    return (folder / PAIRS_FILE).exists() or is_older


def refuse_other_pairs(folder: Path, corpora: Mapping[str, str]) -> None:
    """Refuse to resume a search with other sentence pairs; save the identity of a new search's pairs.

    Args:
        folder: The search directory.
        corpora: `themo.data.dataset.TrainingData.corpus` by the searched data settings.

    Raises:
        InputError: The pairs differ.
        OSError: The disk is full.
    """
    path = folder / PAIRS_FILE
    if not path.exists():
        write_text(path, json.dumps(dict(corpora), indent=1))
    elif json.loads(path.read_text(encoding="utf-8")) != corpora:
        raise InputError(
            f"--resume: {path}: the search was started with other sentence pairs: a corpus has changed, "
            "or the test captions that are removed from it; restore them, or start a new search: "
            f"--repeat {folder.name}"
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
        if not (
            folder / SEARCH_FILE
        ).is_file():  # discarded while this process waited; the lock recreated the folder
            (folder / LOCK_FILE).unlink()
            with suppress(OSError):  # the folder holds files of others
                folder.rmdir()
            raise InputError(f"--resume: there is no search at {folder} any more")
        yield
    finally:
        lock.release()
