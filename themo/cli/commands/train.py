"""``train``: one student into a version directory."""

from __future__ import annotations

import uuid
from argparse import Namespace
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from themo.cli.commands import load_checked
from themo.cli.options import Parser, add_presets, add_settings, path
from themo.config.worlds import toy_parts
from themo.errors import InputError
from themo.process.output import print_result, typed
from themo.process.progress import console, track, waiting

if TYPE_CHECKING:
    from themo.tracking.runs import Status
    from themo.training.loop import Report

SUMMARY = "Train one student."
USAGE = "python -m themo train [OPTION ...]"
EXAMPLES = """\
  python -m themo train --batch-size 256 --learn-rate 8e-5
  python -m themo train --config logs/tune/NAME/best.yaml
  python -m themo train --resume logs/miniature/version_0
"""


def add_options(parser: Parser) -> None:
    """The command's options."""
    parser.add_argument_group("training").add_argument(
        "--resume", type=path, metavar="VERSION", help="go on with an unfinished version directory"
    )
    add_presets(parser)
    add_settings(parser)


def run(options: Namespace, resume_hint: list[str]) -> None:
    """Run the command."""
    from themo.checkpoints.versions import (
        keep_run_key,
        new_version,
        read_progress,
        read_run_key,
        read_settings,
    )
    from themo.data.sources import refuse_missing_files
    from themo.data.test_files import fetch_captions
    from themo.process.devices import refuse_missing_device
    from themo.tracking.uri import check_reachable, tracking_uri, ui_command

    if options.resume is not None:
        _refuse_settings(options)
        settings = read_settings(options.resume)
        done = int(read_progress(options.resume)["pairs_seen"])
    else:
        settings, done = load_checked(options), 0
    for line in toy_parts(settings):
        console.print(line, soft_wrap=True)
    refuse_missing_files(settings)
    refuse_missing_device(settings.training.device)
    logs_dir = Path(settings.paths.logs_dir)
    check_reachable(tracking_uri(logs_dir))
    with waiting("Loading libraries"):  # after all that can be refused without them
        from themo.data.preparation import prepare_data
        from themo.tracking.names import comparison_params
        from themo.tracking.outbox import left_behind
        from themo.tracking.runs import Tracking, outbox_path
        from themo.training.loop import refuse_unfit
        from themo.training.loop import train as train_student
    if options.resume is None:
        fetch_captions(settings)
    data = prepare_data(settings)
    refuse_unfit(settings, data, options.resume)
    uri, experiment = tracking_uri(logs_dir), settings.paths.experiment
    # an unfinished run is gone on with in MLflow too; versions of before have no key
    key = (read_run_key(options.resume) if options.resume else None) or uuid.uuid4().hex
    outbox = outbox_path(logs_dir, f"train-{key}")  # what a kill left in it goes first
    with Tracking(uri, experiment, outbox) as tracking:
        for other in left_behind(outbox.parent):
            send = typed("send", other)
            console.print(f"An earlier command could not send all that it logged; send it with: {send}")
        version = options.resume or new_version(logs_dir, settings.paths.experiment)
        run = tracking.start(
            f"{settings.paths.experiment}/{version.name}",
            comparison_params(settings.leaves()),
            artifact=settings.model_dump(mode="json"),
            tags={"themo.kind": "train", "themo.version": str(version)},
            key=key,
        )
        can_test = settings.benchmarks.names_tests and settings.data.targets is None
        test_it = [typed("test", "--version-path", version)] if can_test else []
        total = round(settings.training.epochs * data.pairs_an_epoch)
        status: Status = "FAILED"
        try:
            with track("Training", total - done, "pairs") as advance:

                def report(last: Report) -> None:
                    keep_run_key(version, key)
                    last.save(version)
                    resume_hint[:] = test_it if last.is_last else [typed("train", "--resume", version)]
                    run.report(last.metrics, step=int(last.metrics["pairs_seen"]))
                    _print_report(last)

                last = train_student(
                    settings,
                    data,
                    report=report,
                    resume=options.resume,
                    on_step=lambda pairs, loss: advance(pairs, f"loss {loss:.4f}"),
                )
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            run.finish(status)
            with suppress(OSError):  # it holds a report: only one that nothing came of goes
                version.rmdir()
        best = last.metrics[f"best/{settings.objective}"]
        print_result(f"{version}  best {settings.objective} {best:.4f}")
        for command in test_it:
            console.print(f"Test it:       {command}")
        resume_hint[:] = [typed("send", outbox)]  # what MLflow is waited for to take
    resume_hint[:] = test_it
    console.print(f"Compare runs:  {ui_command(tracking.uri)}")


def _refuse_settings(options: Namespace) -> None:
    if options.settings or options.config or options.preset:
        raise InputError("--resume goes on with the settings it began with; leave out all settings")


def _print_report(report: Report) -> None:
    metrics = report.metrics
    names = ("train/loss", "val/loss", "val/match@01", "val/retrieval@01")
    console.print(
        f"epoch {metrics['epoch']:5.2f}  "
        + "".join(f"{name} {metrics[name]:.4f}  " for name in names if name in metrics)
        + f"{metrics['pairs_per_second']:,.0f} pairs/s{'  *' if report.is_best else ''}"
    )
