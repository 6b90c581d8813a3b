"""``report``: write one HTML page about a search, two searches or a version's test, or serve it live."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from themo.cli.addressing import (
    add_run,
    find_newest_run,
    find_search_or_version,
    given_run,
)
from themo.cli.known_runs import complete_with, versions_and_searches
from themo.cli.options import Parser, natural, place
from themo.config.settings import load
from themo.errors import InputError
from themo.files.run_folders import is_version
from themo.process.devices import let_threads_sleep
from themo.process.output import from_here, print_result
from themo.process.progress import console, waiting

SUMMARY = "Write an HTML report of a search, of two, or of a version's test."
EXAMPLES = """\
  python -m themo report
  python -m themo report beto
  python -m themo report beto roberta
  python -m themo report beto --follow
  python -m themo report logs/miniature/version_0
"""
DEFAULT_PORT = 8600
"""The port of ``--follow``."""


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    group = parser.add_argument_group("report")
    add_run(
        parser,
        group,
        "name or folder of a search, or a version directory, which is then tested (the newest of both)",
    )
    other = parser.add_argument(
        "other", nargs="?", metavar="OTHER", help="name or folder of a second search, to compare with NAME"
    )
    complete_with(other, versions_and_searches)
    group.add_argument("--logs-dir", type=place, metavar="FOLDER", help="folder of the logs (logs)")
    group.add_argument(
        "--follow",
        action="store_true",
        help="serve the page of a running search on 127.0.0.1 and keep it up to date until Ctrl-C",
    )
    group.add_argument(
        "--port",
        type=natural,
        metavar="N",
        help=f"port of --follow; 0: any free one ({DEFAULT_PORT})",
    )


def run(options: Namespace, _resume_hint: list[str]) -> None:
    """Run the command."""
    from tune.study.naming import is_starting, search_folder
    from tune.study.search import read_search

    _refuse_contradictions(options)
    settings = load().override({"logs_dir": options.logs_dir} if options.logs_dir else {})
    logs_dir = Path(settings.paths.logs_dir)
    given = given_run(options)
    folder_of = partial(search_folder, settings=settings, asked_by="report NAME")
    folders = [
        find_search_or_version(Path(name), logs_dir, folder_of)
        for name in (given, options.other)
        if name is not None
    ]
    if given is None:
        folders = [_newest(logs_dir)]
    version = next(filter(is_version, folders), None)
    if version is not None:
        let_threads_sleep()
        _refuse_version(version, options)
        print_result(from_here(_report_on_test(version, options.logs_dir)))
        return
    folders = [folder.resolve() for folder in folders]
    is_new = options.follow and is_starting(folders[0])
    searches = [] if is_new else [read_search(folder, asked_by="report NAME") for folder in folders]
    with waiting("Loading libraries"):
        from tune.results.parent_run import update_in_mlflow
        from tune.results.report.comparison import write_comparison
        from tune.results.report.follow import HOST, server_of
        from tune.results.report.page import write_report
        from tune.study.tracking_place import comparison_of
    if options.follow:
        with server_of(folders[0], DEFAULT_PORT if options.port is None else options.port) as server:
            print_result(f"http://{HOST}:{server.server_address[1]}/")
            console.print(f"Following search {folders[0].name}; Ctrl-C ends it")
            server.serve_forever()
    elif len(folders) == 2:
        print_result(from_here(write_comparison(searches[0], folders[0], searches[1], folders[1])))
    else:
        print_result(from_here(write_report(searches[0], folders[0])))
        update_in_mlflow(searches[0], folders[0])
        for line in comparison_of(folders[0], searches[0].uid).lines(console):
            console.print(line, soft_wrap=True)


def _newest(logs_dir: Path) -> Path:
    """Return the newest search or version directory, and print its name."""
    newest = find_newest_run(logs_dir, "report")
    if newest is None:
        raise InputError(
            f"report: {logs_dir / 'tune'} must contain a search, but has none; "
            "create one with `python -m themo tune`, or give a version directory"
        )
    return newest


def _refuse_contradictions(options: Namespace) -> None:
    if options.follow and options.other is not None:
        raise InputError(f"--follow: needs exactly one search, got {options.name} and {options.other}")
    if options.port is not None and not options.follow:
        raise InputError(f"--port: needs --follow, got {options.port}")


def _refuse_version(version: Path, options: Namespace) -> None:
    for what, is_asked in (("--follow", options.follow), ("report A B", options.other is not None)):
        if is_asked:
            raise InputError(f"{what}: must be a search, but {version} is a version directory")


def _report_on_test(version: Path, logs_dir: str | None) -> Path:
    """Test a version and write the report of the test, with the baselines of its last test.

    The sizes of the last test are kept if its test data are the same.
    """
    from themo.checkpoints.versions import TEST_FILE, settings_here
    from themo.evaluation.encoders import BASELINE, FLOOR, TRANSLATED
    from themo.evaluation.recording import is_current, replaced_during_test, score_and_record
    from themo.evaluation.report.page import write_report
    from themo.evaluation.report.tables import read_scores

    settings = settings_here(version, {"logs_dir": logs_dir} if logs_dir else None)
    rows: Mapping[str, Any] = {}
    with suppress(InputError):  # not tested yet, or damaged
        rows = read_scores(version / TEST_FILE)
    baseline = not rows.keys().isdisjoint((BASELINE, TRANSLATED))
    is_same_data = rows.get("benchmarks") == settings.benchmarks.model_dump(mode="json")
    sizes = rows.get("sizes") if is_same_data else None
    tested = score_and_record(settings, version, "all", baseline=baseline, floor=FLOOR in rows, sizes=sizes)
    report = write_report(tested, settings, version, sizes)
    if not is_current(version, tested):
        report.unlink(missing_ok=True)
        raise InputError(f"report: {replaced_during_test(version)}")
    return report
