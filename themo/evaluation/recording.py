"""A test and its record: scores in MLflow and in ``test.json`` beside the version."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from themo.config.settings import Settings
from themo.evaluation.score_names import logged_scores
from themo.process.garbage import uncollected
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
) -> Examination:
    """Score a version, write ``test.json`` and remove the report of an earlier test.

    The scores are logged to the version's run in MLflow, those of a search's best version to the search's
    run; scores of baselines alone are a run of their own. `must_answer` is that of `Tracking`, `sizes` are
    those of `write_test`, from an earlier test.
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
        (version / REPORT_FILE).unlink(missing_ok=True)  # an older report would contradict these scores
        console.print(f"Written: {write_test(version, tested, sizes)}")
    return tested


def write_test(version: Path, tested: Examination, sizes: Sizes | None = None) -> Path:
    """Write ``test.json`` and return its path.

    Args:
        version: The tested version directory.
        tested: Its scores.
        sizes: Values of each form of the student by its name (`themo.export.sizes`); None: not measured.
    """
    from themo.checkpoints.versions import TEST_FILE
    from themo.files.atomic import write_text

    content = tested.to_dict() | ({"sizes": sizes} if sizes else {})
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(version / TEST_FILE, text + "\n")
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
