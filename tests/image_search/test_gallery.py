from __future__ import annotations

import base64
import hashlib
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import opened
from PIL import Image, ImageOps
from tiny import write_picture

from themo.image_search.gallery import Found, page
from themo.image_search.matches import Match
from themo.image_search.small_copies import THUMBNAIL_PIXELS
from themo.models.image_files import open_rgb


class Page(HTMLParser):
    """Tags with their attributes, and the texts between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def pictures(self) -> list[Image.Image]:
        sources = [str(image["src"]) for image in self.all("img")]
        head = "data:image/jpeg;base64,"
        assert all(source.startswith(head) for source in sources)
        contents = [base64.b64decode(source.removeprefix(head), validate=True) for source in sources]
        return [Image.open(io.BytesIO(content)) for content in contents]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("a.jpg", 'b "><script>.jpg'):
        write_picture(tmp_path / "fotos & más" / name, random)
    return tmp_path / "fotos & más"


def shown(folder: Path, *names: str, query: str = "dos círculos rojos") -> Page:
    matches = [Match(name, 0.5 - 0.125 * i) for i, name in enumerate(names)]
    return Page(page([Found(query, matches)], folder, 12_345, "logs/miniature/version_0"))


def test_query_and_pictures_in_their_order(folder: Path) -> None:
    result = shown(folder, 'b "><script>.jpg', "a.jpg")
    assert result.all("html") == [{"lang": "es"}]
    assert [image["alt"] for image in result.all("img")] == ['b "><script>.jpg', "a.jpg"]
    assert [picture.size for picture in result.pictures()] == [(40, 36)] * 2
    texts = [text.strip() for text in result.texts if text.strip()]
    assert texts[0] == "dos círculos rojos – Themo"
    assert "Las mejores de 12\N{NO-BREAK SPACE}345 imágenes de «fotos & más»" in texts
    assert {"0,500", "0,375", "1", "2"} <= set(texts)


def test_texts_of_users_and_files_are_no_markup(folder: Path) -> None:
    result = shown(folder, 'b "><script>.jpg', query='</h2><script>alert(1)</script><img src="http://x/">')
    assert result.all("script") == []
    assert len(result.all("img")) == 1
    assert '</h2><script>alert(1)</script><img src="http://x/">' in result.texts


def test_the_page_may_load_and_run_nothing(folder: Path) -> None:
    text = page([Found("a", [Match("a.jpg", 0.5)])], folder, 2, "v")
    (policy,) = (m["content"] for m in Page(text).all("meta") if m.get("http-equiv"))
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert "http:" not in text
    assert "https:" not in text
    assert 'style="' not in text  # the policy would drop it


def test_pictures_are_small_and_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (2000, 1000), "red")
    exif = image.getexif()
    exif[0x0112] = 6  # its top is at the right: a telephone held upright
    image.save(tmp_path / "a.jpg", exif=exif)
    (picture,) = shown(tmp_path, "a.jpg").pictures()
    assert picture.size == (THUMBNAIL_PIXELS // 2, THUMBNAIL_PIXELS)


def test_exif_that_is_none_costs_nothing_but_the_rotation(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), "red").save(tmp_path / "a.webp", exif=b"Exif\0\0" + bytes(range(40)))
    with pytest.raises(SyntaxError, match="not a TIFF file"):
        ImageOps.exif_transpose(open_rgb(tmp_path / "a.webp"))
    (picture,) = shown(tmp_path, "a.webp").pictures()
    assert picture.size == (40, 20)


def test_a_picture_that_is_gone_leaves_a_word(folder: Path) -> None:
    (folder / "a.jpg").unlink()
    result = shown(folder, "a.jpg")
    assert result.all("img") == []
    assert "ya no se puede leer" in result.texts


def test_one_picture_is_counted_in_the_singular(folder: Path) -> None:
    assert "Las mejores de 1 imagen de «" in page([Found("a", [Match("a.jpg", 0.5)])], folder, 1, "v")


@pytest.mark.parametrize("width", [1240, 400])
def test_pictures_of_any_shape_have_the_same_frame(tmp_path: Path, width: int) -> None:
    sizes = {"wide.png": (3000, 100), "tall.png": (100, 3000), "tiny.png": (4, 4), "big.png": (900, 800)}
    for name, size in sizes.items():
        Image.new("RGB", size, "red").save(tmp_path / name)
    matches = [Match(name, 0.5 - 0.3 * i) for i, name in enumerate(sizes)]
    path = tmp_path / "found.html"
    path.write_text(page([Found("a", matches)], tmp_path, 4, "v"), encoding="utf-8")
    script = """() => [...document.querySelectorAll(".frame")].map(frame => {
        const [a, b] = [frame, frame.firstElementChild].map(part => part.getBoundingClientRect());
        return [a.width, a.height, b.right <= a.right && b.bottom <= a.bottom]})"""
    with opened(path, width=width) as seen:
        frames = seen.page.evaluate(script)
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(frames) == 4
    for wide, high, holds_picture in frames:
        assert wide == pytest.approx(high, abs=1)
        assert wide == pytest.approx(frames[0][0], abs=1)
        assert holds_picture
    assert (seen.errors, seen.requests) == ([], [path.as_uri()])


def test_near_duplicates_and_unlikely_matches_are_marked(folder: Path) -> None:
    likely = Match("a.jpg", 0.5, duplicates=("c & d.jpg", "e.jpg"), chance=0.5)
    unlikely = Match('b "><script>.jpg', 0.25, duplicates=("f.jpg",), chance=0.125)
    result = Page(page([Found("luna", [likely, unlikely])], folder, 5, "logs/miniature/version_0"))
    assert [item.get("class") for item in result.all("li")] == [None, "unlikely"]
    assert result.all("li")[1]["title"] == "poco probable: 0,125"
    spans = [span["title"] for span in result.all("span") if span.get("class") == "copies"]
    assert spans == ["c & d.jpg · e.jpg", "f.jpg"]
    assert {"y 2 casi iguales", "y 1 casi igual"} <= set(result.texts)
    assert not any("Nada parecido" in text for text in result.texts)
    nothing = Page(page([Found("luna", [unlikely], True)], folder, 5, "logs/miniature/version_0"))
    assert "Nada parecido; lo más cercano:" in nothing.texts
