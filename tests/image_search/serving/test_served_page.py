"""The served page in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import PATIENCE_SECONDS, Opened, opened
from playwright.sync_api import Page, Route, expect
from served import N_BEST, TEXT, Served, calibrated, serving

from themo.image_search.answers import Answerer
from themo.image_search.serving.collection import Collection

pytestmark = pytest.mark.slow
expect.set_options(timeout=1000 * PATIENCE_SECONDS)


@pytest.fixture
def seen(served: Served) -> Iterator[Opened]:
    """The page, whose scripts and policy raise no errors, and which asks its own server only."""
    with opened(served.address) as seen:
        expect(seen.page.locator("li")).to_have_count(N_BEST)
        yield seen
    assert seen.errors == []
    assert [request for request in seen.requests if not request.startswith(served.address)] == []


@pytest.fixture
def page(seen: Opened) -> Page:
    return seen.page


def names(page: Page) -> list[str]:
    return page.locator(".name").all_text_contents()


def chosen(page: Page) -> int:
    """Place of the picture that has the focus; -1: none has."""
    return int(page.evaluate("[...document.querySelectorAll('.picture')].indexOf(document.activeElement)"))


def find(page: Page, text: str) -> None:
    page.locator("#text").fill(text)
    expect(page).to_have_title(f"{text} – Themo")
    expect(page.locator("#matches")).not_to_have_class("waiting")


def test_results_follow_the_typing(seen: Opened, served: Served) -> None:
    page = seen.page
    expect(page.locator("#text")).to_be_focused()
    expect(page.locator("#status")).to_have_text("Algunas imágenes de la carpeta. Escribe para buscar.")
    page.keyboard.type(TEXT, delay=10)
    expect(page).to_have_title(f"{TEXT} – Themo")
    assert names(page) == served.get("search", text=TEXT, n=N_BEST).names
    assert page.locator(".rank").all_text_contents() == [str(i + 1) for i in range(N_BEST)]
    assert re.fullmatch(r"−?\d,\d{3}", page.locator("li .score").first.inner_text())
    searches = [request for request in seen.requests if "/search?" in request]
    assert 1 <= len(searches) < len(TEXT)  # debounced
    page.locator("#text").fill("")
    expect(page).to_have_title("Themo")
    assert names(page) == served.get("sample", n=N_BEST).names


def test_a_late_answer_does_not_replace_a_newer_one(seen: Opened, served: Served) -> None:
    page, held = seen.page, list[Route]()
    page.route(re.compile(r"search\?text=el\+gato&"), lambda route: held.append(route))
    page.locator("#text").fill("el gato")
    page.wait_for_function("() => document.querySelector('.waiting')")
    page.wait_for_timeout(50)
    find(page, TEXT)
    newer = names(page)
    (late,) = held
    late.fulfill(status=200, json={"matches": [], "cut": None})
    page.wait_for_timeout(300)
    assert names(page) == newer == served.get("search", text=TEXT, n=N_BEST).names
    expect(page).to_have_title(f"{TEXT} – Themo")
    expect(page.locator("#matches")).not_to_have_class("waiting")


def test_enter_searches_without_the_pause(seen: Opened) -> None:
    page = seen.page
    page.evaluate("window.setTimeout = () => 0")  # a pause that never ends
    page.keyboard.type("el perro azul")
    page.keyboard.press("Enter")
    expect(page).to_have_title("el perro azul – Themo")


def test_similar_pictures_and_the_way_back(page: Page, served: Served, collection: Collection) -> None:
    find(page, TEXT)
    found = names(page)
    item = page.locator("li").nth(2)
    item.hover()
    item.get_by_role("button", name="Más como esta").click()
    expect(page.locator("#like")).to_be_visible()
    expect(page.locator("#like-name")).to_have_text(found[2])
    number = collection.index.names.index(found[2])
    assert names(page) == served.get(f"similar/{number}", n=N_BEST).names
    assert chosen(page) == 0
    expect(page.locator("#text")).to_have_value("")
    page.get_by_role("button", name="Volver").click()
    expect(page.locator("#text")).to_have_value(TEXT)
    expect(page.locator("#text")).to_be_focused()
    expect(page.locator("#like")).to_be_hidden()
    assert names(page) == found
    page.go_back()
    expect(page.locator("#like-name")).to_have_text(found[2])
    page.go_back()
    expect(page.locator("#text")).to_have_value(TEXT)
    page.reload()
    expect(page).to_have_title(f"{TEXT} – Themo")
    assert names(page) == found


def test_arrows_choose_a_picture(page: Page) -> None:
    find(page, TEXT)
    n_columns = page.evaluate("new Set([...document.querySelectorAll('li')].map(li => li.offsetLeft)).size")
    assert n_columns == 6
    page.keyboard.press("ArrowDown")
    assert chosen(page) == 0
    for key, place in [
        *(("ArrowRight", 1), ("ArrowDown", 7), ("ArrowDown", 7), ("ArrowLeft", 6), ("ArrowUp", 0)),
        *(("ArrowLeft", 0), ("End", 7), ("ArrowRight", 7), ("Home", 0)),
    ]:
        page.keyboard.press(key)
        assert chosen(page) == place, key
    page.keyboard.press("ArrowUp")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("/")
    expect(page.locator("#text")).to_be_focused()
    expect(page.locator("#text")).to_have_value(TEXT)
    page.keyboard.type("a/b")  # the text was selected
    expect(page.locator("#text")).to_have_value("a/b")


def test_enter_opens_and_escape_closes_a_picture(page: Page) -> None:
    find(page, TEXT)
    found = names(page)
    viewer, image = page.locator("#viewer"), page.locator("#viewer-image")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(viewer).to_be_visible()
    expect(image).to_have_attribute("src", re.compile(r"^pictures/\d+$"))
    assert image.evaluate("image => image.naturalWidth") == 40
    expect(page.locator("#viewer-name")).to_have_text(found[1])
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-name")).to_have_text(found[2])
    expect(image).to_have_attribute("alt", found[2])
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#viewer-name")).to_have_text(found[0])
    expect(page.locator("#viewer-before")).to_be_disabled()
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    expect(page.locator(".picture").first).to_be_focused()  # by an event after the dialog has closed
    page.keyboard.press("Enter")
    page.keyboard.press("m")
    expect(viewer).to_be_hidden()
    expect(page.locator("#like-name")).to_have_text(found[0])
    expect(page.locator(".picture").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#text")).to_have_value(TEXT)


def test_the_viewer_stays_at_its_picture(page: Page, served: Served) -> None:
    held: list[Route] = []
    answer = json.loads(served.get("search", text=TEXT, n=N_BEST).content)
    find(page, TEXT)
    found = names(page)
    viewer, shown = page.locator("#viewer"), page.locator("#viewer-name")
    page.route(re.compile(r"search\?text=el\+"), lambda route: held.append(route))
    page.locator("#text").fill("el gato")
    page.wait_for_function("() => document.querySelector('.waiting')")
    page.locator(".picture").nth(1).click()
    expect(shown).to_have_text(found[1])
    held.pop().fulfill(json=answer | {"matches": answer["matches"][::-1]})
    expect(page).to_have_title("el gato – Themo")
    page.keyboard.press("ArrowLeft")
    expect(shown).to_have_text(found[2])
    page.get_by_role("button", name="Siguiente").click()
    page.keyboard.press("m")
    expect(page.locator("#like-name")).to_have_text(found[1])
    page.locator(".picture").first.click()
    page.go_back()
    expect(page.locator("#like")).to_be_visible()  # until the answer comes
    held.pop().fulfill(json=answer | {"matches": []})
    expect(viewer).to_be_hidden()


def test_the_file_opens_by_itself(seen: Opened, served: Served) -> None:
    page = seen.page
    page.locator(".picture").first.click()
    with page.context.expect_page() as opening:
        page.get_by_role("link", name="Archivo").click()
    said: list[str] = []
    opening.value.on("console", lambda message: said.append(message.text))
    opening.value.wait_for_load_state()
    assert opening.value.url.startswith(f"{served.address}pictures/")
    assert opening.value.evaluate("document.images[0].naturalWidth") == 40
    opening.value.reload()
    assert [text for text in said if "favicon" not in text and "403" not in text] == []
    assert opening.value.evaluate("document.referrer") == ""


def test_more_matches_are_shown_on_demand(page: Page) -> None:
    find(page, TEXT)
    first = names(page)
    more = page.get_by_role("button", name="Mostrar más")
    for n in (16, 28):  # 28 differ
        more.click()
        expect(page.locator("li")).to_have_count(n)
        assert names(page)[:8] == first
    expect(more).to_be_hidden()
    expect(page.locator("#status")).to_have_text("Las 28 mejores")
    copied = page.locator("li", has_text="00.jpg").locator(".copies").first
    expect(copied).to_have_text("y 2 copias")
    expect(copied).to_have_attribute("title", "viaje/a.jpg · viaje/b <b>.jpg")


def test_a_long_text_is_said_to_be_cut_on_the_page(page: Page) -> None:
    page.locator("#text").fill("perro " * 20)
    expect(page.locator("#status")).to_have_text(
        "Solo se leen los primeros 16 tokens del texto. Las 8 mejores"
    )


def test_vanished_pictures_are_grey(changing: Served, folder: Path) -> None:
    for i in range(3):
        (folder / f"{i:02d}.jpg").unlink()
    with opened(changing.address) as seen:
        page = seen.page
        gone = page.locator("li.gone")
        expect(gone).to_have_count(1)  # of the sample: 00, 03, 07, ...
        expect(gone.locator(".name")).to_have_text("00.jpg")
        assert gone.evaluate("item => getComputedStyle(item).filter") == "grayscale(1)"
        gone.locator(".picture").click()
        expect(page.locator("#viewer-gone")).to_be_visible()
        expect(page.locator("#viewer-image")).to_be_hidden()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#viewer-gone")).to_be_hidden()
        page.keyboard.press("m")
        expect(page.locator("#like")).to_be_visible()
    assert {error for error in seen.errors if "404" not in error} == set()


def test_a_server_that_ended_is_said(collection: Collection) -> None:
    with serving(collection) as served, opened(served.address) as seen:
        expect(seen.page.locator("li")).to_have_count(N_BEST)
        seen.page.route("**/search?*", lambda route: route.abort())
        seen.page.locator("#text").fill(TEXT)
        status = seen.page.locator("#status.wrong")
        expect(status).to_have_text("El programa no responde. ¿Sigue en marcha?")
        seen.page.unroute("**/search?*")
        seen.page.route("**/search?*", lambda route: route.fulfill(status=403, body="no"))
        seen.page.locator("#text").fill("el perro")
        expect(status).to_have_text("Esta dirección ya no vale: abre la que imprime el programa.")
        seen.page.unroute("**/search?*")
        seen.page.locator("#text").fill("el perro azul")
        expect(seen.page.locator("#status")).to_have_text("Las 8 mejores")
        expect(status).to_have_count(0)


def test_unlikely_matches_are_dimmed(collection: Collection, doubtful: Answerer) -> None:
    with serving(replace(collection, answerer=doubtful)) as served, opened(served.address) as seen:
        page = seen.page
        find(page, TEXT)
        answer = json.loads(served.get("search", text=TEXT, n=N_BEST).content)
        unlikely = [match["name"] for match in answer["matches"] if match["unlikely"]]
        assert 0 < len(unlikely) < N_BEST
        dimmed = page.locator("li.unlikely")
        assert dimmed.locator(".name").all_text_contents() == unlikely
        page.mouse.move(0, 0)
        assert dimmed.first.evaluate("item => getComputedStyle(item).opacity") == "0.45"
        expect(dimmed.first).to_have_attribute("title", re.compile(r"^poco probable: 0,\d{3}$"))
        expect(page.locator("#status")).to_have_text("Las 8 mejores")
    assert seen.errors == []


def test_nothing_like_that_is_said(collection: Collection, doubtful: Answerer) -> None:
    nearer = np.concatenate([piece.rows for piece in collection.index.pieces])  # each picture's own vector
    none = calibrated(doubtful, nearer)
    with serving(replace(collection, answerer=none)) as served, opened(served.address) as seen:
        find(seen.page, TEXT)
        expect(seen.page.locator("#status")).to_have_text("Nada parecido; lo más cercano:")
        expect(seen.page.locator("li.unlikely")).to_have_count(N_BEST)
    with (
        serving(replace(collection, answerer=none, min_chance=0.5)) as served,
        opened(served.address) as seen,
    ):
        find(seen.page, TEXT)
        expect(seen.page.locator("#status")).to_have_text("Nada parecido")
        expect(seen.page.locator("li")).to_have_count(0)
        seen.page.keyboard.press("ArrowDown")
        expect(seen.page.locator("#text")).to_be_focused()
    assert seen.errors == []


@pytest.mark.parametrize("width", [320, 390, 760, 1240])
def test_no_width_scrolls_sideways(served: Served, width: int) -> None:
    with opened(served.address, width=width) as seen:
        page = seen.page
        find(page, TEXT)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.keyboard.press("ArrowDown")
        page.keyboard.press("m")
        expect(page.locator("#like")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator(".picture").first.click()
        expect(page.locator("#viewer")).to_be_visible()
        assert page.locator("#viewer").evaluate("viewer => viewer.scrollWidth") <= width
    assert seen.errors == []


LIGHT, DARK = "rgb(250, 249, 246)", "rgb(23, 25, 28)"


@pytest.mark.parametrize(("scheme", "paper"), [("light", LIGHT), ("dark", DARK)])
def test_colours_follow_the_scheme_and_print_is_light(served: Served, scheme: str, paper: str) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    with opened(served.address, scheme) as seen:
        page = seen.page
        find(page, TEXT)
        assert page.evaluate(background) == paper
        page.emulate_media(media="print")
        assert page.evaluate(background) == "rgba(0, 0, 0, 0)"
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(34, 38, 43)"
        expect(page.locator("#text")).to_be_visible()  # as the title
        expect(page.locator(".similar").first).to_be_hidden()
        expect(page.locator(".keys")).to_be_hidden()
        assert page.pdf().startswith(b"%PDF")
