"""YAML files: safe, without repeated keys, ``8e-5`` as a number."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from themo.errors import InputError

Problem = tuple[Sequence[object], str]
"""Keys that lead to a problem's place in a file, and its message, which starts with the file's name."""

_MOST_LEVELS = 50
"""Levels of a file; settings and search spaces need fewer than ten."""
_TOO_DEEP = f"must nest at most {_MOST_LEVELS} levels, also by aliases"
_OPENERS = ("[", "{", "-", "?")
"""What opens a level without a line of its own."""
_MOST_OPENERS = 1_000
"""Number of openers up to which libyaml's loader reads a file; 20,000 levels are safe (measured)."""
_SHOWN = 80
"""Greatest number of characters of a value in a message."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file as a mapping.

    Raises:
        InputError: The file cannot be read, is no YAML, repeats a key or is no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise InputError(f"{path}: cannot be read: {reason}") from None
    try:
        tree = _load(text)
    except RecursionError:
        raise InputError(f"{path}: is not valid YAML: {_TOO_DEEP}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-13-01
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = str(getattr(error, "problem", None) or error).splitlines()[0]
        raise InputError(f"{where}: is not valid YAML: {problem}") from None
    if tree is None:
        raise InputError(f"{path}: must be a mapping of sections, but is empty")
    if not isinstance(tree, dict):
        raise InputError(f"{path}: must be a mapping of sections, got {type(tree).__name__}")
    return tree


def message_of(problems: Sequence[Problem], path: Path | None) -> str:
    """Return the message of one or more problems; several of a file come one per line with line number.

    Args:
        problems: The problems; equal messages of one place count once.
        path: The file; None: the problems are of options or of a program's mapping, and come in one line.
    """
    messages = list(dict.fromkeys(message for _, message in problems))
    if path is None or len(messages) < 2:
        return "; ".join(messages)
    lines = _key_lines(path)
    placed = [_with_line(message, path, lines, tuple(map(str, place))) for place, message in problems]
    return "\n".join(dict.fromkeys(placed))


def _with_line(message: str, path: Path, lines: Mapping[tuple[str, ...], int], keys: tuple[str, ...]) -> str:
    """Return a message with the line of its key, or of the section around it, if the file holds them."""
    known = [lines[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in lines]
    return f"{path}:{known[0]}{message.removeprefix(str(path))}" if known else message


def _key_lines(path: Path) -> dict[tuple[str, ...], int]:
    """Return the line of each key and item of a valid YAML file, by the keys and numbers that lead to it.

    Lines count from 1, items of a list from 0.
    """
    lines: dict[tuple[str, ...], int] = {}

    def collect(node: yaml.Node | None, place: tuple[str, ...]) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                lines[*place, str(key.value)] = key.start_mark.line + 1
                collect(value, (*place, str(key.value)))
        elif isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                lines[*place, str(number)] = item.start_mark.line + 1
                collect(item, (*place, str(number)))

    collect(yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader), ())
    return lines


def read_value(text: str) -> Any:
    """Return an option's value as YAML reads it: ``8e-5`` a float, ``null`` None, ``true`` a bool."""
    try:
        return _shallow(yaml.load(text, Loader=_Loader))  # noqa: S506 -- a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def write_yaml(tree: Mapping[str, Any]) -> str:
    """Return YAML text that `read_yaml` reads back to an equal mapping."""
    return yaml.dump(dict(tree), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _load(text: str) -> Any:
    try:
        # deep nesting kills the process in libyaml's loader, and is a RecursionError in the other
        is_deep = sum(map(text.count, _OPENERS)) > _MOST_OPENERS
        return _shallow(yaml.load(text, Loader=_Loader if is_deep else _QuickLoader))  # noqa: S506
    except yaml.YAMLError:  # libyaml names other lines
        return _shallow(yaml.load(text, Loader=_Loader))  # noqa: S506 -- a SafeLoader


def _shallow(tree: Any) -> Any:
    """Return a tree of YAML, unless it nests too deep or contains itself.

    Raises:
        yaml.YAMLError: It does.
    """
    known: set[tuple[int, int]] = set()

    def visit(value: object, level: int) -> None:
        if not isinstance(value, dict | list | tuple | set) or (id(value), level) in known:
            return
        if level == _MOST_LEVELS:
            raise yaml.YAMLError(_TOO_DEEP)
        known.add((id(value), level))
        for inner in value.values() if isinstance(value, dict) else value:
            visit(inner, level + 1)

    visit(tree, 0)
    return tree


class _Constructor(yaml.constructor.SafeConstructor):
    """Constructor of safe YAML that refuses repeated keys."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Construct a value; PyYAML raises errors of Python for texts that do not fit their tag."""
        try:
            return super().construct_object(node, deep)
        except (AttributeError, LookupError, TypeError):
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise yaml.constructor.ConstructorError(
                None, None, f"{tag} must not be {str(node.value)[:_SHOWN]!r}", node.start_mark
            ) from None

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Replace the key ``<<`` by the keys of its mappings; refuse keys that the file repeats."""
        seen = set()
        for key_node, _ in node.value:
            key = self._key(key_node)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} occurs twice", key_node.start_mark
                )
            seen.add(key)
        super().flatten_mapping(node)
        # the last of equal keys, which is the mapping's own; else merges of merges grow without limit
        node.value = list({self._key(pair[0]): pair for pair in node.value}.values())

    def _key(self, node: yaml.Node) -> Hashable:
        """Return a key; of a key that cannot be one, its node, since `construct_mapping` refuses it."""
        key = self.construct_object(node, deep=True)
        return key if isinstance(key, Hashable) else node


# the key ``<<`` itself is a text, so that it is refused where it occurs twice
_Constructor.add_constructor("tag:yaml.org,2002:merge", _Constructor.construct_yaml_str)  # type: ignore[type-var]


class _Loader(_Constructor, yaml.SafeLoader):
    """Loader that reads ``8e-5`` as a number (YAML 1.1 wants ``8.0e-5``)."""


class _QuickLoader(_Constructor, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same loader by libyaml, in a tenth of the time; some builds of PyYAML lack it."""


class _Dumper(yaml.SafeDumper):
    """Dumper for `_Loader`: quotes texts that look like its numbers."""


for _yaml in (_Loader, _QuickLoader, _Dumper):
    _yaml.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"),
        list("-+.0123456789"),
    )
