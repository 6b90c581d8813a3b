"""Shared argparse helpers, and one option for every setting."""

from __future__ import annotations

import argparse
import math
import re
import shutil
import types
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from themo.cli.known_runs import complete_with
from themo.config.places import expand_home
from themo.config.presets import DEFAULT_PRESET, presets
from themo.config.settings import described, known_leaves, load, option
from themo.config.yaml_files import read_value
from themo.errors import InputError, did_you_mean

_SETTING = "setting:"
_UNKNOWN_CHOICE = re.compile(r"(?<=invalid choice: )'(.*)'(?= \(choose from (.*)\))")
"""The unknown word in argparse's message, before the list of choices."""
_OF_NUMBERS = ("nested_widths", "nested_weights")
"""Settings that are lists of numbers, or null."""
WIDEST_HELP = 100
"""Greatest width of `--help`, in columns: longer lines are hard to read."""


class HelpLayout(argparse.RawDescriptionHelpFormatter):
    """Layout of `--help`: examples verbatim, options in lines of limited width."""

    def __init__(self, prog: str) -> None:
        columns = min(shutil.get_terminal_size().columns, WIDEST_HELP)
        super().__init__(prog, max_help_position=28, width=columns - 2)


class Parser(argparse.ArgumentParser):
    """A parser that raises `InputError` where argparse would print its usage and exit.

    Attributes:
        commands: Parsers of the commands by name; empty for a command's own parser.
    """

    commands: Mapping[str, Parser] = {}

    @property
    def option_strings(self) -> list[str]:
        """All option strings, such as ``--name``."""
        return list(self._option_string_actions)

    def error(self, message: str) -> NoReturn:
        """Raise the problem of a command line as one line, with the nearest choice for an unknown one."""
        message = _UNKNOWN_CHOICE.sub(
            lambda found: found[0] + did_you_mean(found[1], re.findall(r"[\w-]+", found[2])), message
        )
        raise InputError(f"{message} (see {self.prog} --help)")


def collect_settings(namespace: argparse.Namespace) -> argparse.Namespace:
    """Move the given settings into ``settings``, a mapping by leaf name."""
    given = {name: value for name, value in vars(namespace).items() if name.startswith(_SETTING)}
    namespace.settings = {name.removeprefix(_SETTING): value for name, value in given.items()}
    for name in given:
        delattr(namespace, name)
    return namespace


def add_presets(parser: Parser) -> None:
    """Add ``--preset`` and ``--config``, which exclude each other."""
    about = f"Defaults in brackets are those of the preset {DEFAULT_PRESET}."
    where = parser.add_argument_group("settings", about).add_mutually_exclusive_group()
    preset = where.add_argument(
        "--preset", metavar="NAME", help=f"name of a preset: {', '.join(presets())} ({DEFAULT_PRESET})"
    )
    complete_with(preset, list(presets()))
    where.add_argument(
        "--config", type=path, metavar="FILE", help="YAML file of settings, in place of a preset"
    )


def add_json(parser: Parser) -> None:
    """``--json``."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print the result as JSON on standard output")


def add_settings(parser: Parser, sections: tuple[str, ...] | None = None) -> None:
    """Add one option for each setting of the given sections, or of all sections."""
    groups: dict[str, Any] = {}
    for leaf, (section, field) in known_leaves().items():
        if sections is None or section in sections:
            if section not in groups:
                groups[section] = parser.add_argument_group(f"{section} settings")
            _add_setting(groups[section], leaf, field, described()[leaf])


def _add_setting(group: Any, leaf: str, field: FieldInfo, description: str) -> None:
    # an absent option is no attribute, since None is a value (`--patience null`)
    add = partial(group.add_argument, option(leaf), dest=_SETTING + leaf, default=argparse.SUPPRESS)
    summary = f"{description} ({_default(leaf)})".replace("%", "%%")
    kinds = _kinds(field.annotation)
    if bool in kinds:
        add(action=argparse.BooleanOptionalAction, help=summary)
    elif tuple in kinds:
        several = leaf == "corpus"
        add(
            nargs="+" if several else None,
            type=str if several else partial(_comma_separated, of_numbers=leaf in _OF_NUMBERS),
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
            complete_with(action, choices or ())


def _default(leaf: str) -> str:
    """Return the default preset's value in YAML's spelling."""
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
    """Return the alternatives of a type: ``int | None`` gives int and NoneType, a tuple type tuple."""
    is_union = get_origin(annotation) in (Union, types.UnionType)
    kinds = get_args(annotation) if is_union else (annotation,)
    return tuple(tuple if get_origin(kind) is tuple else kind for kind in kinds)


def _text_or_null(text: str) -> str | None:
    return None if text == "null" else text


def _comma_separated(text: str, *, of_numbers: bool) -> list[Any] | None:
    if of_numbers and text == "null":
        return None
    parts = [part.strip() for part in text.split(",")]
    return [read_value(part) for part in parts] if of_numbers else parts


def path(text: str) -> Path:
    """Parse an option's file or folder; ``~`` is the home, also in ``--output=~/student``."""
    return Path(place(text))


def place(text: str) -> str:
    """Parse an option's path or address."""
    try:
        return expand_home(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, got {text!r}") from None


def natural(text: str) -> int:
    """Parse an option's whole number of at least 0."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)


def positive(text: str, rule: str = "must be a whole number above 0") -> int:
    """Parse an option's whole number above 0; `rule` is that of its error message."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{rule}, got {text!r}")
    return value


AUTO_GPUS = -1.0
"""Value of `gpus` for ``auto``: the search measures the number."""


def gpus(text: str) -> float:
    """Parse an option's number of GPUs or ``auto``."""
    if text == "auto":
        return AUTO_GPUS
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, or auto, got {text!r}")
    return value


def share_or_off(text: str) -> float:
    """Parse an option's share above 0 or ``off``, which is 0."""
    return 0.0 if text == "off" else _between_0_and(math.inf, text, "must be off or a share above 0")


def positive_or_off(text: str) -> int | Literal["off"]:
    """Parse an option's whole number above 0 or ``off``."""
    if text == "off":
        return "off"
    return positive(text, "must be off or a whole number above 0")


def above_0_or_off(text: str) -> float | Literal["off"]:
    """Parse an option's number above 0 or ``off``."""
    if text == "off":
        return "off"
    return _between_0_and(math.inf, text, "must be off or a number above 0")


def chance(text: str) -> float:
    """Parse an option's chance, above 0 and below 1."""
    return _between_0_and(1.0, text, "must be a chance above 0 and below 1")


def _between_0_and(end: float, text: str, rule: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < end:
        raise argparse.ArgumentTypeError(f"{rule}, got {text!r}")
    return value


_TIME = re.compile(r"(?=.)(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s?)?")
"""Nine digits of a second are 31 years."""


def seconds(text: str) -> float:
    """Parse an option's duration such as ``2h30m``, ``45m`` or ``90`` (seconds); return seconds."""
    match = _TIME.fullmatch(text)
    parts = [int(part or 0) for part in match.groups()] if match and text.isascii() else [0]
    total = sum(part * unit for part, unit in zip(parts, (86_400, 3_600, 60, 1), strict=False))
    if total < 1:
        raise argparse.ArgumentTypeError(f"must be a time such as 2h30m, 45m or 90s, got {text!r}")
    return float(total)
