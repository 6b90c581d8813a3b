"""User-given paths: ``~`` is expanded where the shell has not done so."""

from __future__ import annotations

import os
import re
from typing import Annotated

from pydantic import AfterValidator

LOCAL = "local-dir:"
"""Prefix of a folder in open_clip's names."""

_BEFORE_HOME = re.compile(rf"(?:\d+(?:\.\d+)?\*|{LOCAL})?(?=~)")


def expand_home(place: str) -> str:
    """Expand ``~`` or ``~USER`` at the start of a place; other places stay unchanged.

    No shell expands ``~`` in a YAML file, nor after the ``=`` of ``--logs-dir=~/logs``.

    Args:
        place: A path, a name or an address; ``local-dir:`` or a weight (``2*~/talks.tsv``) may come first.

    Raises:
        ValueError: The home is unknown.
    """
    prefix = _BEFORE_HOME.match(place)
    if prefix is None:
        return place
    path = os.path.expanduser(place[prefix.end() :])  # noqa: PTH111 -- Path raises for some texts
    if path.startswith("~"):
        user = path.partition("/")[0]
        which = "set HOME" if user == "~" else f"unknown user {user[1:]!r}"
        raise ValueError(f"must begin with a known home ({which}; ./{user} is a folder of that name)")
    return prefix[0] + path


def _expand_if_given(place: str | None) -> str | None:
    return None if place is None else expand_home(place)


Place = Annotated[str, AfterValidator(expand_home)]
"""A setting that may name a file or folder."""

OptionalPlace = Annotated[str | None, AfterValidator(_expand_if_given)]
"""A setting that may name a file or folder, or nothing."""
