"""Objects of large libraries, which stay until the end of a process, without garbage collection."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


@contextmanager
def uncollected() -> Iterator[None]:
    """Import libraries without garbage collection, and `freeze` their objects.

    torch and MLflow create 440,000 objects. To look through them took a tenth of the processor time of
    ``test`` (measured). Does nothing where collection is disabled.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        freeze()
        gc.enable()


def freeze() -> None:
    """Exclude all objects from later collections, those at the interpreter's end included."""
    gc.freeze()
    _register_end()


@cache
def _register_end() -> None:
    atexit.register(_unfreeze_bindings)


def _unfreeze_bindings() -> None:
    if "triton" in sys.modules:  # nanobind, which binds it, prints a report of objects that are not collected
        gc.unfreeze()
