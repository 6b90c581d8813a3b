"""``report``: write one HTML page about a search or a version's test."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from themo.cli.addressing import find_run, is_search, is_version
from themo.cli.options import Parser, place
from themo.config.settings import load
from themo.errors import InputError
from themo.process.output import print_result
from themo.process.progress import console, waiting

SUMMARY = "Write an HTML report of a search or of a version's test."
EXAMPLES = """\
  python -m themo report
  python -m themo report beto
  python -m themo report logs/miniature/version_0
"""


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="name or folder of a search, or a version directory, which is then tested (the newest search)",
    )
    group = parser.add_argument_group("report")
    group.add_argument("--logs-dir", type=place, metavar="FOLDER", help="folder of the logs (logs)")


def run(options: Namespace, _resume_hint: list[str]) -> None:
    """Run the command."""
    from tune.study.naming import SEARCH_FILE, search_folder
    from tune.study.search import read_search, search_folders

    settings = load().override({"logs_dir": options.logs_dir} if options.logs_dir else {})
    logs_dir = Path(settings.paths.logs_dir)
    if options.name is None:
        searches = search_folders(logs_dir / "tune")
        if not searches:
            raise InputError(
                f"report: {logs_dir / 'tune'} must hold a search, it holds none; "
                "make one with `python -m themo tune`, or give a version directory"
            )
        folder = max(searches, key=lambda folder: (folder / SEARCH_FILE).stat().st_mtime_ns)
        console.print(f"Search: {folder.name}, the newest (report NAME takes another)")
    else:
        folder = find_run(Path(options.name), logs_dir)
    if is_version(folder):
        print_result(str(_report_on_test(folder)))
        return
    if is_search(folder):
        folder = folder.resolve()
    else:
        folder = search_folder(options.name, settings, asked_by="report NAME")
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
