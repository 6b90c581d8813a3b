"""``send``: send the missing parts of searches and versions to MLflow."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from themo.checkpoints.search_parts import search_of
from themo.cli.options import Parser, path, positive
from themo.errors import InputError
from themo.files.run_folders import VERSION_FILE, is_search, is_version
from themo.process.output import print_result
from themo.process.progress import console

SUMMARY = "Send missing records of searches and versions to MLflow."
EXAMPLES = """\
  python -m themo send
  python -m themo send logs/tune/NAME logs/miniature/version_0
"""


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "folders",
        nargs="*",
        type=path,
        metavar="FOLDER",
        help="search or version directory (all unsent ones in the logs)",
    )
    group = parser.add_argument_group("send")
    group.add_argument("--logs-dir", type=path, default=Path("logs"), help="directory of the logs (logs)")
    group.add_argument(
        "--seconds",
        type=positive,
        default=300,
        metavar="N",
        help="longest wait for the server, in seconds per folder (300)",
    )


def run(options: Namespace, _resume_hint: list[str]) -> None:
    """Run the command: a folder that cannot be sent, such as a running search, does not block others."""
    for folder in options.folders:
        _refuse(folder)
    from themo.tracking.unsent import marked

    folders = options.folders or marked(options.logs_dir)
    if not folders:
        print_result(f"Nothing to send in {options.logs_dir}")
    n_left = 0
    for folder in folders:
        try:
            if is_search(folder):
                from tune.results.parent_run import send_search

                sent = send_search(folder, options.seconds)
            else:
                from themo.evaluation.version_run import send_version

                sent = send_version(folder, options.seconds)
            print_result(f"{folder}: {sent}; MLflow at {sent.place}")
        except InputError as error:
            if len(folders) == 1:
                raise
            console.print(f"Not sent: {error}", soft_wrap=True)
            n_left += 1
    if n_left:
        raise InputError(f"send: {n_left} of {len(folders)} folders could not be sent")


def _refuse(folder: Path) -> None:
    """Refuse a path that holds no search and no version.

    Raises:
        InputError: The path names no search and no version directory.
    """
    if folder.suffix == ".jsonl":
        raise InputError(
            f"{folder}: queues of older versions are no longer read: give the search or version directory, "
            "which has all records"
        )
    if (search := search_of(folder)) is not None:
        raise InputError(f"{folder}: is part of a search: give {search}")
    if not folder.is_dir():
        raise InputError(f"{folder}: must be a search or version directory, but does not exist")
    if not is_search(folder) and not is_version(folder):
        raise InputError(f"{folder}: must be a search or version directory, but has no {VERSION_FILE}")
