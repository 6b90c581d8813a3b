"""The pages that people read, as tests look at them: README, CONTRIBUTING, EXPERIMENTS and docs/."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

PROJECT = Path(__file__).parents[1]
DOCS = PROJECT / "docs"

PAGES = [
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "EXPERIMENTS.md")),
    *sorted(DOCS.rglob("*.md")),
]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def name_of(page: Path) -> str:
    """Path of a page below the repository; the id of a parametrized test."""
    return page.relative_to(PROJECT).as_posix()


def text_of(page: Path) -> str:
    """Content of a page, with the pages that it includes."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r'^--8<-- "(.*)"$', lambda m: text_of(PROJECT / m[1]), text, flags=re.MULTILINE)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and content of each block of code."""
    return _FENCE.findall(text_of(page))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", text_of(page))


def inline_code(page: Path) -> list[str]:
    """Each text in backticks, once, in order; line breaks within one are spaces."""
    found = (" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page)))
    return list(dict.fromkeys(found))


def console_commands(page: Path) -> list[str]:
    """The lines of the console blocks, without comments and alignment."""
    lines = [line for language, text in blocks(page) if language == "console" for line in text.splitlines()]
    bare = (" ".join(re.sub(r"(^|\s)#.*", "", line).split()) for line in lines)
    return [line for line in bare if line]


def links(page: Path) -> list[str]:
    """Targets of links and images, those of the web left out."""
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(page)))
    return [target for target in targets if not re.match(r"https?://|mailto:", target)]


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as GitHub and the site make them."""
    return {_slug(heading) for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)}


def _slug(heading: str) -> str:
    plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip())
