"""A search from beginning to end: the cluster, the trials, what is left on disk."""

from __future__ import annotations

import math
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from themo import __version__
from themo.config import Settings, known_leaves, write_text
from themo.dataset import TrainingData
from themo.errors import InputError
from themo.tracking import Tracking, outbox_path, tracking_uri
from themo.training import HIGHER_IS_BETTER, train
from themo.yaml_files import read_yaml, write_yaml
from tune import results
from tune.cluster import Resources as Resources  # what `new_search` takes
from tune.cluster import connect, count_slots
from tune.space import Scalar, Space, from_tree
from tune.study import Mode, Study, Trial
from tune.trial import Train, Work, run

SEARCH_FILE = "search.yaml"
STUDY_FILE = "study.json"
TRIALS_FOLDER = "trials"
RAY_LOG = "ray.log"
LOCK_FILE = ".lock"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TOP = 5


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

    def to_yaml(self) -> str:
        """As `read_search` reads it."""
        tree = {
            "themo": __version__,
            "name": self.name,
            "uid": self.uid,
            **self.space.to_tree(),
            "resources": asdict(self.resources),
            "settings": self.settings.model_dump(mode="json"),
        }
        return write_yaml(tree)


def new_search(
    name: str, space: Space, settings: Settings, resources: Resources, carried: Sequence[Trial] = ()
) -> Search:
    """Make the directory of a search, ``<logs_dir>/tune/<name>``, with its ``search.yaml``.

    `training.threads` becomes the trial's whole share of CPUs where it is left open, so that the winner's
    settings repeat its numbers wherever they are run; `training.objective` becomes one for all trials.

    Raises:
        InputError: The name is taken or not a file's name, or the directory cannot be written.
    """
    refuse_taken(name, settings)
    folder = search_folder(name, settings)
    threads = settings.training.threads or max(1, math.floor(resources.cpus_per_trial))
    settings = settings.override({"threads": threads, "objective": settings.objective})
    search = Search(name, secrets.token_hex(8), space, settings, resources)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
        write_text(folder / SEARCH_FILE, search.to_yaml())
        if carried:
            Study(folder / STUDY_FILE, search.mode, carried=carried).save()
    except OSError as error:
        raise InputError(f"--name: {folder} cannot be written: {error.strerror}") from None
    return search


def refuse_taken(name: str, settings: Settings) -> None:
    """Refuse the name of a search that there is.

    Raises:
        InputError: There is one.
    """
    folder = search_folder(name, settings)
    if folder.exists():
        raise InputError(
            f"--name: a search {name!r} exists at {folder}: choose another name, or --resume {name}"
        )


def discard_untried(search: Search) -> None:
    """Remove the directory of a new search refused before its first trial: its name is free again."""
    folder = search_folder(search.name, search.settings)
    if not (folder / TRIALS_FOLDER).exists():
        shutil.rmtree(folder, ignore_errors=True)


def read_search(folder: Path, asked_by: str = "--resume") -> Search:
    """The search of a directory.

    Args:
        folder: The search directory.
        asked_by: What a refusal names as the place where the search was asked for.

    Raises:
        InputError: There is none, or its file is damaged.
    """
    path = folder / SEARCH_FILE
    if not path.is_file():
        raise InputError(f"{asked_by}: there is no search at {folder}: it holds no {SEARCH_FILE}")
    tree = read_yaml(path)
    version = tree.pop("themo", __version__)
    if version != __version__:
        raise InputError(f"{path}: was begun by themo {version}, this is {__version__}: go on with that one")
    try:
        settings = Settings.model_validate(tree.pop("settings"))
        resources = Resources(**tree.pop("resources"))
        name, uid = str(tree.pop("name")), str(tree.pop("uid"))
    except (KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: is not a whole description of a search: {reason}") from None
    return Search(name, uid, from_tree(tree, settings, source=str(path)), settings, resources)


def grow(search: Search, num_samples: int) -> Search:
    """Let a search have more trials, or fewer of those that are still to come; kept in ``search.yaml``.

    Raises:
        InputError: It has more trials than that already, or another process runs it.
    """
    folder = search_folder(search.name, search.settings)
    with _alone(folder):
        study_path = folder / STUDY_FILE
        begun = len(Study.read(study_path)) if study_path.exists() else 0
        if num_samples < begun:
            raise InputError(
                f"--num-samples: must be at least the {begun} trials that {search.name} has, "
                f"got {num_samples}"
            )
        settings = search.space.search.model_copy(update={"num_samples": num_samples})
        search = replace(search, space=replace(search.space, search=settings))
        write_text(folder / SEARCH_FILE, search.to_yaml())
    return search


def refuse_another_space(search: Search, space: Space, source: Path) -> None:
    """Refuse to go on in another space than a search began with.

    Raises:
        InputError: It is another one; the message names what differs.
    """
    ours, theirs = search.space.to_tree(), space.to_tree()
    differing = [
        f"{part}.{name}"
        for part in ("space", "search")
        for name in ours[part] | theirs[part]
        if ours[part].get(name) != theirs[part].get(name) and name != "num_samples"
    ]
    if ours["first"] != theirs["first"]:
        differing.append("first")
    if differing:
        raise InputError(
            f"--space {source}: must be the space that {search.name} began with, {', '.join(differing)} "
            f"differ: a new search may start from its trials by --warm-start {search.name}"
        )


def search_folder(name: str, settings: Settings, asked_by: str = "--name") -> Path:
    """Directory of a search; `asked_by` as of `read_search`.

    Raises:
        InputError: The name cannot be a directory's.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"{asked_by} must be letters, digits, '.', '_' and '-', got {name!r}")
    return Path(settings.paths.logs_dir).resolve() / "tune" / name


def run_search(
    search: Search,
    data_for: Callable[[Settings], TrainingData],
    train: Train = train,
) -> results.SearchResult:
    """Run a search, or what is left of one, and write its results.

    Args:
        search: From `new_search` or, to resume, from `read_search`.
        data_for: Training data of settings; called for each combination of searched data settings before
            any trial starts.
        train: The training function of a trial; a module's function, so that workers can import it.

    Returns:
        What was found.

    Raises:
        InputError: The cluster is too small, the MLflow server away, or another process runs this search.
        KeyboardInterrupt: Interrupted; the search can be resumed.
        RuntimeError: No trial ended well.
    """
    folder = search_folder(search.name, search.settings)
    logs_dir = Path(search.settings.paths.logs_dir)
    with ExitStack() as stack:
        stack.enter_context(_alone(folder))
        study_path = folder / STUDY_FILE
        is_resumed = study_path.exists()
        study = Study.load(study_path) if is_resumed else Study(study_path, search.mode)
        study.save()
        outbox = outbox_path(logs_dir, f"{search.name}-{search.uid}")
        tracking = stack.enter_context(
            Tracking(
                tracking_uri(logs_dir), search.settings.paths.experiment, outbox, must_answer=not is_resumed
            )
        )
        machines = stack.enter_context(connect(search.resources.address, folder / RAY_LOG))
        slots = count_slots(search.resources, machines)
        work = _work(search, data_for, train, folder)
        if any(not trial.is_done for trial in study) or len(study) < search.space.search.num_samples:
            _run_trials(search, study, work, slots, folder, tracking)
    return _finish(search, study, slots, folder)


def _run_trials(
    search: Search,
    study: Study,
    work: Work,
    slots: int,
    folder: Path,
    tracking: Tracking,
) -> None:
    from ray import tune as ray_tune

    from tune.keeping import Keeper
    from tune.live import LiveView
    from tune.mlflow_runs import MlflowRuns
    from tune.searcher import StudyScheduler, StudySearcher

    searcher = StudySearcher(search.space, study, slots)
    view = LiveView(study, search.space.search.num_samples, slots, search.objective)
    everything = yaml.safe_load(search.to_yaml())
    runs = MlflowRuns(tracking, study, search.name, search.uid, everything, search.objective)
    session = f"session-{_sessions(folder) + 1}"
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots)
    try:
        ray_tune.run(
            ray_tune.with_parameters(run, work=work),
            name=session,
            num_samples=-1,  # until the searcher has nothing left
            storage_path=str(folder / TRIALS_FOLDER),
            search_alg=searcher,
            scheduler=StudyScheduler(search.space, study, search.objective),
            resources_per_trial={
                "cpu": search.resources.cpus_per_trial,
                "gpu": search.resources.gpus_per_trial,
            },
            max_failures=search.space.search.max_failures,
            raise_on_failed_trial=False,
            reuse_actors=True,
            callbacks=[Keeper(study, search.space, folder, session), runs, view],
            trial_dirname_creator=_trial_folder,
            verbose=0,
        )
    except BaseException:
        runs.close("KILLED")
        raise
    finally:
        view.close()
        study.save()
        results.write_trials(study, search.space, folder)
        _drop_snapshots(folder / TRIALS_FOLDER / session)
    is_whole = len(study) == search.space.search.num_samples and all(trial.is_done for trial in study)
    runs.close("FINISHED" if is_whole else "KILLED")
    if not is_whole:  # Ray swallows the first Ctrl-C and returns
        raise KeyboardInterrupt


def _finish(search: Search, study: Study, slots: int, folder: Path) -> results.SearchResult:
    results.write_trials(study, search.space, folder)
    winner = study.winner()
    if winner is None:
        reason = next((trial.reason for trial in study if trial.reason), "no reason is known")
        raise RuntimeError(f"none of the {len(study)} trials ended well; the first one: {reason}")
    results.write_best(winner, search.settings, folder / TRIALS_FOLDER, folder)
    spans = results.spans(study)
    return results.SearchResult(
        folder=folder,
        objective=search.objective,
        mode=search.mode,
        counts=study.counts(),
        best=winner,
        slots=slots,
        busy=results.slots_busy(spans, slots),
        seconds=max(end for _, end, _ in spans) - min(start for start, _, _ in spans),
        top=tuple(results.ranked(study)[:_TOP]),
    )


def _work(search: Search, data_for: Callable[[Settings], TrainingData], train: Train, folder: Path) -> Work:
    leaves = data_leaves()
    names = tuple(name for name in search.space.dimensions if name in leaves)
    data: dict[tuple[Scalar, ...], TrainingData] = {}
    for combination in search.space.combinations(leaves):
        settings = (
            search.settings.override(combination, source=SEARCH_FILE) if combination else search.settings
        )
        data[tuple(combination[name] for name in names)] = data_for(settings)
    return Work(search.settings, search.space.search, data, names, str(folder / TRIALS_FOLDER), train)


def data_leaves() -> frozenset[str]:
    """The settings that the training data depends on."""
    sections: Mapping[str, tuple[str, Any]] = known_leaves()
    return frozenset(
        leaf
        for leaf, (section, _) in sections.items()
        if section in ("data", "teacher") or leaf == "backbone"
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse a second driver on one search; the lock goes with the process that holds it."""
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=1)  # `status` tries it for a moment
    except Timeout:
        raise InputError(f"--resume: another process runs the search at {folder}") from None
    try:
        yield
    finally:
        lock.release()


def _trial_folder(trial: Any) -> str:
    begun = trial.config["checkpoint_pairs"]  # a trial that goes on must not write over its checkpoint
    return f"trial-{trial.config['number']:04d}" + (f"-from-{begun}" if begun else "")


def _sessions(folder: Path) -> int:
    return len(list((folder / TRIALS_FOLDER).glob("session-*")))


def _drop_snapshots(session: Path) -> None:
    """Remove Ray's own files of the session, which are never read: the study is the state."""
    for path in [*session.glob("*"), *session.glob("trial-*/*")]:
        if path.is_file():
            path.unlink()
    for path in session.glob("trial-*"):
        if not any(path.iterdir()):
            path.rmdir()
