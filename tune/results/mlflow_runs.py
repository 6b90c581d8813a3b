"""A search in MLflow, computed from its directory: one parent run, and one child run a trial.

A run is known by the search's id and the trial's number. So a search that is killed at any moment and resumed
still has one parent and one child a trial. The runs that confirm the winner are children too.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from themo.checkpoints.versions import REPORT_FILE, TEST_FILE, read_run_keys
from themo.evaluation.report.tables import read_scores
from themo.evaluation.score_names import logged_scores
from themo.files.run_folders import BEST_VERSION, STUDY_FILE
from themo.tracking.comparison import parallel_coordinates
from themo.tracking.names import LOG10_RATE, comparison_params
from themo.tracking.projection import Point, Projection, Run, RunStatus, Status
from tune.confirmation.verdict import is_finished, verdict
from tune.results.best_trials import BEST_SETTINGS
from tune.results.run_tags import (
    CONFIRMATION_TAG,
    EARLY_END_TAG,
    FRONT_TAG,
    SEARCH_TAG,
    TRIAL_TAG,
    WINNER_TAG,
    confirmation_tags,
    leads,
    run_key,
    run_name,
    trial_tags,
    winner_tags,
)
from tune.study.confirmation import SEED
from tune.study.front import cost_metric, front_of
from tune.study.limits import early_end
from tune.study.reports import ReadReports
from tune.study.search import Search
from tune.study.study import Study
from tune.study.trial_record import State, Trial

_STATUS: dict[State, Status] = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


class SearchRuns:
    """Computes the runs of a search; caches the runs of unchanged trials.

    Args:
        search: The search.
        folder: The search directory.
        is_running: Whether this process runs it, until `rest`. Else trials that have not ended are
            interrupted, and the winner is brought too.
    """

    def __init__(self, search: Search, folder: Path, *, is_running: bool = False) -> None:
        self._is_running = is_running
        self._search = search
        self._folder = folder
        self._reports = ReadReports(folder)
        self._children: dict[str, tuple[Trial, bool, bool | None, int, Run]] = {}
        self._study: tuple[object, Study] | None = None
        self._last: tuple[object, Projection] = (None, Projection())

    def rest(self) -> None:
        """End the session: nothing runs any more."""
        self._is_running = False

    def __call__(self) -> Projection:
        """Compute the runs from the current record; empty before the first trial.

        Raises:
            InputError: The record is damaged.
            OSError: A file cannot be read.
        """
        path, at_rest = self._folder / STUDY_FILE, not self._is_running
        stat = path.stat()
        of_study = (at_rest, stat.st_mtime_ns, stat.st_size)
        if at_rest or self._study is None or of_study != self._study[0]:
            study = Study.read(path)
            if at_rest:
                study.reset_to_checkpoints()
            self._study = of_study, study
        # after the study: a report is appended before the study with it is saved, so none is without metrics
        self._reports.look()
        state = (of_study, self._reports.n_read)
        if at_rest or state != self._last[0]:
            self._last = state, self._projection(self._study[1], at_rest)
        return self._last[1]

    def _projection(self, study: Study, at_rest: bool) -> Projection:
        if not len(study):
            return Projection()
        search = self._search
        parent = _parent(search, self._folder, study, at_rest)
        front = self._front(study)
        places = {trial.number: None if front is None else trial.number in front for trial in study}
        children = [self._child(trial, at_rest, places[trial.number]) for trial in study]
        children += [self._child(run, at_rest, None) for run in study.runs]
        return Projection((parent, *children), (SEARCH_TAG, search.uid), {search.uid: _view(search, study)})

    def _front(self, study: Study) -> frozenset[int] | None:
        """Numbers of the trials on the front; None with one objective."""
        if self._search.space.search.second_objective is None:
            return None
        return frozenset(trial.number for trial in front_of(study))

    def _child(self, trial: Trial, at_rest: bool, is_on_front: bool | None) -> Run:
        name = run_name(trial)
        points = self._reports.of(name)
        known = self._children.get(name)
        state = (trial, at_rest, is_on_front, len(points))
        if known is None or known[:4] != state:
            run = _child(self._search, trial, at_rest, points)
            if is_on_front is not None:
                run = replace(run, tags={**run.tags, FRONT_TAG: str(is_on_front).lower()})
            known = self._children[name] = (*state, run)
        return known[4]


def _child(search: Search, trial: Trial, at_rest: bool, points: Sequence[Point]) -> Run:
    status: RunStatus = _STATUS.get(trial.state, "KILLED" if at_rest else "RUNNING")
    name = f"trial {trial.number} of {search.name}"  # long names are cut at their end
    if trial.confirms is not None:
        name = f"trial {trial.confirms} with seed {trial.params[SEED]} of {search.name}"
    return Run(
        key=run_key(search.uid, trial),
        name=name,
        params=comparison_params(trial.params),
        tags={SEARCH_TAG: search.uid, **trial_tags(trial)},
        parent=search.uid,
        points=_points(trial, points, search.objective),
        owned=("themo.reason", "themo.why"),
        started=_milliseconds(trial.started),
        ended=None if status == "RUNNING" else _milliseconds(trial.ended),
        status=status,
    )


def _points(trial: Trial, reports: Sequence[Point], objective: str) -> tuple[Point, ...]:
    """The reports of a trial, with those that only ``study.json`` has: all of an older search."""
    last = reports[-1].step if reports else -1
    late = {pairs: {objective: value} for pairs, value in trial.values.items() if pairs > last}
    if trial.pairs_seen > last and trial.metrics:
        late[trial.pairs_seen] = trial.metrics
    at = max(_milliseconds(trial.ended) or 0, reports[-1].at if reports else 0)
    return (*reports, *(Point(pairs, at + n, late[pairs]) for n, pairs in enumerate(sorted(late))))


def _parent(search: Search, folder: Path, study: Study, at_rest: bool) -> Run:
    tags, owned, scores = {SEARCH_TAG: search.uid}, [], {}
    files = {"settings.json": json.dumps(search.to_tree(), indent=2, ensure_ascii=False, default=str)}
    status: RunStatus = "RUNNING"
    found = verdict(study)
    if found is not None or at_rest:
        tags |= confirmation_tags(found)
        owned.append(CONFIRMATION_TAG)
    if at_rest:
        is_over = is_finished(study, search)
        status = "FINISHED" if is_over else "KILLED"
        owned += [WINNER_TAG, EARLY_END_TAG]
        if is_over and (end := early_end(study, search.space)) is not None:
            tags[EARLY_END_TAG] = end.line(search.objective)
        if (winner := study.winner()) is not None:
            of_best = _best_files(folder, run_key(search.uid, winner))
            tags |= winner_tags(winner, is_tested=TEST_FILE in of_best)
            files |= of_best
            tested = folder / BEST_VERSION / TEST_FILE
            scores = (logged_scores(read_scores(tested)) if TEST_FILE in of_best else {}) | leads(found)
    name = f"best/{search.objective}"
    points = [Point(n, at, {name: value, "trials": n}) for n, at, value in _best_by_ends(study, at_rest)]
    return Run(
        key=search.uid,
        name=search.name,
        params={"objective": search.objective, "search": search.name},
        tags=tags,
        points=tuple(points),
        scores=scores,
        files=files,
        owned=tuple(owned),
        started=min((at for trial in study if (at := _milliseconds(trial.started))), default=None),
        status=status,
    )


def _best_files(folder: Path, key: str) -> dict[str, str]:
    """Settings, report and test of the winner; none while ``best/`` is of another trial, as after a kill.

    Args:
        folder: The search directory.
        key: Key of the winner's run.
    """
    best = folder / BEST_VERSION
    if read_run_keys(best)[:1] != [key]:
        return {}
    paths = (folder / BEST_SETTINGS, folder / REPORT_FILE, best / TEST_FILE)
    return {path.name: path.read_text(encoding="utf-8") for path in paths if path.is_file()}


def _best_by_ends(study: Study, at_rest: bool) -> list[tuple[int, int, float]]:
    """Number of ended trials, time in milliseconds and best objective at each end of a trial.

    They come from the journal; the last is the leader's. An older search, without a journal, has only the
    last.
    """
    ends: list[tuple[int, int, float]] = []
    values: dict[int, dict[int, float]] = {trial.number: {} for trial in study}
    best: dict[int, float] = {}
    done: set[int] = set()
    pick, n_last = max if study.mode == "max" else min, 0
    for event in study.journal or ():
        number, detail = event.number, event.detail
        match event.kind:
            case "report" if detail[1] is not None:
                values[number][detail[0]] = detail[1]
            case "rewind":
                values[number] = {pairs: v for pairs, v in values[number].items() if pairs <= detail[0]}
            case "take_over":
                values[number] = dict(values[detail[0]])
            case "resume":
                done.discard(number)
            case "finish" if detail[0] != "PAUSED":
                done.add(number)
            case _:
                continue
        best.pop(number, None)
        if values[number] and not (event.kind == "finish" and detail[0] == "FAIL"):
            best[number] = pick(values[number].values())
        if event.kind == "finish" and len(done) > n_last:
            n_last = len(done)
            if best:
                at = max(ends[-1][1] if ends else 0, _milliseconds(study[number].ended) or 0)
                ends.append((n_last, at, pick(best.values())))
    leader, n_done = study.leader(), study.n_done
    if leader is None or n_done < max(n_last, 0 if at_rest else 1):
        return ends
    if (value := leader.best(study.mode)) is not None:
        at = max(_milliseconds(trial.ended) or 0 for trial in study)
        ends = [end for end in ends if end[0] < n_done] + [(n_done, at, value)]
    return ends


def _view(search: Search, study: Study) -> Mapping[str, Any]:
    """The view that compares the trials on the settings in which they differ."""
    space = search.space
    searched = [name for name in space.dimensions if name not in space.conditions]  # some trials lack others
    where = f"tags.`{SEARCH_TAG}` = '{search.uid}' AND tags.`{TRIAL_TAG}` LIKE '%'"
    axes = axes_of([trial.params for trial in study if trial.values], searched)
    costs = [] if space.search.second_objective is None else [cost_metric(space.search.second_objective)]
    return parallel_coordinates(where, axes, f"best/{search.objective}", len(study), costs)


def axes_of(settings: Sequence[Mapping[str, Any]], searched: Collection[str]) -> list[str]:
    """The params on which trials are compared: those that all have and that differ; before a trial, all.

    Args:
        settings: Settings of each trial with a report.
        searched: Names of the searched settings.
    """
    axes = [
        name
        for name in searched
        if all(name in params for params in settings)
        and (len(settings) < 2 or len({params[name] for params in settings}) > 1)
    ]
    return [LOG10_RATE if name == "learn_rate" else name for name in axes]


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)
