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
    """Score a version, write ``test.json`` and remove the report of an earlier test.

    The scores are logged to the version's run in MLflow, those of a search's best version to the search's
    run; scores of baselines alone are a run of their own. `must_answer` is that of `Tracking`.
    """
    from themo.files.atomic import write_text

    with waiting("Loading libraries"):
        from themo.checkpoints.version_run import join_run, tracking_of
        from themo.checkpoints.versions import REPORT_FILE, TEST_FILE
        from themo.evaluation.encoders import examine

    with tracking_of(settings, version, must_answer=must_answer) as tracking:
        tested = examine(settings, version, task=task, baseline=baseline, floor=floor)
        metrics = tested.scores.to_metrics()
        if version is None:
            with tracking.run("test baseline", {}, tested.to_dict(), {"themo.kind": "test"}) as run:
                run.report(metrics, step=0)
            return tested
        run = join_run(tracking, version, settings)
        run.measure(metrics)
        run.artifact(tested.to_dict(), TEST_FILE)
        # before waiting for MLflow
        (version / REPORT_FILE).unlink(missing_ok=True)  # an older report would contradict these scores
        text = json.dumps(tested.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        write_text(version / TEST_FILE, text + "\n")
        console.print(f"Written: {version / TEST_FILE}")
    return tested
