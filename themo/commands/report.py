"""``report``: what a search found, how, and at what cost, as one HTML page."""

from __future__ import annotations

from argparse import Namespace

from themo.config import load
from themo.options import Parser
from themo.output import print_result
from themo.progress import waiting

SUMMARY = "Write the report of a search, finished or not, as one HTML page."
EXAMPLES = """\
  python -m themo report beto
"""


def add_options(parser: Parser) -> None:
    """The command's options."""
    parser.add_argument("name", metavar="NAME", help="of the search, a folder of logs/tune")
    group = parser.add_argument_group("report")
    group.add_argument("--logs-dir", metavar="FOLDER", help="where the search left its files (logs)")


def run(options: Namespace, _resume_hint: list[str]) -> None:
    """Run the command."""
    with waiting("Loading libraries"):
        from tune.naming import search_folder
        from tune.report.page import write_report
        from tune.search import read_search

    settings = load().override({"logs_dir": options.logs_dir} if options.logs_dir else {})
    folder = search_folder(options.name, settings, asked_by="report NAME")
    print_result(str(write_report(read_search(folder, asked_by="report NAME"), folder)))
