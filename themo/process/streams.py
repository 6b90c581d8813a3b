"""Robust standard output and error: closed streams, pipes without a reader, limited encodings."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Literal, TextIO

_NO_READER = (errno.EPIPE, errno.EIO, errno.EBADF)
"""Error numbers of a pipe without a reader and of a closed terminal."""


def open_closed_descriptors() -> None:
    """Connect closed standard streams to the null device, before another file takes their descriptors.

    Otherwise the output of libraries and child processes would go into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor: this one
            os.set_inheritable(number, True)
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def escape_unencodable_characters() -> None:
    """Print characters outside a stream's encoding as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class Stream(io.TextIOBase):
    """The current ``sys.stdout`` or ``sys.stderr``, which may lose its reader.

    After the loss it prints nothing and raises nothing; nor does Python's final flush.

    Args:
        name: Name of the stream.
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
        """Encoding of the current stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Return the stream's descriptor."""
        if self._stream is None:
            raise io.UnsupportedOperation("closed")
        return self._stream.fileno()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Write and flush.

        Raises:
            OSError: Standard output cannot be written, as on a full disk.
        """
        if self._stream is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except OSError as error:
                self._lose(error)
        return len(text)

    def write_bytes(self, content: bytes) -> None:
        """Write bytes in any encoding of the stream; raises as `write` does."""
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
        """Flush the stream."""
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
                os.dup2(null, self.fileno())  # swallows the rest of the buffer
                os.close(null)
        if not is_lost and self._name == "stdout":
            raise OSError(f"standard output cannot be written: {error.strerror}") from None
