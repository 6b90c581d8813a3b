"""Writes the report of a search: from the search directory to ``report.html``."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from plotly.graph_objects import Figure

from themo.checkpoints.versions import TEST_FILE, read_summary
from themo.config.settings import load
from themo.errors import InputError
from themo.evaluation.report.html_page import write_page
from themo.evaluation.report.tables import lay_out, read_scores
from themo.evaluation.score_names import CEILING, RETRIEVAL, STUDENT, metric_name
from themo.process.progress import waiting
from tune.confirmation.plan import plan
from tune.confirmation.verdict import is_due, lead_in_words, verdict
from tune.results.best_trials import BEST_SETTINGS, BEST_VERSION, show, show_setting
from tune.results.report import course_figures, facts, setting_figures
from tune.results.report.outcomes import NAMES
from tune.space.conditions import in_words
from tune.space.dimensions import Choice, Dimension, FloatRange, IntRange
from tune.space.search_space import Space
from tune.study.limits import is_whole
from tune.study.naming import STUDY_FILE, is_held
from tune.study.search import Search
from tune.study.study import Study
from tune.study.tracking_place import comparison_of
from tune.study.trial_record import Trial
from tune.study.work_time import busy_share, most_at_once, session_seconds

REPORT_FILE = "report.html"
MAX_TRIALS_IN_TABLE = 200
_TEMPLATE = Path(__file__).parent / "search.html"


@waiting("Writing the report")
def write_report(search: Search, folder: Path) -> Path:
    """Write the report of a search, finished or not.

    Args:
        search: The search.
        folder: The search directory, with its ``study.json``; only the report in it is changed.

    Returns:
        The HTML file.

    Raises:
        InputError: The record is damaged or holds no score, or the page cannot be written.
    """
    study = Study.read(folder / STUDY_FILE)
    if not is_held(folder):  # else `tune` holds the lock and has done this
        study.come_to_rest()
    best = study.leader()
    if best is None:
        reason = next((f"; the first one: {trial.reason}" for trial in study if trial.reason), "")
        raise InputError(
            f"{folder / STUDY_FILE}: must hold a trial with a score, "
            f"all {len(study)} failed or have not reported{reason}"
        )
    is_finished = is_whole(study, search.space)
    if is_finished:
        best = study.winner() or best
    is_settled = is_finished and not is_due(study, search.space, search.settings)
    has_settings = _holds_settings(search, best, folder / BEST_SETTINGS)
    version = folder / BEST_VERSION if has_settings and (folder / BEST_VERSION).is_dir() else None
    if not is_finished and (version is None or not _holds_best(version, search, study, best)):
        has_settings, version = False, None  # the files are of an earlier session
    is_repeatable = has_settings and not best.lineage  # else the settings changed during training
    tested = None
    if version is not None and (version / TEST_FILE).exists():
        tested = read_scores(version / TEST_FILE)
    stops, lanes = facts.rungs(study, search.space.search), facts.lanes(study)
    n_slots = most_at_once(study)
    found = facts.importances(facts.scored(search.space, study))
    path = folder / REPORT_FILE
    try:
        write_page(
            path,
            _TEMPLATE,
            _figures(search, study, best, stops, lanes, found),
            search=search,
            study=study,
            best=best,
            best_value=best.best(study.mode),
            best_line=best.lineage_in_words,
            is_finished=is_finished,
            confirmation=verdict(study),
            unconfirmed=_unconfirmed(search, study) if is_finished else "",
            lead_in_words=lead_in_words,
            written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
            settings=_settings(search, best),
            tables=lay_out(tested) if tested else [],
            headline=_headline(tested),
            cost=facts.cost(study, search.settings),
            wall=session_seconds(study),
            n_slots=n_slots,
            busy=busy_share(study, n_slots),
            has_rungs=facts.has_rungs(search.space.search),
            rungs=stops,
            departures=facts.departures(study),
            above_chance=[item.name for item in found if item.is_above_chance],
            trials=_rows(search, study, best),
            is_repeatable=is_repeatable,
            has_version=version is not None,
            commands=_commands(search, folder, is_settled, is_repeatable, version),
            directory=_base(folder),
            environment=read_summary(version).get("environment", {}) if version else {},
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def _unconfirmed(search: Search, study: Study) -> str:
    """Why the winner has not been confirmed; empty if it has been, or if confirmation is off."""
    chosen = plan(study, search.space, search.settings)
    if isinstance(chosen, str):
        return chosen
    return "" if verdict(study) is not None else "the confirmation has not begun"


def _figures(
    search: Search,
    study: Study,
    best: Trial,
    stops: list[facts.Rung],
    lanes: list[facts.Lane],
    found: list[facts.Importance],
) -> dict[str, Figure]:
    objective, space = search.objective, search.space
    drawn = {
        "history": course_figures.history(study, best, objective),
        "curves": course_figures.learning_curves(study, best, objective, stops),
        "parallel": setting_figures.parallel_coordinates(study, best, space, objective),
        "slices": setting_figures.slices(study, best, space, objective),
    }
    if stops:
        drawn["rungs"] = course_figures.rung_strips(study, stops, best, objective)
    if found:
        drawn["importance"] = setting_figures.importance_bars(found)
    if lanes:
        drawn["time"] = course_figures.time_line(lanes, best, study.mode)
    return drawn


def _holds_settings(search: Search, best: Trial, path: Path) -> bool:
    """Whether a file holds this trial's settings; not if a kill prevented the results from being written."""
    if not path.is_file():
        return False
    try:  # compared as settings: the file may start with a note
        kept = load(config=path)
    except InputError:  # edited by hand, or damaged
        return False
    settings = search.settings.override(best.params)
    return kept.model_copy(update={"paths": settings.paths}) == settings  # the search may have been moved


def _holds_best(version: Path, search: Search, study: Study, best: Trial) -> bool:
    """Whether a version is the best trial's current one, not one of an earlier session."""
    try:
        kept = read_summary(version)["best"][search.objective]
    except (InputError, KeyError):
        return False
    return bool(kept == best.saved(study.mode))


@dataclass(frozen=True)
class _Setting:
    name: str
    value: str
    searched: str


def _settings(search: Search, best: Trial) -> list[_Setting]:
    return [
        _Setting(name, show_setting(best, name), _range(search.space, name))
        for name in search.space.dimensions
    ]


def _range(space: Space, name: str) -> str:
    """The values of a dimension, and where it is active."""
    condition = in_words(space.conditions.get(name, {}))
    return _values(space.dimensions[name]) + (f", {condition}" if condition else "")


def _values(dimension: Dimension) -> str:
    match dimension:
        case Choice(choices=choices):
            return ", ".join(map(show, choices))
        case IntRange(low=low, high=high, step=step, log=log):
            steps = f" by {step}" if step != 1 else ""
            return f"{low} to {high}{steps}" + (", logarithmic" if log else "")
        case FloatRange(low=low, high=high, log=log):
            return f"{show(low)} to {show(high)}" + (", logarithmic" if log else "")


@dataclass(frozen=True)
class _Headline:
    """The test in one number: the student's retrieval@01 or, without retrieval, accuracy@01."""

    metric: str
    student: float
    ceiling: float
    retention: float | None


def _headline(tested: dict[str, Any] | None) -> _Headline | None:
    if tested is None or STUDENT not in tested:
        return None
    task = RETRIEVAL if RETRIEVAL in tested["n"] else next(iter(tested["n"]))
    metric = metric_name(task, 1)
    return _Headline(metric, tested[STUDENT][metric], tested[CEILING][metric], tested.get("retention"))


@dataclass(frozen=True)
class _TrialRow:
    number: int
    outcome: str
    best: str
    pairs: int
    seconds: float
    settings: tuple[str, ...]
    reason: str


def _rows(search: Search, study: Study, best: Trial) -> list[_TrialRow]:
    """The trials, best first, then those without a valid score; limited to the size of a page."""
    able = study.ranked()
    others = [trial for trial in study if not trial.is_scored]
    return [
        _TrialRow(
            trial.number,
            NAMES[facts.outcome(trial, best)],
            f"{value:.4f}" if (value := trial.best(study.mode)) is not None else "",
            trial.pairs_seen,
            trial.seconds,
            tuple(show_setting(trial, name) for name in search.space.dimensions),
            trial.reason if trial.state == "FAIL" else trial.why,
        )
        for trial in [*able, *others][:MAX_TRIALS_IN_TABLE]
    ]


@dataclass(frozen=True)
class _Command:
    what: str
    text: str


def _commands(
    search: Search, folder: Path, is_settled: bool, is_repeatable: bool, version: Path | None
) -> list[_Command]:
    themo, base = "python -m themo", _base(folder)
    of_search = f"{search.name} --logs-dir {_shown(folder.parent.parent, base)}"  # its current directory
    compare = _Command("Compare the trials in MLflow", str(comparison_of(folder, search.uid)))
    train = _Command(
        "Train the winner again", f"{themo} train --config {_shown(folder / BEST_SETTINGS, base)}"
    )
    trains = [train] if is_repeatable else []
    resume = f"{themo} tune --resume {of_search}"
    if version is None:
        what = "Write the winner's files again" if is_settled else "Resume the search, if it is not running"
        return [_Command(what, resume), *trains, compare]
    resumes = [] if is_settled else [_Command("Resume the search", resume)]
    return [
        *resumes,
        *trains,
        _Command(
            "Test the winner and all baselines, with a report",
            f"{themo} test --version-path {_shown(version, base)} --baseline --report",
        ),
        _Command("Search again", f"{themo} tune --repeat {of_search}"),
        _Command("Update this page", f"{themo} report {of_search}"),
        compare,
    ]


def _base(folder: Path) -> Path:
    """The directory where the page's commands run: the current one, or else the one that holds the logs.

    All paths are relative to it: others read the page in MLflow, on other machines.
    """
    folder, here = folder.absolute(), Path.cwd()
    return here if folder.is_relative_to(here) else folder.parents[2]


def _shown(path: Path, base: Path) -> str:
    """A path as typed in a shell in a directory."""
    return shlex.quote(str(path.absolute().relative_to(base)))
