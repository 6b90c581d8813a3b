"""Writes the report of a search: from the search directory to ``report.html``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from plotly.graph_objects import Figure

from themo.checkpoints.versions import REPORT_FILE, read_summary
from themo.errors import InputError
from themo.evaluation.report.html_page import write_page
from themo.evaluation.report.tables import lay_out
from themo.process.progress import waiting
from tune.confirmation.plan import Unconfirmed, plan
from tune.confirmation.verdict import lead_in_words, verdict
from tune.results.report import course_figures, facts, setting_figures
from tune.results.report.commands import commands, directory_of, front_rows, resume_command
from tune.results.report.front_figure import quality_against_cost
from tune.results.report.parallel import parallel_coordinates
from tune.results.report.scales import scales_of
from tune.results.report.source import Source, read_source
from tune.results.report.trial_rows import trial_table
from tune.results.report.winner import headline, settings_of
from tune.study.confirmation import Confirmation
from tune.study.front import UNITS, front_of
from tune.study.limits import early_end
from tune.study.resource import NAMES_OF_RESOURCES, in_words
from tune.study.search import Search
from tune.study.study import Study
from tune.study.work_time import busy_share, most_at_once, session_seconds

_HERE = Path(__file__).parent
TEMPLATE = _HERE / "search.html"
SCRIPTS = (_HERE / "trials.js", _HERE / "parallel.js")


@dataclass(frozen=True)
class Content:
    """The content of a page: figures, data of its scripts, and variables of its template."""

    figures: Mapping[str, Figure]
    data: Mapping[str, Any]
    facts: Mapping[str, Any]


@waiting("Writing the report")
def write_report(search: Search, folder: Path) -> Path:
    """Write the report of a search with a score, finished or not.

    Args:
        search: The search.
        folder: The search directory, with its ``study.json``; only the report in it is changed.

    Returns:
        The HTML file.

    Raises:
        InputError: The record is damaged or holds no score, or the page cannot be written.
    """
    content = content_of(read_source(search, folder))
    path = folder / REPORT_FILE
    try:
        write_page(path, TEMPLATE, content.figures, data=content.data, scripts=SCRIPTS, **content.facts)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def content_of(source: Source) -> Content:
    """The content of a search's report."""
    search, study, best = source.search, source.study, source.best
    rules = search.space.search
    stops, lanes = facts.rungs(study, rules), facts.lanes(study)
    n_slots = most_at_once(study)
    found = facts.importances(facts.scored(search.space, study))
    scales = scales_of([value for trial in study for value in trial.values.values()], study.mode)
    unconfirmed = _unconfirmed(search, study) if source.are_trials_done else None
    content = {
        "search": search,
        "study": study,
        "best": best,
        "best_value": best.best(study.mode),
        "best_line": best.lineage_in_words,
        "are_trials_done": source.are_trials_done,
        "is_running": source.is_running,
        "confirmation": verdict(study),
        "unconfirmed": unconfirmed,
        "early_end": early_end(study, search.space),
        "lead_in_words": lead_in_words,
        "written": now_in_words(),
        "settings": settings_of(search, best),
        "tables": lay_out(source.tested) if source.tested else [],
        "headline": headline(source.tested),
        "cost": facts.cost(study, search.settings, rules.trial_seconds),
        "wall": session_seconds(study),
        "n_slots": n_slots,
        "busy": busy_share(study, n_slots),
        "has_rungs": facts.has_rungs(rules),
        "rungs": stops,
        "rules": rules,
        "amount": partial(in_words, resource=rules.resource),
        "resource": NAMES_OF_RESOURCES[rules.resource],
        "departures": facts.departures(study, rules.resource),
        "above_chance": [item.name for item in found if item.is_above_chance],
        "trials": trial_table(
            study,
            best,
            search.space.dimensions,
            search.objective,
            not source.is_running,
            rules.second_objective,
        ),
        "front": front_rows(search, study, source.folder),
        "unit": None if rules.second_objective is None else UNITS[rules.second_objective],
        "scales": scales,
        "is_trainable": source.is_trainable,
        "has_version": source.version is not None,
        "commands": commands(
            search,
            source.folder,
            source.is_finished,
            best if source.is_trainable else None,
            source.version,
            None if unconfirmed is None else unconfirmed.sufficient,
        ),
        "directory": directory_of(source.folder),
        "resume": "" if source.is_running or source.is_finished else resume_command(search, source.folder),
        "environment": read_summary(source.version).get("environment", {}) if source.version else {},
    }
    data = {
        "scales": [scale.to_json() for scale in scales],
        "parallel": parallel_coordinates(study, best, search.space, search.objective, scales),
    }
    return Content(_figures(source, stops, lanes, found), data, content)


def now_in_words() -> str:
    """The current local time, to the minute."""
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")


def _unconfirmed(search: Search, study: Study) -> Unconfirmed | None:
    """Why the winner has not been confirmed; None if it has been, or if confirmation is off."""
    chosen = plan(study, search.space, search.settings)
    if isinstance(chosen, Confirmation) and verdict(study) is None:
        return Unconfirmed("the confirmation has not started")
    return chosen if isinstance(chosen, Unconfirmed) else None


def _figures(
    source: Source, stops: list[facts.Rung], lanes: list[facts.Lane], found: list[facts.Importance]
) -> dict[str, Figure]:
    study, best, objective = source.study, source.best, source.search.objective
    resource = source.search.space.search.resource
    drawn = {
        "history": course_figures.history(study, best, objective),
        "curves": course_figures.learning_curves(study, best, objective, stops, resource),
        "slices": setting_figures.slices(study, best, source.search.space, objective),
    }
    if (second := source.search.space.search.second_objective) is not None and (front := front_of(study)):
        drawn["front"] = quality_against_cost(study, best, front, objective, second)
    if stops:
        drawn["rungs"] = course_figures.rung_strips(study, stops, best, objective, resource)
    if found:
        drawn["importance"] = setting_figures.importance_bars(found)
    if lanes:
        drawn["time"] = course_figures.time_line(lanes, best, study.mode)
    return drawn
