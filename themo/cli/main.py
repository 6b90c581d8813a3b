"""The command line: parses arguments, runs a command and turns errors into exit codes.

Results go to standard output, all else to standard error. Exit codes: 0 done; 1 a run failed; 2 bad input,
one line; 129 the terminal was closed; 130 interrupted; 143 terminated.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

from safetensors import SafetensorError

from themo import __version__
from themo.cli.commands import NAMES
from themo.cli.options import HelpLayout, Parser, collect_settings
from themo.errors import InputError, did_you_mean
from themo.process.output import typed, with_command
from themo.process.progress import console
from themo.process.signals import Terminated, ended_by_signals
from themo.process.streams import Stream, escape_unencodable_characters, open_closed_descriptors

EXAMPLES = """\
examples:
  python -m themo prepare
  python -m themo tune --num-samples 32
  python -m themo train --batch-size 256 --learn-rate 8e-5
  python -m themo test --version-path logs/miniature/version_0
  python -m themo test --baseline
  python -m themo search "dos círculos rojos" --images FOLDER

`python -m themo COMMAND --help` lists a command's options.
"""

_WITHOUT_PROGRESS = frozenset(NAMES) - {"prepare", "train", "tune", "search", "send"}
"""Commands that save no progress: an interrupted one begins again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit code."""
    open_closed_descriptors()
    escape_unencodable_characters()
    _quiet_libraries()
    try:
        return _run(list(sys.argv[1:] if arguments is None else arguments))
    finally:
        with suppress(OSError):  # the reader of `--help` may have closed the pipe
            Stream("stdout").flush()


def _run(words: list[str]) -> int:
    resume_hint = [typed(*words)]
    try:
        with ended_by_signals():
            options = parse(words)
            _command(options.command).run(options, resume_hint)
    except InputError as error:
        console.print(f"Error: {error}")
        return 2
    except KeyboardInterrupt as end:
        said, code = "Interrupted.", 130
        if isinstance(end, Terminated):
            said = "The terminal was closed." if end.number == signal.SIGHUP else "Terminated."
            code = end.exit_code
        if resume_hint:
            starts_again = resume_hint == [typed(*words)] and words[0] in _WITHOUT_PROGRESS
            label = "To start again" if starts_again else "To resume"
            said = with_command(f"{said} {label}: ", resume_hint[0], console)
        console.print(said, soft_wrap=True)
        _keep_exit_code()
        return code
    except (FloatingPointError, RuntimeError, OSError, SafetensorError) as error:
        console.print(f"Failed: {error}")
        return 1
    return 0


def _keep_exit_code() -> None:
    """Let `python -m` end with the exit code, not with SIGINT.

    A `KeyboardInterrupt` that passes through `exec` of a string, as in `dataclass`, sets a flag of the
    interpreter. `python -m` then kills itself at its end, although the exception was caught. The next `exec`
    of a string clears the flag (`run_eval_code_obj` in CPython's Python/pythonrun.c).
    """
    exec("")  # noqa: S102 -- nothing to run


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; ``settings`` of the result holds the given settings by leaf name.

    Raises:
        InputError: The command line is wrong.
    """
    completes = "_ARGCOMPLETE" in os.environ  # a shell asks for completions
    parser = _parser(words[:1] if words and words[0] in NAMES and not completes else NAMES)
    if completes:
        from themo.cli.commands.completion import answer

        answer(parser)
    known, unknown = parser.parse_known_args(words)
    if unknown:
        _refuse(unknown, known.command, parser)
    return collect_settings(known)


def _refuse(unknown: list[str], name: str, parser: Parser) -> NoReturn:
    command = parser.commands[name]
    hint = ""
    if unknown[0].startswith("-"):
        hint = did_you_mean(unknown[0].partition("=")[0], command.option_strings, least=0.7)
    command.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


def _parser(names: Sequence[str] = NAMES) -> Parser:
    """Build the parser of some commands; one that is not asked for may import what others do without."""
    parser = Parser(
        prog="python -m themo",
        description="A Spanish text encoder for CLIP: distil it, tune it, test it.",
        epilog=EXAMPLES,
        formatter_class=HelpLayout,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"themo {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    parser.commands = commands.choices
    for name in names:
        command = _command(name)
        command.add_options(
            commands.add_parser(
                name,
                usage=getattr(command, "USAGE", None),
                help=command.SUMMARY,
                description=command.SUMMARY,
                epilog=f"examples:\n{command.EXAMPLES}",
                formatter_class=HelpLayout,
                allow_abbrev=False,
            )
        )
    return parser


def _command(name: str) -> Any:
    return import_module(f"themo.cli.commands.{name}")


def _quiet_libraries() -> None:
    """Silence library messages that users cannot act on."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", module=r"(mlflow|ray|open_clip|timm|torch|PIL)\b")
