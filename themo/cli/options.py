"""What the options of all commands are made of, and one option for every setting."""

from __future__ import annotations

import argparse
import math
import re
import shutil
import types
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from themo.config.places import expand_home
from themo.config.presets import DEFAULT_PRESET, presets
from themo.config.settings import known_leaves, load, option
from themo.config.yaml_files import read_value
from themo.errors import InputError

_SETTING = "setting:"
WIDEST_HELP = 100
"""Columns of `--help`, however wide the terminal is: longer lines are hard to read."""


class HelpLayout(argparse.RawDescriptionHelpFormatter):
    """Examples as they are written, options in readable lines."""

    def __init__(self, prog: str) -> None:
        columns = min(shutil.get_terminal_size().columns, WIDEST_HELP)
        super().__init__(prog, max_help_position=28, width=columns - 2)


class Parser(argparse.ArgumentParser):
    """Raises `InputError` where argparse would print its usage and leave.

    Attributes:
        commands: Parsers of the commands, by name, where there are any.
    """

    commands: Mapping[str, Parser] = {}

    @property
    def option_strings(self) -> list[str]:
        """All that options are written as."""
        return list(self._option_string_actions)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line in one line."""
        raise InputError(f"{message} (see {self.prog} --help)")


def collect_settings(namespace: argparse.Namespace) -> argparse.Namespace:
    """Gather the settings given into ``settings``, values by leaf name."""
    given = {name: value for name, value in vars(namespace).items() if name.startswith(_SETTING)}
    namespace.settings = {name.removeprefix(_SETTING): value for name, value in given.items()}
    for name in given:
        delattr(namespace, name)
    return namespace


def add_presets(parser: Parser) -> None:
    """``--preset`` and ``--config``, one of which may be given."""
    about = f"In brackets: what the preset {DEFAULT_PRESET} says."
    where = parser.add_argument_group("settings", about).add_mutually_exclusive_group()
    preset = where.add_argument(
        "--preset", metavar="NAME", help=f"one of {', '.join(presets())} ({DEFAULT_PRESET})"
    )
    _complete(preset, list(presets()))
    where.add_argument("--config", type=path, metavar="FILE", help="YAML of settings in place of a preset")


def add_json(parser: Parser) -> None:
    """``--json``."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="the result as JSON on standard output")


def add_settings(parser: Parser, sections: tuple[str, ...] | None = None) -> None:
    """One option for each setting of some sections, or of all."""
    groups: dict[str, Any] = {}
    for leaf, (section, field) in known_leaves().items():
        if sections is None or section in sections:
            if section not in groups:
                groups[section] = parser.add_argument_group(f"{section} settings")
            _add_setting(groups[section], leaf, field)


def _add_setting(group: Any, leaf: str, field: FieldInfo) -> None:
    # what is not given is not there: None is a value, `--patience null`
    add = partial(group.add_argument, option(leaf), dest=_SETTING + leaf, default=argparse.SUPPRESS)
    summary = f"{field.description or ''} ({_default(leaf)})".replace("%", "%%")
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
        action = add(type=reader, metavar=metavar, help=summary)
        if choices or metavar != "NAME":
            _complete(action, choices or ())


def _complete(action: argparse.Action, values: Sequence[str]) -> None:
    """What a shell offers for an option, in place of names of files; see `themo.cli.commands.completion`."""
    action.completer = lambda **_: values  # type: ignore[attr-defined]  # argcomplete looks for it


def _default(leaf: str) -> str:
    """The default preset's value, as one would write it."""
    value = _defaults()[leaf]
    if isinstance(value, tuple):
        return (" " if leaf == "corpus" else ",").join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "null" if value is None else str(value)


@cache
def _defaults() -> dict[str, Any]:
    return load().leaves()


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a setting's type: ``int | None`` gives int and NoneType, a tuple type tuple."""
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (get_origin(annotation) if get_origin(annotation) is tuple else annotation,)


def _text_or_null(text: str) -> str | None:
    return None if text == "null" else text


def _comma_separated(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def path(text: str) -> Path:
    """A file or folder, as the type of an option; ``~`` is the home, also in ``--output=~/student``."""
    return Path(place(text))


def place(text: str) -> str:
    """A path or an address, as the type of an option."""
    try:
        return expand_home(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, got {text!r}") from None


def natural(text: str) -> int:
    """A whole number of at least 0, as the type of an option."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """A whole number above 0, as the type of an option."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text!r}")
    return value


AUTO_GPUS = -1.0
"""What `gpus` makes of ``auto``: the number is to be found out."""


def gpus(text: str) -> float:
    """A number of GPUs, or ``auto``, as the type of an option."""
    if text == "auto":
        return AUTO_GPUS
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, or auto, got {text!r}")
    return value


_TIME = re.compile(r"(?=.)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


def seconds(text: str) -> float:
    """A length of time such as ``2h30m``, ``45m`` or ``90`` (seconds), as the type of an option."""
    match = _TIME.fullmatch(text)
    parts = [int(part or 0) for part in match.groups()] if match and text.isascii() else [0]
    total = sum(part * unit for part, unit in zip(parts, (86_400, 3_600, 60, 1), strict=False))
    if total < 1:
        raise argparse.ArgumentTypeError(f"must be a time such as 2h30m, 45m or 90s, got {text!r}")
    return float(total)
