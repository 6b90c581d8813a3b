"""``why``: show why a trial was stopped, failed, or was trained to its end."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from themo.cli.addressing import find_run
from themo.cli.known_runs import complete_with, searches
from themo.cli.options import Parser, add_json, natural, path
from themo.config.settings import load
from themo.files.run_folders import is_search
from themo.process.output import print_json, print_result

SUMMARY = "Show why a trial was stopped, failed, or was trained to its end."
EXAMPLES = """\
  python -m themo why beto 17
  python -m themo why beto 17 --json
"""


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    name = parser.add_argument("name", metavar="NAME", help="name or folder of a search")
    complete_with(name, searches)
    parser.add_argument("trial", metavar="TRIAL", type=natural, help="number of an ended or paused trial")
    group = parser.add_argument_group("why")
    group.add_argument("--logs-dir", type=path, default=Path("logs"), help="folder of the logs (logs)")
    add_json(parser)


def run(options: Namespace, _resume_hint: list[str]) -> None:
    """Run the command."""
    from tune.results.why import explain_trial
    from tune.study.naming import search_folder

    folder = find_run(Path(options.name), options.logs_dir)
    if is_search(folder):
        folder = folder.resolve()
    else:
        settings = load(overrides={"logs_dir": str(options.logs_dir)})
        folder = search_folder(options.name, settings, asked_by="why NAME")
    why = explain_trial(folder, options.trial)
    if options.json:
        print_json(why.to_json())
        return
    for line in why.lines():
        print_result(line)
    if why.decisions:
        print_result(why.to_table())
