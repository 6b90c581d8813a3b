"""Files that a picture search skips: system thumbnails, excluded names, unsupported formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase

from themo.errors import InputError
from themo.models.raw_names import RAW_COMMAND, RAW_SUFFIXES

SYSTEM_FOLDERS = frozenset(
    (
        *("@eadir", "@tmp", "#recycle", "#snapshot", "@sharebin"),  # Synology
        *(".@__thumb", "@recycle", "@recently-snapshot", "@snapshot"),  # QNAP
        *("$recycle.bin", "system volume information", "recycler", "found.000"),  # Windows
        *(
            "lost+found",
            ".thumbnails",
            ".trash",
            ".trash-1000",
            ".snapshot",
            ".snapshots",
        ),  # Unix
        *(".trashes", ".spotlight-v100", ".fseventsd", ".documentrevisions-v100", "__macosx"),  # macOS
        *("node_modules", "__pycache__", "site-packages"),  # parts of programs
    )
)
"""Folders of thumbnails, deleted files, snapshots and programs, in lower case."""

HEIF_SUFFIXES = frozenset((".heic", ".heif", ".hif"))
AVIF_SUFFIXES = frozenset((".avif",))
FOREIGN_SUFFIXES = frozenset(
    (".jxl", ".jp2", ".j2k", ".psd", ".xcf", ".svg", ".eps", ".tga", ".ppm", ".pgm", ".exr")
)
"""Suffixes of unsupported picture formats."""


class LeftOut:
    """Filter that skips files of a search by name, and counts them.

    Args:
        exclude: Patterns of the user with ``*``, ``?`` and ``[...]``: of the name of a file or folder or,
            with a ``/``, of the path below the searched folder. Case counts.

    Raises:
        InputError: A pattern is empty.
    """

    def __init__(self, exclude: Sequence[str] = ()) -> None:
        for pattern in exclude:
            if not _plain(pattern):
                raise InputError(f"--exclude: must be a pattern such as 'trips/*', got {pattern!r}")
        self._by_pattern = dict.fromkeys(exclude, 0)
        self._system: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._unread = FOREIGN_SUFFIXES | _unread_suffixes()

    def holds_folder(self, below: str) -> bool:
        """Whether a folder is skipped, by its path below the searched one; hidden ones are not counted."""
        name = below.rpartition("/")[2]
        if name.lower() in SYSTEM_FOLDERS:
            self._system[name] += 1
            return True
        return name.startswith(".") or self._is_excluded(below)

    def holds_file(self, below: str, suffix: str) -> bool:
        """Whether a picture is skipped, by its path below the searched folder."""
        if self._is_excluded(below):
            return True
        if suffix in self._unread:
            self._kinds[suffix] += 1
            return True
        return False

    def lines(self) -> list[str]:
        """Return lines about the files left out, for the console."""
        lines = []
        if self._system:
            total = self._system.total()
            lines.append(
                f"{_count(total, 'folder')} of thumbnails or deleted files left out: {_named(self._system)}"
            )
        for pattern, count in self._by_pattern.items():
            what = f"{_count(count, 'file or folder', 'files and folders')} left out" if count else "no match"
            lines.append(f"--exclude {pattern}: {what}")
        kinds = self._kinds.copy()
        for suffixes, command in _readers():
            chosen = Counter({suffix: kinds.pop(suffix) for suffix in sorted(kinds) if suffix in suffixes})
            if chosen:
                lines.append(
                    f"{_count(chosen.total(), 'picture')} left out: {_named(chosen)}; to read them: {command}"
                )
        if kinds:
            lines.append(f"{_count(kinds.total(), 'file')} of unsupported formats left out: {_named(kinds)}")
        return lines

    def _is_excluded(self, below: str) -> bool:
        name = below.rpartition("/")[2]
        for pattern in self._by_pattern:
            plain = _plain(pattern)
            if fnmatchcase(below if "/" in plain or pattern.startswith(("/", "./")) else name, plain):
                self._by_pattern[pattern] += 1
                return True
        return False


def _readers() -> tuple[tuple[frozenset[str], str], ...]:
    """Return the suffixes that need an optional reader, each with the command that installs it."""
    from themo.models.image_files import AVIF_COMMAND, HEIF_COMMAND  # keep Pillow out of the command line

    return (HEIF_SUFFIXES, HEIF_COMMAND), (AVIF_SUFFIXES, AVIF_COMMAND), (RAW_SUFFIXES, RAW_COMMAND)


def _unread_suffixes() -> frozenset[str]:
    """Return the suffixes of HEIC, AVIF and RAW that the installed packages cannot read."""
    from themo.models import image_files  # keep Pillow out of the command line's start

    none: frozenset[str] = frozenset()
    return (
        (none if image_files.reads_heif() else HEIF_SUFFIXES)
        | (none if image_files.reads_avif() else AVIF_SUFFIXES)
        | (none if image_files.reads_raw() else RAW_SUFFIXES)
    )


def _plain(pattern: str) -> str:
    return pattern.removeprefix("./").strip("/")


def _named(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count:,})" if count > 1 else name for name, count in sorted(counts.items()))


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
