"""``test``: scores of a version, the ceiling and baselines."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from themo.cli.addressing import VERSION_HELP, find_version, sees_images
from themo.cli.options import Parser, add_json, add_presets, add_settings, path
from themo.config.settings import Settings, load
from themo.errors import InputError
from themo.process.output import print_json, print_result
from themo.process.progress import console, waiting

if TYPE_CHECKING:
    from themo.evaluation.encoders import Examination, Task

SUMMARY = "Test a student on images, beside its teacher."
USAGE = "python -m themo test [OPTION ...]"
EXAMPLES = """\
  python -m themo test
  python -m themo test --version-path logs/miniature/version_0
  python -m themo test --version-path NAME --baseline --report
  python -m themo test --baseline
"""


def add_options(parser: Parser) -> None:
    """The command's options."""
    group = parser.add_argument_group("test")
    group.add_argument("--version-path", type=path, metavar="VERSION", help=VERSION_HELP)
    group.add_argument(
        "--baseline", action="store_true", help="add the baselines; without --version-path: test only them"
    )
    group.add_argument(
        "--task", choices=("all", "retrieval", "accuracy"), default="all", help="which test sets (all)"
    )
    group.add_argument(
        "--report",
        action="store_true",
        help="write report.html beside the version: what the student finds, and what it does not know",
    )
    add_presets(parser)
    add_settings(parser, ("benchmarks", "paths"))
    add_json(parser)


def run(options: Namespace, _resume_hint: list[str]) -> None:
    """Run the command."""
    if options.report and options.baseline and options.version_path is None:
        raise InputError("test: --report tells what a student finds; with --baseline it needs --version-path")
    tests_baselines_alone = options.baseline and options.version_path is None
    if not tests_baselines_alone and (options.preset or options.config):
        raise InputError(
            "test: a version brings its own settings; --preset and --config are for --baseline alone"
        )
    from themo.checkpoints.versions import find_part, settings_here
    from themo.evaluation.test_data import refuse_missing_test_data
    from themo.process.devices import refuse_missing_device
    from themo.tracking.uri import check_reachable, tracking_uri, ui_command

    version = None
    if tests_baselines_alone:
        settings = load(options.config, options.preset, options.settings)
    else:
        version = find_version(options.version_path, options.settings, "to test", sees_images)
        settings = settings_here(version, options.settings)
        find_part(version, "student")
    refuse_missing_test_data(settings, version, options.task)
    refuse_missing_device(settings.training.device)
    check_reachable(tracking_uri(Path(settings.paths.logs_dir)))
    tested = score_and_record(settings, version, options.task, options.baseline)
    report = None
    if options.report and version is not None:
        from themo.evaluation.report.page import write_report

        report = write_report(tested, settings, version)
    if options.json:
        print_json(tested.to_dict() | ({"report": str(report)} if report else {}))
    else:
        print_result(tested.scores.to_table())
    if report:
        console.print(f"Read of it:    {report}")
    console.print(f"Compare runs:  {ui_command(tracking_uri(Path(settings.paths.logs_dir)))}")


def score_and_record(
    settings: Settings,
    version: Path | None,
    task: Task,
    baseline: bool,
    floor: bool = False,
    must_answer: bool = True,
) -> Examination:
    """Score, log to MLflow, and write ``test.json`` beside a version, where an earlier test's report goes.

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
        if version is not None:  # before MLflow is waited for
            (version / REPORT_FILE).unlink(missing_ok=True)  # other figures must not lie beside these
            text = json.dumps(tested.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
            write_text(version / TEST_FILE, text + "\n")
            console.print(f"Written: {version / TEST_FILE}")
    return tested
