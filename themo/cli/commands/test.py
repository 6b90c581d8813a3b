"""``test``: score a version, its ceiling and the baselines."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from themo.cli.addressing import VERSION_HELP, add_run, find_version, given_run, sees_images
from themo.cli.options import Parser, add_json, add_presets, add_settings, path
from themo.config.settings import Settings, load
from themo.config.worlds import note_on_tests
from themo.errors import InputError
from themo.evaluation.recording import is_current, replaced_during_test, score_and_record
from themo.process.devices import let_threads_sleep
from themo.process.output import from_here, print_json, print_result, with_command
from themo.process.progress import console, waiting

if TYPE_CHECKING:
    from themo.evaluation.encoders import Examination
    from themo.export.sizes import Size

SUMMARY = "Test a student on images and compare it with its teacher."
USAGE = "python -m themo test [NAME] [OPTION ...]"
EXAMPLES = """\
  python -m themo test
  python -m themo test --version-path logs/miniature/version_0
  python -m themo test NAME --baseline --report
  python -m themo test --version-path VERSION --sizes es-static es-onnx
  python -m themo test --baseline
"""


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    group = parser.add_argument_group("test")
    add_run(parser, group, VERSION_HELP)
    group.add_argument(
        "--baseline",
        action="store_true",
        help="also test the baselines; without --version-path, only the baselines",
    )
    group.add_argument(
        "--task", choices=("all", "retrieval", "accuracy"), default="all", help="test sets to use (all)"
    )
    group.add_argument(
        "--report",
        action="store_true",
        help="write report.html into the version: retrieved images, failures and figures",
    )
    group.add_argument(
        "--sizes",
        type=path,
        nargs="*",
        metavar="DIR",
        help="also score and time nested widths and these exports: static, onnx, transformers",
    )
    add_presets(parser)
    add_settings(parser, ("benchmarks", "paths"))
    add_json(parser)


def run(options: Namespace, _resume_hint: list[str]) -> None:
    """Run the command."""
    given = given_run(options)
    tests_baselines_alone = options.baseline and given is None
    if options.report and tests_baselines_alone:
        raise InputError("test: --report needs a student; with --baseline give --version-path too")
    if options.sizes is not None and tests_baselines_alone:
        raise InputError("test: --sizes needs a student; with --baseline give --version-path too")
    if options.sizes is not None and options.task == "accuracy":
        raise InputError("test: --sizes needs the retrieval test, got --task accuracy")
    if not tests_baselines_alone and (options.preset or options.config):
        raise InputError(
            "test: --preset and --config are for --baseline without a version, which has its own settings"
        )
    let_threads_sleep()
    from themo.checkpoints.versions import find_part, settings_here
    from themo.evaluation.test_data import refuse_missing_test_data
    from themo.models.table_folders import is_table
    from themo.process.devices import refuse_missing_device
    from themo.tracking.uri import check_reachable, tracking_uri, ui_command

    version = None
    if tests_baselines_alone:
        settings = load(options.config, options.preset, options.settings)
    else:
        version = find_version(given, options.settings, "to test", sees_images)
        settings = settings_here(version, options.settings)
        if not is_table(version):
            find_part(version, "student")
    refuse_missing_test_data(settings, version, options.task)
    refuse_missing_device(settings.training.device)
    check_reachable(tracking_uri(Path(settings.paths.logs_dir)))
    if options.sizes is not None and version is not None:
        from themo.export.sizes import refuse_other_folders

        refuse_other_folders(options.sizes)
    sizes: dict[str, Size] = {}

    def measure(tested: Examination) -> None:
        if options.sizes is not None and version is not None:
            sizes.update(_measure_sizes(tested, settings, version, options.sizes))

    tested = score_and_record(settings, version, options.task, options.baseline, then=measure)
    by_name = {name: size.to_dict() for name, size in sizes.items()}
    report = None
    if options.report and version is not None:
        from themo.evaluation.report.page import write_report

        report = write_report(tested, settings, version, by_name)
        if not is_current(version, tested):
            report.unlink(missing_ok=True)
            report = None
            console.print(f"No report: {replaced_during_test(version)}", soft_wrap=True)
    if options.json:
        of_sizes = {"sizes": by_name} if sizes else {}
        print_json(tested.to_dict() | of_sizes | ({"report": str(report)} if report else {}))
    else:
        print_result(tested.scores.to_tables())
        if sizes:
            from themo.export.sizes import to_table

            print_result(to_table(sizes))
    if version is not None and (note := note_on_tests(settings)):
        console.print(note, soft_wrap=True)
    if report:
        console.print(f"Report:        {from_here(report)}")
    command = ui_command(tracking_uri(Path(settings.paths.logs_dir)))
    console.print(with_command("Compare runs:  ", command, console))


def _measure_sizes(
    tested: Examination, settings: Settings, version: Path, folders: list[Path]
) -> dict[str, Size]:
    """Measure sizes and add them to the version's ``test.json``."""
    from themo.evaluation.recording import write_test
    from themo.export.sizes import measure_sizes

    with waiting("Measuring sizes"):
        sizes = measure_sizes(tested, settings, version, folders)
    if write_test(version, tested, {name: size.to_dict() for name, size in sizes.items()}) is None:
        console.print(f"Sizes not recorded: {replaced_during_test(version)}", soft_wrap=True)
    return sizes
