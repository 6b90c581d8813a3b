"""``status``: show a search or version, also while another process runs it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from themo.cli.addressing import find_run, is_search, is_version
from themo.cli.options import Parser, add_json, path
from themo.config.settings import load
from themo.process.output import print_json, print_result

SUMMARY = "Show the state of all searches, or of one search or version."
EXAMPLES = """\
  python -m themo status
  python -m themo status beto
  python -m themo status logs/miniature/version_0
  watch -n 30 python -m themo status beto
"""


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="name or folder of a search, or a version directory (all searches)",
    )
    group = parser.add_argument_group("status")
    group.add_argument("--logs-dir", type=path, default=Path("logs"), help="folder of the logs (logs)")
    add_json(parser)


def run(options: Namespace, _resume_hint: list[str]) -> None:
    """Run the command."""
    from tune.results.status import overview, read_all, read_status
    from tune.study.naming import is_starting, search_folder, starting
    from tune.study.tracking_place import comparison_of

    if options.name is None:
        every, soon = read_all(options.logs_dir), starting(options.logs_dir / "tune")
        if options.json:
            print_json({"searches": [status.to_json() for status in every], "starting": soon})
        elif every or soon:
            print_result(overview(every, soon))
        else:
            print_result(f"There is no search in {(options.logs_dir / 'tune').resolve()}")
        return
    folder = find_run(Path(options.name), options.logs_dir)
    if is_version(folder):
        _print_version(folder, options.json)
        return
    if is_search(folder):
        folder = folder.resolve()
    else:
        settings = load(overrides={"logs_dir": str(options.logs_dir)})
        folder = search_folder(options.name, settings, asked_by="status NAME")
        if is_starting(folder):
            if options.json:
                print_json({"search": options.name, "activity": "starting"})
            else:
                print_result(f"Search {options.name} (starting): checking options; no trial has begun")
            return
    status = read_status(folder)
    if options.json:
        print_json(status.to_json())
        return
    comparison = comparison_of(folder, status.search.uid)
    for line in status.lines():
        print_result(line)
    if len(status.study):
        print_result(status.to_table())
    print_result(f"Compare runs:  {comparison.command}")
    if comparison.address is not None:
        print_result(f"Its trials:    {comparison.address}")


def _print_version(version: Path, as_json: bool) -> None:
    from themo.cli.version_status import read_version_status

    status = read_version_status(version)
    if as_json:
        print_json(status.to_json())
        return
    for line in status.lines():
        print_result(line)
