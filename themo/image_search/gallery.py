"""The results of a picture search as one self-contained HTML page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from themo.errors import InputError
from themo.image_search.matches import Match
from themo.image_search.pictures import printable
from themo.image_search.small_copies import small_copy
from themo.process.progress import track

_STYLE = """
:root { color-scheme: light dark; --paper: #faf9f6; --ink: #22262b; --soft: #6a7078; --card: #ffffff;
  --well: #f1efe9; --line: #e4e1d9; --mark: #c8402f; }
@media (prefers-color-scheme: dark) { :root { --paper: #17191c; --ink: #e8e6e1; --soft: #989da5;
  --card: #202327; --well: #2a2e33; --line: #33373d; --mark: #ff8a73; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 2.5rem 1.5rem 4rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
header p, footer { color: var(--soft); margin: 0; }
h1 { font-size: 1.05rem; font-weight: 600; letter-spacing: .04em; margin: 0; }
h2 { font: 600 1.9rem/1.25 Georgia, "Times New Roman", serif; margin: 2.5rem 0 1.2rem;
  overflow-wrap: anywhere; }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr)); gap: 1.1rem;
  list-style: none; margin: 0; padding: 0; }
figure { margin: 0; height: 100%; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; overflow: hidden; display: flex; flex-direction: column; }
.frame { aspect-ratio: 1; min-height: 0; display: grid; grid-template: minmax(0, 1fr) / minmax(0, 1fr);
  align-items: center; padding: .6rem; background: var(--well); text-align: center; }
img { width: 100%; height: 100%; object-fit: contain; }
figcaption { border-top: 1px solid var(--line); padding: .5rem .7rem .6rem; font-size: .82rem; }
.rank { color: var(--mark); font-weight: 600; }
.score { color: var(--soft); float: right; font-variant-numeric: tabular-nums; }
.name { display: block; overflow-wrap: anywhere; }
.copies { color: var(--soft); display: block; }
.none { color: var(--mark); margin: -.8rem 0 1.2rem; }
.unlikely { opacity: .45; }
.unlikely:hover, .unlikely:focus-within { opacity: 1; }
@media (max-width: 32rem) { body { padding: 1.5rem 1rem 3rem; }
  ol { grid-template-columns: repeat(2, minmax(0, 1fr)); } h2 { font-size: 1.4rem; } }
footer { border-top: 1px solid var(--line); margin-top: 3rem; padding-top: .8rem; font-size: .82rem; }
"""


_NOTHING = '\n<p class="none">Nada parecido; lo más cercano:</p>'


@dataclass(frozen=True)
class Found:
    """A query and its matches.

    Attributes:
        query: The text.
        matches: Matches, the best first.
        is_nothing_like_that: Whether all matches are unlikely.
    """

    query: str
    matches: Sequence[Match]
    is_nothing_like_that: bool = False


def page(results: Sequence[Found], folder: Path, n_pictures: int, version: str) -> str:
    """Return the page: a section per query with thumbnails, without scripts or external files.

    Args:
        results: The queries.
        folder: The folder of pictures.
        n_pictures: Number of pictures in the index.
        version: Version of the vectors.
    """
    thumbnails = {}
    names = {match.name for found in results for match in found.matches}
    with track("Making small copies", len(names), "pictures") as advance:
        for name in sorted(names):
            thumbnails[name] = _thumbnail(folder / name)
            advance(1)
    sections = "".join(_section(found, thumbnails) for found in results)
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    title = printable(" · ".join(found.query for found in results))
    return f"""<!DOCTYPE html>
<html lang="es">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} – Themo</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>Themo</h1>
<p>Las mejores de {counted(n_pictures)} de «{escape(printable(folder.resolve().name))}»</p>
</header>
<main>{sections}
</main>
<footer>Similitud: coseno entre el texto y la imagen. Versión: {escape(printable(version))}</footer>
</body>
</html>
"""


def counted(n_pictures: int) -> str:
    """Return a number of pictures in Spanish, such as "12 345 imágenes"."""
    number = f"{n_pictures:,}".replace(",", "\N{NO-BREAK SPACE}")
    return f"{number} imagen" if n_pictures == 1 else f"{number} imágenes"


def _section(found: Found, thumbnails: dict[str, str]) -> str:
    items = "".join(
        f"""
<li{_unlikely(match)}><figure>
<div class="frame">{_image(thumbnails[match.name], match.name)}</div>
<figcaption><span class="rank">{rank}</span> <span class="score">{_decimal(match.score)}</span>
<span class="name">{escape(printable(match.name))}</span>{_copies(match)}{_duplicates(match)}</figcaption>
</figure></li>"""
        for rank, match in enumerate(found.matches, start=1)
    )
    return f"""
<section>
<h2>{escape(printable(found.query))}</h2>{_NOTHING if found.is_nothing_like_that else ""}
<ol>{items}
</ol>
</section>"""


def _unlikely(match: Match) -> str:
    return (
        f' class="unlikely" title="poco probable: {_decimal(match.chance or 0)}"' if match.is_unlikely else ""
    )


def _duplicates(match: Match) -> str:
    if not match.duplicates:
        return ""
    n = len(match.duplicates)
    names = escape(printable(" · ".join(match.duplicates)))
    what = "casi igual" if n == 1 else "casi iguales"
    return f'<span class="copies" title="{names}">y {n} {what}</span>'


def _copies(match: Match) -> str:
    if not match.copies:
        return ""
    n = len(match.copies)
    names = escape(printable(" · ".join(match.copies)))
    return f'<span class="copies" title="{names}">y {n} {"copia" if n == 1 else "copias"}</span>'


def _image(source: str, name: str) -> str:
    return f'<img src="{source}" alt="{escape(printable(name))}">' if source else "ya no se puede leer"


def _thumbnail(path: Path) -> str:
    """Return an upright small copy as a data URI; empty if the file cannot be read any more."""
    try:
        return "data:image/jpeg;base64," + base64.b64encode(small_copy(path)).decode()
    except InputError:
        return ""


def _decimal(score: float) -> str:
    return f"{score:.3f}".replace(".", ",").replace("-", "\N{MINUS SIGN}")
