"""The command line's options: those of each command, and one for every setting."""

from __future__ import annotations

import argparse
import types
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from themo import __version__
from themo.config import known_leaves, option, presets
from themo.errors import InputError
from themo.yaml_files import read_value

EXAMPLES = """\
examples:
  python -m themo prepare
  python -m themo tune --num-samples 32
  python -m themo train --batch-size 256 --learn-rate 8e-5
  python -m themo test --version-path logs/miniature/version_0
  python -m themo test --baseline

`python -m themo COMMAND --help` lists a command's options.
"""

_SETTING = "setting:"


class Parser(argparse.ArgumentParser):
    """Raises `InputError` where argparse would print its usage and leave."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line in one line."""
        raise InputError(f"{message} (see {self.prog} --help)")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, with ``settings``: the values of settings given, by leaf name.

    Raises:
        InputError: It is not one.
    """
    namespace = _parser().parse_args(arguments)
    given = {name: value for name, value in vars(namespace).items() if name.startswith(_SETTING)}
    namespace.settings = {name.removeprefix(_SETTING): value for name, value in given.items()}
    for name in given:
        delattr(namespace, name)
    return namespace


def _parser() -> Parser:
    parser = Parser(
        prog="python -m themo",
        description="A Spanish text encoder for CLIP: distil it, search for its best settings, test it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"themo {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)

    prepare = _command(commands, "prepare", "Make or check all that training and tests need, and keep it.")
    prepare.add_argument(
        "--tests", action="store_true", help="fetch the test data as well, where settings say"
    )
    prepare.add_argument(
        "--dry-run", action="store_true", help="say what is there and what is missing; fetch nothing"
    )
    prepare.add_argument("--offline", action="store_true", help="touch no network")
    _add_settings(prepare, ("data", "teacher", "student", "benchmarks", "paths"))
    _add_json(prepare)

    train = _command(commands, "train", "Train one student.")
    train.add_argument(
        "--resume", type=Path, metavar="VERSION", help="go on with an unfinished version directory"
    )
    _add_settings(train)

    test = _command(commands, "test", "Test a student on images, beside its teacher.")
    test.add_argument("--version-path", type=Path, metavar="VERSION", help="version directory of the student")
    test.add_argument("--baseline", action="store_true", help="add the baselines; alone: test only them")
    test.add_argument(
        "--task", choices=("all", "retrieval", "accuracy"), default="all", help="which test sets (all)"
    )
    _add_settings(test, ("benchmarks", "paths"))
    _add_json(test)

    tune = _command(commands, "tune", "Search for the best settings, over all cores or a Ray cluster.")
    tune.add_argument("--num-samples", type=_positive, metavar="N", help="trials (as the space's file says)")
    tune.add_argument("--name", help="name of the search (the date and time)")
    tune.add_argument("--resume", metavar="NAME", help="go on with a search that was interrupted")
    tune.add_argument(
        "--space", type=Path, metavar="FILE", help="YAML of the search space (configs/search.yaml)"
    )
    tune.add_argument(
        "--search-seed", type=_natural, metavar="N", help="seed of the proposals (as in the file)"
    )
    tune.add_argument(
        "--gpus-per-trial", type=float, metavar="X", help="GPUs a trial, also fractions (1 with a GPU)"
    )
    tune.add_argument("--cpus-per-trial", type=float, metavar="X", help="CPUs a trial (1)")
    tune.add_argument("--max-concurrent", type=int, metavar="N", help="trials at once (as many as fit)")
    tune.add_argument("--address", help="a running Ray cluster (none: one is started on this machine)")
    _add_settings(tune)
    _add_json(tune)
    return parser


def _command(commands: Any, name: str, summary: str) -> Parser:
    parser: Parser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    where = parser.add_argument_group("settings").add_mutually_exclusive_group()
    names = ", ".join(presets())
    where.add_argument("--preset", help=f"one of {names} (miniature)")
    where.add_argument("--config", type=Path, metavar="FILE", help="YAML of settings in place of a preset")
    return parser


def _add_settings(parser: Parser, sections: tuple[str, ...] | None = None) -> None:
    groups: dict[str, Any] = {}
    for leaf, (section, field) in known_leaves().items():
        if sections is None or section in sections:
            group = groups.setdefault(section, parser.add_argument_group(f"{section} settings"))
            _add_setting(group, leaf, field)


def _add_setting(group: Any, leaf: str, field: FieldInfo) -> None:
    # what is not given is not there: None is a value, `--patience null`
    add = partial(group.add_argument, option(leaf), dest=_SETTING + leaf, default=argparse.SUPPRESS)
    summary = (field.description or "").replace("%", "%%")
    kinds = _kinds(field.annotation)
    if bool in kinds:
        add(action=argparse.BooleanOptionalAction, help=summary)
    elif tuple in kinds:
        several = leaf == "corpus"
        add(
            nargs="+" if several else None,
            type=str if several else _comma_separated,
            metavar="FILE" if several else "A,B",
            help=summary,
        )
    else:
        choices = next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), None)
        metavar = (
            "{" + ",".join(choices) + "}"
            if choices
            else "X"
            if float in kinds
            else "N"
            if int in kinds
            else "NAME"
        )
        reader = read_value if str not in kinds else _text_or_null if types.NoneType in kinds else str
        add(type=reader, metavar=metavar, help=summary)


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a setting's type: ``int | None`` gives int and NoneType, a tuple type tuple."""
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (get_origin(annotation) if get_origin(annotation) is tuple else annotation,)


def _text_or_null(text: str) -> str | None:
    return None if text == "null" else text


def _comma_separated(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text!r}")
    return value


def _add_json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
