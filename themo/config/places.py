"""Places that people name: ``~`` is the home, wherever the shell has not replaced it."""

from __future__ import annotations

import os
import re
from typing import Annotated

from pydantic import AfterValidator

LOCAL = "local-dir:"
"""Before a folder, open_clip's way to name one."""

_BEFORE_HOME = re.compile(rf"(?:\d+(?:\.\d+)?\*|{LOCAL})?(?=~)")


def expand_home(place: str) -> str:
    """A place with ``~`` or ``~USER`` at its start replaced by that home; others as they are.

    A shell leaves ``~`` alone in a YAML file, and behind the ``=`` of ``--logs-dir=~/logs``.

    Args:
        place: A path, a name or an address; ``local-dir:`` or a weight (``2*~/talks.tsv``) may come first.

    Raises:
        ValueError: The home is not known.
    """
    prefix = _BEFORE_HOME.match(place)
    if prefix is None:
        return place
    path = os.path.expanduser(place[prefix.end() :])  # noqa: PTH111 -- Path raises where any text may come
    if path.startswith("~"):
        user = path.partition("/")[0]
        which = "set HOME" if user == "~" else f"no user {user[1:]!r} is known"
        raise ValueError(f"must begin with a home that is known ({which}; ./{user} is a folder of that name)")
    return prefix[0] + path


def _expand_if_given(place: str | None) -> str | None:
    return None if place is None else expand_home(place)


Place = Annotated[str, AfterValidator(expand_home)]
"""A setting that may name a file or folder."""

OptionalPlace = Annotated[str | None, AfterValidator(_expand_if_given)]
"""A setting that may name a file or folder, or nothing."""
