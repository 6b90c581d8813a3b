"""``test``: scores of a version, the ceiling and baselines."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from themo.config import Settings, load
from themo.errors import InputError
from themo.options import Parser, add_json, add_presets, add_settings
from themo.output import print_json, print_result
from themo.progress import console, waiting

if TYPE_CHECKING:
    from themo.evaluation import Scores
    from themo.scoring import Task

SUMMARY = "Test a student on images, beside its teacher."
USAGE = "python -m themo test [OPTION ...]"
EXAMPLES = """\
  python -m themo test --version-path logs/miniature/version_0
  python -m themo test --baseline
"""


def add_options(parser: Parser) -> None:
    """The command's options."""
    group = parser.add_argument_group("test")
    group.add_argument(
        "--version-path", type=Path, metavar="VERSION", help="version directory of the student"
    )
    group.add_argument("--baseline", action="store_true", help="add the baselines; alone: test only them")
    group.add_argument(
        "--task", choices=("all", "retrieval", "accuracy"), default="all", help="which test sets (all)"
    )
    add_presets(parser)
    add_settings(parser, ("benchmarks", "paths"))
    add_json(parser)


def run(options: Namespace, _resume_hint: list[str]) -> None:
    """Run the command."""
    if options.version_path is None and not options.baseline:
        raise InputError("test: --version-path or --baseline must be given")
    with waiting("Loading libraries"):
        from themo.tracking import tracking_uri, ui_command
        from themo.versions import read_settings

    if options.version_path is not None:
        if options.preset or options.config:
            raise InputError("test: --version-path brings its own settings; leave out --preset and --config")
        settings = read_settings(options.version_path).override(options.settings)
    else:
        settings = load(options.config, options.preset, options.settings)
    scores = score_and_record(settings, options.version_path, options.task, options.baseline)
    if options.json:
        print_json(scores.to_dict())
    else:
        print_result(scores.to_table())
    console.print(f"Compare runs:  {ui_command(tracking_uri(Path(settings.paths.logs_dir)))}")


def score_and_record(settings: Settings, version: Path | None, task: Task, baseline: bool) -> Scores:
    """Score, log to MLflow, and write ``test.json`` beside a version."""
    from themo.config import write_text

    with waiting("Loading libraries"):
        from themo.scoring import score_version
        from themo.tracking import Tracking, comparison_params, tracking_uri

    with Tracking(tracking_uri(Path(settings.paths.logs_dir)), settings.paths.experiment) as tracking:
        scores = score_version(settings, version, task=task, baseline=baseline)
        run = tracking.start(
            f"test {version or 'baseline'}",
            comparison_params(settings.leaves()) if version else {},
            artifact=scores.to_dict(),
            tags={"themo.kind": "test", "themo.version": str(version or "")},
        )
        run.report(scores.to_metrics(), step=0)
        run.finish()
    if version is not None:
        write_text(version / "test.json", scores.to_json())
        console.print(f"Written: {version / 'test.json'}")
    return scores
