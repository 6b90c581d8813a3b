"""``report``: write one HTML page about a search or a version's test."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path

from themo.cli.addressing import (
    add_run,
    find_newest_run,
    find_search_or_version,
    given_run,
    is_version,
)
from themo.cli.options import Parser, place
from themo.config.settings import load
from themo.errors import InputError
from themo.process.output import print_result
from themo.process.progress import waiting

SUMMARY = "Write an HTML report of a search or of a version's test."
EXAMPLES = """\
  python -m themo report
  python -m themo report beto
  python -m themo report logs/miniature/version_0
"""


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    group = parser.add_argument_group("report")
    add_run(
        parser,
        group,
        "name or folder of a search, or a version directory, which is then tested (the newest of both)",
    )
    group.add_argument("--logs-dir", type=place, metavar="FOLDER", help="folder of the logs (logs)")


def run(options: Namespace, _resume_hint: list[str]) -> None:
    """Run the command."""
    from tune.study.naming import search_folder
    from tune.study.search import read_search

    settings = load().override({"logs_dir": options.logs_dir} if options.logs_dir else {})
    logs_dir = Path(settings.paths.logs_dir)
    given = given_run(options)
    folder_of = partial(search_folder, settings=settings, asked_by="report NAME")
    folder = (
        find_newest_run(logs_dir, "report")
        if given is None
        else find_search_or_version(given, logs_dir, folder_of)
    )
    if folder is None:
        raise InputError(
            f"report: {logs_dir / 'tune'} must hold a search, it holds none; "
            "make one with `python -m themo tune`, or give a version directory"
        )
    if is_version(folder):
        print_result(str(_report_on_test(folder)))
        return
    folder = folder.resolve()
    search = read_search(folder, asked_by="report NAME")
    with waiting("Loading libraries"):
        from tune.results.parent_run import renew
        from tune.results.report.page import write_report
    print_result(str(write_report(search, folder)))
    renew(search, folder)


def _report_on_test(version: Path) -> Path:
    """Test a version and write the report of the test."""
    from themo.checkpoints.versions import settings_here
    from themo.evaluation.recording import score_and_record
    from themo.evaluation.report.page import write_report

    settings = settings_here(version)
    return write_report(score_and_record(settings, version, "all", baseline=False), settings, version)
