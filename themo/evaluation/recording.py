"""A test and its record: scores in MLflow and in ``test.json`` beside the version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from themo.config.settings import Settings
from themo.process.progress import console, waiting

if TYPE_CHECKING:
    from themo.evaluation.encoders import Examination, Task


def score_and_record(
    settings: Settings,
    version: Path | None,
    task: Task,
    baseline: bool,
    floor: bool = False,
    must_answer: bool = True,
) -> Examination:
    """Score a version, log to MLflow, write ``test.json`` and remove the report of an earlier test.

    `must_answer` is that of `Tracking`.
    """
    from themo.files.atomic import write_text

    with waiting("Loading libraries"):
        from themo.checkpoints.versions import REPORT_FILE, TEST_FILE
        from themo.evaluation.encoders import examine
        from themo.tracking.names import comparison_params
        from themo.tracking.runs import Tracking, outbox_path
        from themo.tracking.uri import tracking_uri

    logs_dir = Path(settings.paths.logs_dir)
    uri, outbox = tracking_uri(logs_dir), outbox_path(logs_dir)
    with Tracking(uri, settings.paths.experiment, outbox, must_answer=must_answer) as tracking:
        tested = examine(settings, version, task=task, baseline=baseline, floor=floor)
        scores = tested.scores
        run = tracking.start(
            f"test {version or 'baseline'}",
            comparison_params(settings.leaves()) if version else {},
            artifact=tested.to_dict(),
            tags={"themo.kind": "test", "themo.version": str(version or "")},
        )
        run.report(scores.to_metrics(), step=0)
        run.finish()
        if version is not None:  # before waiting for MLflow
            (version / REPORT_FILE).unlink(missing_ok=True)  # an older report would contradict these scores
            text = json.dumps(tested.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
            write_text(version / TEST_FILE, text + "\n")
            console.print(f"Written: {version / TEST_FILE}")
    return tested
