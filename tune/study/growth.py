"""Changes of a resumed search: new limits, but the same space."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from themo.config.yaml_files import write_yaml
from themo.errors import InputError
from themo.files.atomic import write_text
from themo.files.run_folders import SEARCH_FILE, STUDY_FILE
from tune.space.search_settings import SearchSettings
from tune.space.search_space import Space
from tune.study.limits import is_exhausted, small_gain, trials_without_gain
from tune.study.search import Search, alone, has_study
from tune.study.study import Study
from tune.study.tried import most_trials

GROWABLE = ("num_samples", "stop_after_no_gain", "stop_gain", "stop_chance", "confirm")
"""Settings that may change when a search is resumed: its limits."""


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
        confirm: See `SearchSettings`; 0: off; None: unchanged.
        stop_gain: See `SearchSettings`, or ``off``; None: unchanged.
        stop_chance: See `SearchSettings`; None: unchanged.

    Raises:
        InputError: The search has more trials already; or no further trial would start, because of
            `stop_after_no_gain`, because a gain is unlikely or because all settings have been tried; or the
            confirmation of the winner has begun; or another process runs the search.
    """
    folder = search.folder
    with alone(folder):
        study = Study.read(folder / STUDY_FILE) if has_study(folder) else Study(None, search.mode)
        if num_samples is not None and num_samples < len(study):
            raise InputError(
                f"--num-samples: must be at least the {len(study)} trials that {search.name} has, "
                f"got {num_samples}"
            )
        if confirm and study.confirmation is not None:
            raise InputError(
                f"--confirm: must be off or left out, the confirmation of {search.name} has started: a test "
                f"that continues until it succeeds proves nothing, got {confirm:g}"
            )
        changes = {
            "num_samples": num_samples,
            "stop_after_no_gain": stop_after_no_gain,
            "stop_gain": stop_gain,
            "stop_chance": stop_chance,
            "confirm": confirm,
        }
        space = search.space.searched_by(**{k: value for k, value in changes.items() if value is not None})
        if _allows_more(search.space.search, space.search):
            _refuse_exhausted_search(search, study, space)
        search = replace(search, space=space)
        write_text(folder / SEARCH_FILE, write_yaml(search.to_tree()))
    return search


def _allows_more(own: SearchSettings, new: SearchSettings) -> bool:
    """Whether new limits allow more trials than a search's own."""
    is_more = new.num_samples > own.num_samples
    is_more |= (new.stop_after_no_gain or math.inf) > (own.stop_after_no_gain or math.inf)
    if own.stop_gain is not None:
        is_more |= (new.stop_gain or 0.0) < own.stop_gain or new.gain_chance < own.gain_chance
    return is_more


def _refuse_exhausted_search(search: Search, study: Study, space: Space) -> None:
    """Refuse limits with which no further trial would start.

    Raises:
        InputError: No further trial would start.
    """
    if is_exhausted(study, space.search):
        n_vain = trials_without_gain(study)
        raise InputError(
            f"--stop-after-no-gain: must be at least {n_vain + 1} for {search.name} to start more "
            f"trials, the last {n_vain} brought no gain, got {space.search.stop_after_no_gain}"
        )
    if (end := small_gain(study, space)) is not None:
        raise InputError(
            f"--stop-chance: must be at most {_rounded_down(end.chance)} for {search.name} to start more "
            f"trials, the chance that the remaining {end.n_left} gain more than {end.amount:g}, "
            f"got {end.limit:g}"
        )
    if space.search.num_samples <= len(study):
        raise InputError(
            f"--num-samples: must be above {len(study)} for {search.name} to start more trials, all of "
            f"its {len(study)} have started, got {space.search.num_samples}"
        )
    if most_trials(study, space) <= len(study):
        raise InputError(
            f"--num-samples: must be at most {len(study)}, all {space.n_points:.0f} settings of the "
            f"space of {search.name} have been tried, got {space.search.num_samples}: start a new search "
            f"with a larger space and --warm-start {search.name}"
        )


def _rounded_down(chance: float) -> str:
    """Round a chance down to two significant digits."""
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
