"""The run of a version in MLflow, computed from the version directory."""

from __future__ import annotations

import csv
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from themo.checkpoints.search_parts import is_of_trial, search_of, trial_key
from themo.checkpoints.versions import (
    ENDED,
    METRICS_FILE,
    TEST_FILE,
    identity_of,
    keep_run_keys,
    read_run_keys,
    read_settings,
    read_summary,
)
from themo.config.settings import Settings
from themo.errors import InputError
from themo.evaluation.score_names import logged_scores
from themo.process.output import typed, with_command
from themo.process.progress import console
from themo.tracking.names import comparison_params, version_name
from themo.tracking.projection import Point, Projection, Run, RunStatus
from themo.tracking.runs import Sent, Tracking, send
from themo.tracking.tracked import read_tracked
from themo.tracking.unsent import Destination, destination_of, is_marked, is_sending, mark
from themo.tracking.uri import URI_VARIABLE, default_uri, tracking_uri, without_password


def project_version(
    version: Path,
    settings: Settings,
    key: str,
    status: RunStatus | None = None,
    *,
    adds_only: bool = False,
) -> Projection:
    """The run of a version.

    Args:
        version: The version directory; before the first report its files are missing.
        settings: Settings of the version.
        key: Key of the run.
        status: Status of a run of this process; None: read from the directory.
        adds_only: As in `Run`.

    Raises:
        OSError, ValueError: A file is damaged.
    """
    files = {"settings.json": json.dumps(settings.model_dump(mode="json"), indent=2, ensure_ascii=False)}
    scores, points = {}, _points(version / METRICS_FILE)
    with suppress(FileNotFoundError):
        files[TEST_FILE] = (version / TEST_FILE).read_text(encoding="utf-8")
        scores = logged_scores(json.loads(files[TEST_FILE]))
    if adds_only:
        del files["settings.json"]
    run = Run(
        key=key,
        name=version_name(version, Path(settings.paths.logs_dir)),
        params=comparison_params(settings.leaves()),
        first_tags={"themo.kind": "train", "themo.version": str(version)},
        points=points,
        scores=scores,
        files=files,
        started=points[0].at - int(1000 * points[0].metrics.get("seconds", 0.0)) if points else None,
        ended=points[-1].at if points and status is None else None,
        status=status or _status(version),
        adds_only=adds_only,
    )
    return Projection((run,))


def _status(version: Path) -> RunStatus | None:
    try:
        summary = read_summary(version)
    except InputError:
        return None
    if summary.get("state") in ("finished", "stopped early"):
        return "FINISHED"
    return "FAILED" if summary.get(ENDED) == "FAILED" else "KILLED"


def _points(table: Path) -> tuple[Point, ...]:
    """The reports of a run. Their times follow from the table's own time and the seconds of training."""
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = [{name: float(v) for name, v in row.items() if v} for row in csv.DictReader(file)]
        written = table.stat().st_mtime
    except FileNotFoundError:
        return ()
    begun = written - rows[-1].get("seconds", 0.0) if rows else 0.0
    return tuple(
        Point(int(row["pairs_seen"]), int(1000 * (begun + row.get("seconds", 0.0))), row) for row in rows
    )


def send_version(version: Path, seconds: float) -> Sent:
    """Send the run of a version to MLflow, to the server of the environment or else to its own.

    Args:
        version: The version directory.
        seconds: Longest wait for the server.

    Raises:
        InputError: The version is being trained, a file is damaged, or the server does not take the run in
            time.
    """
    settings, known = read_settings(version), destination_of(version)
    key = _keys(version)[0]
    if known is None or os.environ.get(URI_VARIABLE):
        uri = tracking_uri(Path(settings.paths.logs_dir))
    else:
        uri = known.uri or default_uri(version.resolve().parent.parent)
    return send(
        uri, settings.paths.experiment, lambda: project_version(version, settings, key), version, seconds
    )


def _keys(version: Path) -> list[str]:
    """The keys of a version's runs; a version without one, trained with ``mlflow=False``, gets one."""
    if not read_run_keys(version):
        keep_run_keys(version, uuid.uuid4().hex)
    return read_run_keys(version)


@contextmanager
def tracking_of(settings: Settings, version: Path, *, must_answer: bool = True) -> Iterator[Tracking]:
    """Track the run that takes a version's scores; ``test.json`` is sent once it is written in the block.

    This is the version's own run, for a search's best version that of the search, for a trial's version that
    of the trial. It gets only the scores, unless the training was not sent to this server before. A
    version's run that is not in MLflow is created with a message. Runs of a search are not: the search is
    marked as unsent, and a message names the command that sends it. If the server did not take the scores,
    the version or the search is marked as unsent. A search that logs to another server or experiment is not
    marked; a message names them if no run takes the scores.

    Args:
        settings: Settings of the version.
        version: The version directory.
        must_answer: See `themo.tracking.runs.Tracking`.

    Raises:
        InputError: As in `themo.tracking.runs.Tracking`; or a mark or a search is damaged.
    """
    logs_dir, experiment = Path(settings.paths.logs_dir), settings.paths.experiment
    uri = tracking_uri(logs_dir)
    folder, key = _record_of(version)
    is_of_search = folder != version
    here = Destination.of(uri, experiment, folder.resolve().parent.parent)
    known = destination_of(folder)
    elsewhere = _other_place(folder, here) if is_of_search else None
    is_unsent_here = is_marked(folder) and (known is None or known.is_same(here))
    is_sent_by_other = is_unsent_here and is_sending(folder)  # such as its training, from the same files
    is_whole = is_unsent_here and not is_sent_by_other and not is_of_search
    is_sent_with_search = is_unsent_here and is_of_search and not is_of_trial(version)
    tested_before = identity_of(version / TEST_FILE)

    def project() -> Projection:
        is_tested = identity_of(version / TEST_FILE) not in (None, tested_before)
        if is_sent_with_search or not (is_tested or is_whole):
            return Projection()
        (run,) = project_version(version, settings, key, adds_only=not is_whole).runs
        return Projection((replace(run, creates=not (is_of_search or is_sent_by_other)),))

    to_mark = folder if elsewhere is None else None
    with Tracking(
        uri, experiment, project, to_mark, must_answer=must_answer, adds_only=not is_whole
    ) as tracking:
        yield tracking
    place = f"MLflow at {without_password(uri)}, experiment {experiment!r}"
    for name in tracking.mirror.made:
        console.print(f"{place}, has no run of {name}: it is logged as a new run", soft_wrap=True)
    for name in tracking.mirror.missing if is_of_search else ():
        label = f"{place}, has no run of {name}: its scores are not logged"
        if elsewhere is not None:
            console.print(f"{label}, because the search logs to {elsewhere}", soft_wrap=True)
            continue
        mark(folder, here)
        line = with_command(f"{label}; to send the search first: ", typed("send", folder), console)
        console.print(line, soft_wrap=True)


def _other_place(search: Path, here: Destination) -> str | None:
    """Return server and experiment of a search's runs in words; None if they are `here`, or unknown."""
    tracked = read_tracked(search)
    if tracked is None or Destination(tracked.uri, tracked.experiment).is_same(here):
        return None
    uri = tracked.uri or default_uri(search.resolve().parent.parent)
    return f"{without_password(uri)}, experiment {tracked.experiment!r}"


def _record_of(version: Path) -> tuple[Path, str]:
    """Return the folder of the record with the run that takes a version's scores, and the run's key."""
    search = search_of(version)
    if search is not None and is_of_trial(version):
        return search, trial_key(version)
    *_, key = keys = _keys(version)
    is_of_search = search is not None and len(keys) > 1  # a copy elsewhere has both keys, but no search
    return (version.parent if is_of_search else version), key
