"""The errors that a user can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input or usage: one line that names the file, key or option, the rule and the value.

    The command line prints it as ``Error: ...`` without a traceback and ends with exit code 2.
    """


class MissingInputError(InputError):
    """What a setting names is not there: it may be fetched."""


def did_you_mean(name: str, known: Iterable[str], least: float = 0.6) -> str:
    """What to say after a name that is not known: the nearest one in brackets, or nothing.

    Args:
        name: As given.
        known: What it may have been meant to be.
        least: How alike the two must be, from 0 to 1 (`difflib.get_close_matches`).
    """
    close = difflib.get_close_matches(name, known, n=1, cutoff=least)
    return f" (did you mean {close[0]!r}?)" if close else ""


def reason_of(error: BaseException) -> str:
    """First line of an error's message, or its kind where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
