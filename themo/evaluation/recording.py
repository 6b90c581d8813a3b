"""A test and its record: scores in MLflow and in ``test.json`` beside the version."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from themo.config.settings import Settings
from themo.errors import InputError
from themo.evaluation.score_names import logged_scores
from themo.process.garbage import uncollected
from themo.process.output import typed
from themo.process.progress import console, waiting

if TYPE_CHECKING:
    from themo.evaluation.encoders import Examination, Task

Sizes = Mapping[str, Mapping[str, float]]


def score_and_record(
    settings: Settings,
    version: Path | None,
    task: Task,
    baseline: bool,
    floor: bool = False,
    must_answer: bool = True,
    sizes: Sizes | None = None,
    then: Callable[[Examination], object] | None = None,
) -> Examination:
    """Score a version, write ``test.json`` and remove the report of an earlier test.

    If a training replaced the student during the test, nothing is written, which is printed: the scores are
    not those of the student on disk.

    The scores are logged to the version's run in MLflow, those of a search's best version to the search's
    run; scores of baselines alone are a run of their own.

    Args:
        settings: Settings of the version.
        version: The version directory; None: the baselines alone.
        task: As in `themo.evaluation.encoders.examine`.
        baseline: As in `examine`.
        floor: As in `examine`.
        must_answer: As in `themo.tracking.runs.Tracking`.
        sizes: Those of `write_test`, from an earlier test.
        then: Called with a version's scores once they are written. It may extend ``test.json``, which is
            sent to MLflow afterwards.
    """
    with waiting("Loading libraries"), uncollected():
        from themo.checkpoints.versions import REPORT_FILE
        from themo.evaluation.encoders import examine
        from themo.evaluation.version_run import tracking_of

    if version is None:
        return _score_baselines(settings, task, floor)
    with tracking_of(settings, version, must_answer=must_answer):
        tested = examine(settings, version, task=task, baseline=baseline, floor=floor)
        # before waiting for MLflow
        if is_current(version, tested):
            (version / REPORT_FILE).unlink(missing_ok=True)  # an older report would contradict these scores
        if (written := write_test(version, tested, sizes)) is None:
            console.print(f"Not recorded: {replaced_during_test(version)}", soft_wrap=True)
        else:
            console.print(f"Written: {written}")
        if then is not None:
            then(tested)
    return tested


def is_current(version: Path, tested: Examination) -> bool:
    """Whether a version still has the tested student."""
    from themo.checkpoints.versions import find_part, identity_of

    if tested.student is None:
        return True
    try:
        return identity_of(find_part(version, "student")) == tested.student
    except InputError:
        return False


def replaced_during_test(version: Path) -> str:
    """Return the message of a student that is not the tested one any more."""
    again = typed("test", "--version-path", version)
    return (
        f"{version / 'student'} was replaced during the test, whose scores are of its predecessor; "
        f"to test the new one: {again}"
    )


def write_test(version: Path, tested: Examination, sizes: Sizes | None = None) -> Path | None:
    """Write ``test.json`` and return its path; None, without the file, if the student was replaced.

    A training removes the file before and after it replaces the student. So a file that is written while it
    replaces the student does not stay either.

    Args:
        version: The tested version directory.
        tested: Its scores.
        sizes: Values of each form of the student by its name (`themo.export.sizes`); None: not measured.
    """
    from themo.checkpoints.versions import TEST_FILE
    from themo.files.atomic import write_text

    content = tested.to_dict() | ({"sizes": sizes} if sizes else {})
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    if not is_current(version, tested):
        return None
    write_text(version / TEST_FILE, text + "\n")
    if not is_current(version, tested):
        (version / TEST_FILE).unlink(missing_ok=True)
        return None
    return version / TEST_FILE


def _score_baselines(settings: Settings, task: Task, floor: bool) -> Examination:
    """Score the baselines alone; their run in MLflow has no record on disk."""
    from themo.evaluation.encoders import examine
    from themo.tracking.projection import Projection, Run
    from themo.tracking.runs import Tracking
    from themo.tracking.uri import tracking_uri

    runs: list[Run] = []
    uri = tracking_uri(Path(settings.paths.logs_dir))
    with Tracking(uri, settings.paths.experiment, lambda: Projection(tuple(runs))):
        tested = examine(settings, None, task=task, baseline=True, floor=floor)
        result, tags = tested.to_dict(), {"themo.kind": "test"}
        scores = logged_scores(result)
        files = {"settings.json": json.dumps(result, indent=2, ensure_ascii=False)}
        runs.append(Run(uuid.uuid4().hex, "test baseline", tags=tags, scores=scores, files=files))
    return tested
