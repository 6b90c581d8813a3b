"""``train``: train one student into a version directory."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from themo.cli.known_runs import complete_with, versions
from themo.cli.options import Parser, add_presets, add_settings, path
from themo.process.garbage import uncollected
from themo.process.output import print_result, typed, with_command
from themo.process.progress import console, waiting

if TYPE_CHECKING:
    from themo.training.loop import Report

SUMMARY = "Train one student."
USAGE = "python -m themo train [OPTION ...]"
EXAMPLES = """\
  python -m themo train --batch-size 256 --learn-rate 8e-5
  python -m themo train --config logs/tune/NAME/best.yaml
  python -m themo train --resume logs/miniature/version_0
"""


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    resume = parser.add_argument_group("training").add_argument(
        "--resume", type=path, metavar="VERSION", help="unfinished version directory to resume"
    )
    complete_with(resume, versions)
    add_presets(parser)
    add_settings(parser)


def run(options: Namespace, resume_hint: list[str]) -> None:
    """Run the command."""
    from themo.config.worlds import note_on_tests
    from themo.tracking.uri import tracking_uri, ui_command
    from themo.training.request import refuse_unfit_request, settings_of_run

    settings = settings_of_run(options.config, options.preset, options.settings, options.resume)
    refuse_unfit_request(settings, options.resume)
    with waiting("Loading libraries"), uncollected():  # after all checks that do without them
        from themo.training.run import training_run
    can_test = settings.benchmarks.names_tests and settings.data.targets is None
    with training_run(settings, resume=options.resume) as run:
        test_it = [typed("test", "--version-path", run.version)] if can_test else []

        def report(last: Report) -> None:
            resume_hint[:] = test_it if last.is_last else [typed("train", "--resume", run.version)]
            _print_report(last, settings.objective)

        result = run.train(report)
        print_result(f"{result.version}  best {result.objective} {result.best.score:.4f}")
        if test_it and (note := note_on_tests(settings)):
            console.print(note, soft_wrap=True)
        for command in test_it:
            console.print(with_command("Test it:       ", command, console))
        resume_hint[:] = [typed("send", run.version)]  # while MLflow takes what is left
    resume_hint[:] = test_it
    command = ui_command(tracking_uri(Path(settings.paths.logs_dir)))
    console.print(with_command("Compare runs:  ", command, console))


def _print_report(report: Report, objective: str) -> None:
    """Print losses and objective of a report, in less than 80 columns."""
    metrics = report.metrics
    shown = [f"{name} {metrics[name]:.4f}" for name in dict.fromkeys(("train/loss", "val/loss", objective))]
    best = ["best"] if report.is_best else []
    console.print("  ".join([f"epoch {metrics['epoch']:5.2f}", *shown, *best]))
