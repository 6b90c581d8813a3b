"""``send``: what MLflow was away for."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from themo.cli.options import Parser, path, positive
from themo.errors import InputError
from themo.process.output import print_result
from themo.process.progress import console

SUMMARY = "Send to MLflow what it was away for when it was logged."
EXAMPLES = """\
  python -m themo send
  python -m themo send logs/outbox/NAME.jsonl
"""


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "files", nargs="*", type=path, metavar="FILE", help="left by a command (all of logs/outbox)"
    )
    group = parser.add_argument_group("send")
    group.add_argument("--logs-dir", type=path, default=Path("logs"), help="where outbox/ lies (logs)")
    group.add_argument(
        "--seconds", type=positive, default=300, metavar="N", help="to wait for the server, a file (300)"
    )


def run(options: Namespace, _resume_hint: list[str]) -> None:
    """Run the command: what cannot be sent, as that of a running search, does not hold up the others."""
    from themo.tracking.runs import send

    files = options.files or sorted((options.logs_dir / "outbox").glob("*.jsonl"))
    if not files:
        print_result(f"Nothing waits in {options.logs_dir / 'outbox'}")
    n_left = 0
    for file in files:
        try:
            print_result(f"{file}: {send(file, options.seconds)}")
        except InputError as error:
            if len(files) == 1:
                raise
            console.print(f"Not sent: {error}", soft_wrap=True)
            n_left += 1
    if n_left:
        raise InputError(f"send: {n_left} of {len(files)} files could not be sent")
