"""Errors that a user can fix."""

from __future__ import annotations

from collections.abc import Iterable


class InputError(ValueError):
    """Bad input or usage: one line that names the file, key or option, the rule and the value.

    The command line prints it as ``Error: ...`` without a traceback and ends with exit code 2.
    """


class MissingInputError(InputError):
    """A file that a setting names is missing; it may be fetched."""


def did_you_mean(name: str, known: Iterable[str], least: float = 0.6) -> str:
    """Return " (did you mean 'NAME'?)" for the nearest known name, or an empty string.

    Args:
        name: Unknown name, as given.
        known: Names to choose from.
        least: Least similarity of the two, from 0 to 1 (`difflib.get_close_matches`).
    """
    import difflib  # imported only for an unknown name: a hundredth of a command's time

    close = difflib.get_close_matches(name, known, n=1, cutoff=least)
    return f" (did you mean {close[0]!r}?)" if close else ""


def reason_of(error: BaseException) -> str:
    """Return the first line of an error's message, or its class name without a message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def fault_of(error: Exception) -> str:
    """Return the fault of a file's content, as a clause, from the error that reading the content raised."""
    match error:
        case KeyError():
            return f"the key {error.args[0]!r} is missing"
        case ValueError():
            return reason_of(error)
        case _:
            return "a value has another type"
