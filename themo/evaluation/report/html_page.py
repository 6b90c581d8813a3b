"""Self-contained HTML pages: a template and figures of an embedded Plotly, without network access.

A page holds Plotly's script once, the figures as JSON, and a short script that draws them in the reader's
light or dark colours. A content security policy lets these two scripts run and nothing else, and forbids
every connection. Texts are escaped by the template, figures where they become JSON.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.io
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image
from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from themo import __version__
from themo.files.atomic import write_text
from themo.process.output import duration

OWN_TEMPLATES = Path(__file__).parent / "templates"

THUMBNAIL_PIXELS = 160
"""Longer side of an embedded picture, in pixels; smaller pictures stay unchanged."""


def write_page(path: Path, template: Path, figures: Mapping[str, Figure], **facts: Any) -> None:
    """Render a template and write the page atomically.

    Args:
        path: The HTML file.
        template: A file that extends ``page.html`` and places figures with ``figure(name, caption)``.
        figures: Figures by their name in the template.
        facts: Variables of the template.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, OWN_TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration, "count": count}
    scripts = {"plotly": get_plotlyjs(), "draw": (OWN_TEMPLATES / "draw.js").read_text(encoding="utf-8")}
    page = environment.get_template(template.name).render(
        **facts,
        scripts={name: Markup(script) for name, script in scripts.items()},  # noqa: S704 -- our own
        digests=[_digest(script) for script in scripts.values()],
        style=Markup((OWN_TEMPLATES / "page.css").read_text(encoding="utf-8")),  # noqa: S704 -- our own
        figures=_as_json(figures),
        drawn=set(figures),
        version=__version__,
    )
    write_text(path, page)


def count(number: float) -> str:
    """Format a whole number in groups of three digits."""
    return f"{number:,.0f}"


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
    text = "{" + ", ".join(parts) + "}"
    escaped = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return Markup(escaped)  # noqa: S704 -- no "<" is left in it


def _digest(script: str) -> str:
    """Return a script's digest for the content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
