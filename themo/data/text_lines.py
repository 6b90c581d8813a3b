"""Lines of UTF-8 files, such as captions."""

from __future__ import annotations

from pathlib import Path

from themo.errors import InputError
from themo.models.normal_form import canonical, is_blank


def read_lines(path: Path, *, name: str | None = None, skip_blank: bool = False) -> list[str]:
    """Read the stripped lines of a UTF-8 file in canonical form.

    Args:
        path: The file.
        name: Its name in messages; None: the path.
        skip_blank: Leave blank lines out. By default they are only allowed at the end.

    Returns:
        The lines; none only for `skip_blank`.

    Raises:
        InputError: The file cannot be read, is not UTF-8, or has a blank line.
    """
    name = name or str(path)
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name}: must be UTF-8, got {error.object[error.start]:#04x} at byte {error.start}"
        ) from None
    if "\0" in text:  # UTF-16 of plain letters is valid UTF-8
        raise InputError(f"{name}: must be UTF-8, got 0x00 at byte {content.index(0)}")
    # splitlines() would also split at separators inside a caption, such as U+2028
    lines = [canonical(line.strip()) for line in text.rstrip().split("\n")]
    if skip_blank:
        return [line for line in lines if not is_blank(line)]
    for number, line in enumerate(lines, start=1):
        if is_blank(line):
            raise InputError(f"{name}, line {number}: must not be blank")
    return lines
