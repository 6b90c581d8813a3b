import base64
import hashlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from browser import opened
from PIL import Image
from plotly.graph_objects import Figure, Scatter

from themo.evaluation.report.html_page import (
    THUMBNAIL_PIXELS,
    breakable,
    count,
    render_page,
    thumbnail,
    write_page,
)

EVIL = "</script><script>document.title='broken'</script><img src=https://example.org/x onerror=alert(1)>"
TEMPLATE = """{% extends "page.html" %}
{% from "page.html" import figure with context %}
{% block title %}{{ name }}{% endblock %}
{% block content %}<h1>{{ name }}</h1>
{{ figure("line", "How to read " ~ name) }}
{{ figure("missing", "There is nothing to draw.") }}
{{ extra|safe }}{% endblock %}"""


def page(folder: Path, name: str = "A search", extra: str = "") -> Path:
    template = folder / "own.html"
    template.write_text(TEMPLATE, encoding="utf-8")
    figure = Figure(Scatter(x=[1, 2, 3], y=np.array([1.0, 4.0, 9.0]), text=[name] * 3, mode="lines+markers"))
    path = folder / "page.html"
    write_page(path, template, {"line": figure}, name=name, extra=extra)
    return path


def test_texts_are_escaped_in_the_page_and_in_its_figures(tmp_path: Path) -> None:
    text = page(tmp_path, EVIL).read_text(encoding="utf-8")
    assert EVIL not in text
    assert "&lt;/script&gt;&lt;script&gt;document.title" in text
    figures = re.search(r'id="figures">(.*?)</script>', text, re.DOTALL)
    assert figures is not None
    assert json.loads(figures[1])["line"]["data"][0]["text"] == [EVIL] * 3


def test_only_the_pages_own_scripts_may_run(tmp_path: Path) -> None:
    text = page(tmp_path).read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]
    assert "unsafe-eval" not in text.partition("</head>")[0]


def test_a_missing_value_of_a_template_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.html").write_text("{{ nothing }}", encoding="utf-8")
    with pytest.raises(Exception, match="'nothing' is undefined"):
        write_page(tmp_path / "page.html", tmp_path / "own.html", {})
    assert not (tmp_path / "page.html").exists()


def test_counts() -> None:
    assert count(143_949.0) == "143,949"


def test_a_name_may_break_after_underscores_and_stays_escaped() -> None:
    assert breakable("last_layer_norm") == "last_<wbr>layer_<wbr>norm"
    assert breakable("val/<b>_") == "val/&lt;b&gt;_"


def test_a_part_of_a_page_has_its_content_without_scripts(tmp_path: Path) -> None:
    template = tmp_path / "own.html"
    template.write_text(TEMPLATE, encoding="utf-8")
    facts = {"name": "A search", "extra": "", "data": {"numbers": [1, 2], "text": "</script>"}}
    whole, part = (render_page(template, {}, is_part=is_part, **facts) for is_part in (False, True))
    assert whole.count("<script>") == 2
    assert "<script>" not in part
    for page in (whole, part):
        data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
        assert data is not None
        assert json.loads(data[1]) == facts["data"]
        assert "<h1>A search</h1>" in page
        assert "connect-src" not in page


def test_thumbnails_are_small_and_keep_their_shape() -> None:
    def size(uri: str) -> tuple[int, int]:
        kind, _, data = uri.partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            return image.size

    assert size(thumbnail(Image.new("RGB", (640, 320)))) == (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS // 2)
    assert size(thumbnail(Image.new("RGB", (48, 48)))) == (48, 48)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_draws_in_a_browser_without_the_network(tmp_path: Path, scheme: str) -> None:
    path = page(tmp_path, "Búsqueda")
    with opened(path, scheme) as seen:
        assert seen.drawn()["line"] >= 3
        assert seen.page.title() == "Búsqueda"
        ink = seen.page.evaluate("document.querySelector('#figure-line').layout.template.layout.font.color")
        assert ink == seen.page.evaluate(
            "getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()"
        )
    assert (seen.errors, seen.requests) == ([], [path.as_uri()])


@pytest.mark.slow
def test_the_policy_blocks_network_and_foreign_scripts(tmp_path: Path) -> None:
    """If something foreign came into a page after all."""
    bad = """<script>document.title = 'broken'</script><img src="http://127.0.0.1:9/x.png">"""
    with opened(page(tmp_path, "whole", bad)) as seen:
        seen.drawn()
        assert seen.page.title() == "whole"
    assert len([error for error in seen.errors if "Content Security Policy" in error]) == 2
