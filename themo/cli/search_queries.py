"""The queries of ``search``: its options of texts and pictures, and their refusals."""

from __future__ import annotations

import argparse
import textwrap
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from themo.cli.options import path
from themo.config.sections import MAX_TOKENS
from themo.errors import InputError
from themo.image_search.pictures import printable
from themo.image_search.query import Query
from themo.models.normal_form import is_blank
from themo.process.progress import console

if TYPE_CHECKING:
    from themo.model import Model

_LONGEST_SHOWN = 60
"""Characters of a text that a warning shows."""
_TERMS = ("plus", "minus", "like", "unlike")
"""Options whose texts and pictures belong to every query."""


def add_query_options(group: Any) -> None:
    """Add the options of added and subtracted texts and pictures, and of the matches shown."""
    for name, metavar, about in (
        ("like", "PICTURE", "picture that matches resemble"),
        ("unlike", "PICTURE", "picture that matches do not resemble"),
        ("plus", "TEXT", "text added to every TEXT"),
        ("minus", "TEXT", "text subtracted from every TEXT"),
    ):
        group.add_argument(
            f"--{name}",
            action="append",
            default=[],
            type=path if metavar == "PICTURE" else str,
            metavar=metavar,
            help=f"{about} (repeatable)",
        )
    group.add_argument(
        "--min-chance",
        type=chance,
        metavar="P",
        help="minimum chance of a match, 0 to 1; texts only (none: matches below 0.5 are marked unlikely)",
    )
    group.add_argument(
        "--duplicates",
        action="store_true",
        help="near-duplicates as separate matches (folded into the best one)",
    )


def chance(text: str) -> float:
    """Read a chance from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return value


def read_queries(options: Namespace) -> list[Query]:
    """Return the queries of a command line: one a TEXT, or one of the pictures alone.

    Raises:
        InputError: There is neither a text nor a picture, a text is empty or no UTF-8, or ``--min-chance``
            meets a query of more than a text.
    """
    texts = options.queries
    if not texts and not options.like:
        raise InputError(
            "the following arguments are required: TEXT, or --like PICTURE "
            "(see python -m themo search --help)"
        )
    _refuse_texts([*texts, *options.plus, *options.minus])
    named = [f"--{name}" for name in _TERMS if getattr(options, name)]
    if options.min_chance is not None and named:
        raise InputError(
            f"--min-chance cannot be combined with {', '.join(named)}: only texts alone have a chance"
        )
    added = tuple(options.plus)
    rest = {"like": tuple(options.like), "minus": tuple(options.minus), "unlike": tuple(options.unlike)}
    return [Query((text, *added), **rest) for text in texts] or [Query(added, **rest)]


def warn_of_cut_texts(model: Model, queries: Sequence[Query]) -> None:
    """Warn of texts that the student cuts."""
    texts = list(dict.fromkeys(text for query in queries for text in (*query.texts, *query.minus)))
    for text, count in zip(texts, model.count_tokens(texts), strict=True):
        if count > model.max_length:
            of = f"at least {count}" if count >= MAX_TOKENS else str(count)
            console.print(
                f"Text cut to its first {model.max_length} of {of} tokens: "
                f"{textwrap.shorten(printable(text), _LONGEST_SHOWN, placeholder=' …')}",
                soft_wrap=True,
            )


def _refuse_texts(texts: Sequence[str]) -> None:
    for text in texts:
        if is_blank(text):
            raise InputError(f"search: a text must not be empty, got {text!r}")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(f"search: a text must be UTF-8, got {text!r}") from None
