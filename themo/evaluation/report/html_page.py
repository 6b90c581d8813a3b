"""Self-contained HTML pages: a template and figures of an embedded Plotly, without network access.

A page holds Plotly's script once, the figures as JSON, and a short script that draws them in the reader's
light or dark colours. A content security policy allows only these scripts, and forbids every connection
except a served page's to its own server. Texts are escaped by the template, figures where they become JSON.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.io
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image
from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from themo import __version__
from themo.files.atomic import write_text
from themo.process.output import duration

OWN_TEMPLATES = Path(__file__).parent / "templates"

THUMBNAIL_PIXELS = 160
"""Longer side of an embedded picture, in pixels; smaller pictures stay unchanged."""


def write_page(
    path: Path,
    template: Path,
    figures: Mapping[str, Figure],
    *,
    data: Mapping[str, Any] | None = None,
    scripts: Sequence[Path] = (),
    **facts: Any,
) -> None:
    """Render a template and write the page atomically.

    Args:
        path: The HTML file.
        template: A file that extends ``page.html`` and places figures with ``figure(name, caption)``.
        figures: Figures by their name in the template.
        data: Data of the page's own scripts, as JSON.
        scripts: Files of the page's own scripts, which run before the figures are drawn.
        facts: Variables of the template.
    """
    write_text(path, render_page(template, figures, data=data, scripts=scripts, **facts))


def render_page(
    template: Path,
    figures: Mapping[str, Figure],
    *,
    data: Mapping[str, Any] | None = None,
    scripts: Sequence[Path] = (),
    is_served: bool = False,
    is_part: bool = False,
    **facts: Any,
) -> str:
    """Render a template, as `write_page` does.

    Args:
        template: See `write_page`.
        figures: See `write_page`.
        data: See `write_page`.
        scripts: See `write_page`.
        is_served: Whether the page may ask the server that it came from for news.
        is_part: Leave out the scripts: the page takes the place of a page that has them.
        facts: See `write_page`.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, OWN_TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration, "count": count, "breakable": breakable}
    code = []
    if not is_part:
        own = [path.read_text(encoding="utf-8") for path in (*scripts, OWN_TEMPLATES / "draw.js")]
        code = [get_plotlyjs(), *own]
    return environment.get_template(template.name).render(
        **facts,
        scripts=[Markup(script) for script in code],  # noqa: S704 -- our own
        digests=[_digest(script) for script in code],
        is_served=is_served,
        style=Markup((OWN_TEMPLATES / "page.css").read_text(encoding="utf-8")),  # noqa: S704 -- our own
        figures=_as_json(figures),
        data=_escaped(json.dumps(dict(data or {}))),
        drawn={*figures, *(data or {})},
        version=__version__,
    )


def count(number: float) -> str:
    """Format a whole number in groups of three digits."""
    return f"{number:,.0f}"


def breakable(name: str) -> Markup:
    """Return a name, escaped, that a line may break after an underscore or a slash."""
    return Markup(re.sub(r"(?<=[_/])(?=\w)", "<wbr>", str(escape(name))))  # noqa: S704 -- escaped


def thumbnail(image: Image.Image) -> str:
    """Return a small copy of an RGB picture as a data URI."""
    small = image.copy()
    small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    out = io.BytesIO()
    small.save(out, format="JPEG", quality=88, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def _as_json(figures: Mapping[str, Figure]) -> Markup:
    """Return the figures as JSON without Plotly's template, escaped for a script element."""
    parts = []
    for name, figure in figures.items():
        plain = Figure(figure)
        plain.layout.template = None
        parts.append(f'"{name}": {plotly.io.to_json(plain, validate=False)}')
    return _escaped("{" + ", ".join(parts) + "}")


def _escaped(text: str) -> Markup:
    """Escape JSON for a script element."""
    escaped = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return Markup(escaped)  # noqa: S704 -- no "<" is left in it


def _digest(script: str) -> str:
    """Return a script's digest for the content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
