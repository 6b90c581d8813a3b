"""Resolves the options of ``tune`` to a search: an existing one to resume, or a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from themo.cli.options import AUTO_GPUS
from themo.config.presets import preset_path, space_path
from themo.config.settings import Settings, option
from themo.errors import InputError
from themo.files.run_folders import STUDY_FILE
from themo.process.devices import refuse_missing_device
from themo.process.progress import console
from themo.tracking.uri import check_reachable, tracking_uri
from tune.cluster.resources import LOCAL, Resources
from tune.cluster.storage import Storage
from tune.confirmation.verdict import is_finished
from tune.driver.search_options import SearchOptions
from tune.driver.warm_start import CarriedOver, carry_on, carry_over
from tune.space.automatic import automatic_rules
from tune.space.contradictions import refuse_contradictions
from tune.space.dimensions import contains
from tune.space.search_settings import OFF, SearchSettings
from tune.space.search_space import Space, from_tree, load
from tune.study.growth import GROWABLE, grow, refuse_another_space
from tune.study.limits import wants_more
from tune.study.naming import ReservedFolder, reserve, search_folder
from tune.study.search import RESUME, Search, has_study, new_search, read_search
from tune.study.study import Study
from tune.study.tracking_place import refuse_another_place
from tune.study.trial_record import Trial
from tune.study.tried import key_of, most_trials

OF_NEW_SEARCHES = (
    "repeat",
    "search_seed",
    "warm_start",
    "searcher",
    "scheduler",
    "second_objective",
    "resource",
    "trial_seconds",
    "confirm_seeds",
    "name",
    "cpus_per_trial",
    "gpus_per_trial",
    "storage_path",
    "config",
    "preset",
)
"""Options that define a search and therefore cannot be given with --resume."""


def resume(options: SearchOptions, settings: Settings) -> Search:
    """The search of ``--resume NAME``, with its limits and its directory updated from the options.

    Args:
        options: The parsed options.
        settings: Settings with the directory of logs.

    Raises:
        InputError: There is no such search, or an option would redefine it.
    """
    given = [name for name in OF_NEW_SEARCHES if getattr(options, name) is not None]
    given += [name for name in options.settings if name != "logs_dir"]
    if given:
        raise InputError(
            f"--resume keeps the settings of the search: leave out {', '.join(map(option, given))}; "
            f"{', '.join(map(option, GROWABLE))}, --time-budget, --logs-dir, --address, --max-concurrent, "
            "--register and its own --space may be given with it"
        )
    folder = search_folder(str(options.resume), settings, asked_by=RESUME)
    search = read_search(folder, to_resume=True)
    if search.name != folder.name:  # a copy would resume the original's checkpoints
        raise InputError(
            f"{RESUME}: {folder} contains the search {search.name!r}: the directory must have this name"
        )
    if search.folder != folder:  # moved since its start
        search = replace(search, settings=search.settings.override({"logs_dir": str(folder.parent.parent)}))
    if options.space is not None:
        refuse_another_space(search, _space(options, search.settings), options.space_source)
    refuse_another_place(folder, search.settings.paths.experiment)
    limits = _given(**{name: getattr(options, name) for name in GROWABLE})
    if limits:
        search = grow(search, **limits)
    machines = _given(address=options.address, max_concurrent=options.max_concurrent)
    others = _given(time_budget=options.time_budget, max_concurrent=options.max_concurrent)
    _print_reached_limits(search, limits, others)
    return replace(search, resources=replace(search.resources, **machines))


def _print_reached_limits(search: Search, limits: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    """Print which of the given limits a search has reached already, and which options of a run do nothing.

    Args:
        search: The search, with its new limits.
        limits: Given options of `GROWABLE`, by name.
        others: Other given options, which do nothing once a search is finished.
    """
    if not has_study(search.folder):
        return
    study = Study.read(search.folder / STUDY_FILE)
    n = f"{len(study)} trial{'' if len(study) == 1 else 's'}"
    if is_finished(study, search):
        given, reached = {**limits, **others}, f"{search.name} is finished, with {n}: nothing to run"
    elif not wants_more(study, search.space):
        given = {name: value for name, value in limits.items() if name != "confirm"}
        reached = f"{search.name} has started {n} and has reached its limits: no further trial starts"
    else:
        return
    if given:
        options = ", ".join(f"{option(name)} {_shown(name, value)}" for name, value in given.items())
        console.print(f"{options}: search {reached}", soft_wrap=True)


def _shown(name: str, value: Any) -> str:
    if name == "time_budget":
        return f"{value:g}s"
    return OFF if name == "confirm" and value == 0 else str(value)


def begin(options: SearchOptions, settings: Settings, place: ReservedFolder | None = None) -> Search:
    """Create a new search and its directory; with ``--repeat NAME`` a copy of an earlier search.

    Args:
        options: The parsed options.
        settings: Base settings, unless the search repeats another one.
        place: The search's directory, if already reserved.

    Raises:
        InputError: The options are invalid, or the name is taken; no directory is left then.
    """
    with place or reserve(options.name, settings) as held:
        return _begin(options, settings, held)


def _begin(options: SearchOptions, settings: Settings, place: ReservedFolder) -> Search:
    logs_dir = settings.paths.logs_dir
    past = Study(None, "max")
    resources = Resources()
    if options.repeat is None:
        space, source = _space(options, settings), _space_source(options)
        _print_settings_outside(space, settings)
    else:
        known, past = _repeated(options, settings)
        settings, resources = known.settings.override(options.settings), known.resources
        space = known.space.with_first_rung(None)  # the data may be others
        source = f"--repeat {options.repeat}"
    refuse_contradictions(space, settings, source)  # only here: recorded searches can still be read
    rules = {name: getattr(options, name) for name in SearchSettings.model_fields if hasattr(options, name)}
    space = space.searched_by(**_given(seed=options.search_seed, **rules))
    if space.is_automatic and (chosen := automatic_rules(space)):
        space = space.searched_by(**chosen)
        names = f"searcher {space.search.searcher}, scheduler {space.search.scheduler}"
        reason = "the space has no trusted settings (first)"
        console.print(f"Chosen by Themo: {names}; {reason}", soft_wrap=True)
    known_threads = resources.threads
    resources = replace(resources, **_resources(options, settings, resources))
    resources.refuse_no_gpus(settings.training.device)
    if options.address in (None, LOCAL):
        refuse_missing_device(settings.training.device)  # of a cluster, only its machines know
    is_share = settings.training.threads == known_threads and "threads" not in options.settings
    if options.repeat is not None and is_share:  # the share of the earlier search, which set its threads
        settings = settings.override({"threads": resources.threads})
    if search_folder(place.folder.name, settings) != place.folder:  # the earlier search was moved
        settings = settings.override({"logs_dir": logs_dir})
    carried = CarriedOver((), {})
    if options.warm_start is not None:
        carried = _carried(options.warm_start, space, settings)
    elif past.carried or past.proposals:
        carried = carry_on(known, past, space, settings)
        if len(carried.trials) < len(past.carried):
            console.print(f"Of the trials that {known.name} carried over: {carried}", soft_wrap=True)
    check_reachable(tracking_uri(Path(settings.paths.logs_dir)))
    _check_size(space, carried.trials, options)
    return new_search(
        place.folder.name, space, settings, resources, carried.trials, place, proposals=carried.proposals
    )


def _space(options: SearchOptions, settings: Settings) -> Space:
    """The space given by an option, or the preset's space."""
    if isinstance(options.space, Mapping):
        tree = options.space if "space" in options.space else {"space": options.space}
        return from_tree(tree, settings, options.space_source)
    return load(_space_file(options), settings)


def _space_source(options: SearchOptions) -> str:
    return options.space_source if isinstance(options.space, Mapping) else str(_space_file(options))


def _space_file(options: SearchOptions) -> Path:
    """The file given by an option, or that of the preset."""
    if isinstance(options.space, Path):
        return options.space
    return space_path(options.config or (None if options.preset is None else preset_path(options.preset)))


def _print_settings_outside(space: Space, settings: Settings) -> None:
    """Print the settings whose base values lie outside the space: trusted trials get other values."""
    own = settings.leaves()
    active = space.active(own)
    outside = [f"{n} {value}" for n, value in active.items() if not contains(space.dimensions[n], value)]
    if outside and space.first:
        console.print(
            f"Settings outside the space, changed in trusted trials: {', '.join(outside)}", soft_wrap=True
        )


def _check_size(space: Space, carried: tuple[Trial, ...], options: SearchOptions) -> None:
    """Print a note if the space has fewer distinct settings than the requested number of trials.

    Raises:
        InputError: The search that this one starts from has tried all settings.
    """
    most = most_trials(Study(None, "max", carried=carried), space)
    if not most:
        source = "repeat" if options.warm_start is None else "warm_start"
        raise InputError(
            f"{option(source)} {getattr(options, source)}: all {space.n_points:.0f} settings of the space "
            "have been tried there"
        )
    if most < space.search.num_samples:
        n_tried = len({key_of(space, trial.params) for trial in carried})
        tried = f", {n_tried} of them tried" if n_tried else ""
        console.print(
            f"The space has {space.n_points:.0f} settings{tried}: the search ends after {most} trials, "
            f"not {space.search.num_samples}",
            soft_wrap=True,
        )


def _repeated(options: SearchOptions, settings: Settings) -> tuple[Search, Study]:
    """The search to repeat, and its record."""
    others = ("config", "preset", "space", "warm_start")
    given = [name for name in others if getattr(options, name) is not None]
    if given:
        raise InputError(
            f"--repeat copies settings and space of the named search: leave out "
            f"{', '.join(map(option, given))}"
        )
    folder = search_folder(str(options.repeat), settings, asked_by="--repeat")
    search = read_search(folder, asked_by="--repeat")
    study_path = folder / STUDY_FILE
    return search, Study.read(study_path) if study_path.exists() else Study(None, search.mode)


def _carried(name: str, space: Space, settings: Settings) -> CarriedOver:
    folder = search_folder(name, settings, asked_by="--warm-start")
    known = read_search(folder, asked_by="--warm-start")
    over = carry_over(known, Study.read(folder / STUDY_FILE), space, settings)
    console.print(f"From search {known.name}: {over}", soft_wrap=True)
    return over


def _resources(options: SearchOptions, settings: Settings, known: Resources) -> Mapping[str, Any]:
    asked, on_cpu = options.gpus_per_trial, settings.training.device == "cpu"
    gpus = 1.0 if asked == AUTO_GPUS else asked
    if gpus is None:
        gpus = 0.0 if on_cpu else known.gpus_per_trial
    return _given(
        address=options.address,
        max_concurrent=options.max_concurrent,
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=gpus,
        by_memory=None if asked is None and not on_cpu else asked == AUTO_GPUS,
        storage_path=options.storage_path and Storage.named(options.storage_path).place,
    )


def _given(**options: Any) -> dict[str, Any]:
    """The given options, by name."""
    return {name: value for name, value in options.items() if value is not None}
