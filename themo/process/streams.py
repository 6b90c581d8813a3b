"""Standard output and error that may be closed, a pipe without a reader, or short of characters."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Literal, TextIO

_NO_READER = (errno.EPIPE, errno.EIO, errno.EBADF)
"""Of a pipe whose reader has ended, and of a terminal that was closed."""


def open_closed_descriptors() -> None:
    """Connect standard streams that are closed to the null device, before another file takes their numbers.

    What a library or a child process prints would go into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            os.set_inheritable(number, True)
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def let_all_characters_pass() -> None:
    """Print what the encoding of a stream lacks as an escape, ``xf1`` after a backslash, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class Stream(io.TextIOBase):
    """The present ``sys.stdout`` or ``sys.stderr``, which may lose its reader.

    Nothing more is printed then, and nothing fails: Python's own flush at the end does not either.

    Args:
        name: Which of them.
    """

    def __init__(self, name: Literal["stdout", "stderr"]) -> None:
        self._name = name

    @property
    def _stream(self) -> TextIO | None:
        stream: TextIO | None = getattr(sys, self._name)
        # a progress bar of rich puts a proxy there that writes to the console, and so to this object again
        return getattr(stream, "rich_proxied_file", stream)

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute of its base
        """Of the present stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether a person may look at it."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Its number."""
        if self._stream is None:
            raise io.UnsupportedOperation("closed")
        return self._stream.fileno()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Write, and bring it to the reader at once.

        Raises:
            OSError: Standard output cannot be written, of a full disk say.
        """
        if self._stream is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except OSError as error:
                self._lose(error)
        return len(text)

    def write_bytes(self, content: bytes) -> None:
        """Write bytes, whatever the stream's encoding; raises as `write` does."""
        binary = getattr(self._stream, "buffer", None)
        if binary is None:
            self.write(content.decode())
            return
        self.flush()
        try:
            binary.write(content)
            binary.flush()
        except OSError as error:
            self._lose(error)

    def flush(self) -> None:
        """Bring what others wrote to the reader."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except OSError as error:
                self._lose(error)

    def _lose(self, error: OSError) -> None:
        is_lost = error.errno in _NO_READER
        if is_lost or self._name == "stdout":
            with suppress(OSError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self.fileno())  # for what waits in the buffer
                os.close(null)
        if not is_lost and self._name == "stdout":
            raise OSError(f"standard output cannot be written: {error.strerror}") from None
