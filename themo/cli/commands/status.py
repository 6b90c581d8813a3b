"""``status``: show a search or version, also while another process runs it."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

from themo.cli.addressing import (
    add_run,
    find_newest_run,
    find_search_or_version,
    given_run,
)
from themo.cli.options import Parser, add_json, path
from themo.config.settings import load
from themo.files.run_folders import is_version
from themo.process.garbage import uncollected
from themo.process.output import print_json, print_result

SUMMARY = "Show a search or a version, or all searches and the newest of both."
EXAMPLES = """\
  python -m themo status
  python -m themo status beto
  python -m themo status logs/miniature/version_0
  watch -n 30 python -m themo status beto
"""


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    group = parser.add_argument_group("status")
    about = "name or folder of a search, or a version directory (all searches, and the newest of both)"
    add_run(parser, group, about)
    group.add_argument("--logs-dir", type=path, default=Path("logs"), help="folder of the logs (logs)")
    add_json(parser)


def run(options: Namespace, _resume_hint: list[str]) -> None:
    """Run the command."""
    with uncollected():
        from themo.cli.version_status import read_version_status
        from tune.results.front import front_in_words
        from tune.results.status import overview, read_all, read_status
        from tune.study.naming import is_starting, search_folder, starting
        from tune.study.tracking_place import comparison_of

    def show(folder: Path) -> None:
        if is_version(folder):
            for line in read_version_status(folder).lines():
                print_result(line)
            return
        status = read_status(folder)
        comparison = comparison_of(folder, status.search.uid)
        for line in status.lines():
            print_result(line)
        if len(status.study):
            print_result(status.to_table())
        for part in front_in_words(status.search, status.study, folder):
            print_result(part)
        for line in comparison.lines():
            print_result(line)

    def as_json(folder: Path) -> dict[str, Any]:
        return read_version_status(folder).to_json() if is_version(folder) else read_status(folder).to_json()

    given = given_run(options)
    if given is None:
        every, soon = read_all(options.logs_dir), starting(options.logs_dir / "tune")
        newest = find_newest_run(options.logs_dir, "status")
        if options.json:
            found = {"searches": [status.to_json() for status in every], "starting": soon}
            print_json(found | ({"newest": as_json(newest)} if newest else {}))
            return
        if every or soon:
            print_result(overview(every, soon))
        else:
            print_result(f"There is no search in {(options.logs_dir / 'tune').resolve()}")
        if newest:
            show(newest)
        return
    settings = load(overrides={"logs_dir": str(options.logs_dir)})
    folder_of = partial(search_folder, settings=settings, asked_by="status NAME")
    folder = find_search_or_version(given, options.logs_dir, folder_of)
    if not is_version(folder) and is_starting(folder):
        if options.json:
            print_json({"search": str(given), "activity": "starting"})
        else:
            print_result(f"Search {given} (starting): checking options; no trial has started")
    elif options.json:
        print_json(as_json(folder))
    else:
        show(folder)
