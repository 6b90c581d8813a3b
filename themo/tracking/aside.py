"""Records at which a server that is well fails each time, kept in a file beside the outbox: the others pass.

Later records of their runs follow them there, so that the file, sent in its order, ends each run as
it ended: a report that came through before an older one would keep that out, a beginning after the end would
open the run again, and a run without a beginning is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from themo.errors import InputError
from themo.tracking.outbox import Outbox, refuse_elsewhere

SUFFIX = ".aside.jsonl"

_BEGINNINGS = ("begin", "settle")


class Aside:
    """The file beside an outbox. One that is there already, of a process that has ended, is continued.

    Args:
        outbox: Whose records it takes.

    Attributes:
        path: The file, which is made when there is something for it, and gone when it was sent.

    Raises:
        InputError: The file cannot be read, or holds records for another address.
    """

    def __init__(self, outbox: Outbox) -> None:
        self.path = outbox.path.with_name(outbox.path.name.removesuffix(".jsonl") + SUFFIX)
        self._address = outbox.address
        self._runs: set[str] = set()
        self._not_begun: set[str] = set()
        self._read()

    def was_sent(self) -> bool:
        """Whether somebody has sent what waited here, since this was asked for last."""
        if not self._runs or self.path.exists():
            return False
        self._runs.clear()
        self._not_begun.clear()
        return True

    def is_for(self, record: Mapping[str, Any]) -> bool:
        """Whether a record must wait behind one of its run, or behind the beginning of its parent."""
        return record.get("run") in self._runs or record.get("parent") in self._not_begun

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record.

        Raises:
            InputError: The file cannot be written, or another process sends it just now.
            OSError: The disk is full.
        """
        box = Outbox(self.path, self._address)
        try:
            box.append(dict(record))
        finally:
            box.close()
        self._note(record)

    def _read(self) -> None:
        try:
            address, *lines = self.path.read_bytes().splitlines()
        except (FileNotFoundError, ValueError):  # nothing waits; a kill left it empty
            return
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from None
        with suppress(ValueError, KeyError, TypeError):  # of a line that a kill tore, or that is no record
            known = dict(json.loads(address))
            for line in lines:
                self._note(json.loads(line))
        if self._runs:
            refuse_elsewhere(self.path, known, self._address)

    def _note(self, record: Mapping[str, Any]) -> None:
        self._runs.add(record["run"])
        if record["do"] in _BEGINNINGS:
            self._not_begun.add(record["run"])
