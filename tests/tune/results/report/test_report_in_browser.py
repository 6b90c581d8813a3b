"""The report of a search under a reader's hands: sort, brush, scale, print, narrow windows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Opened, opened
from playwright.sync_api import Locator
from recorded_search import leave_best, record, searched_by

from tune.results.report.page import write_report
from tune.study.study import Study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a search whose best trials differ by thousandths."""
    search, folder = record(tmp_path_factory.mktemp("report") / "logs")
    study = Study.read(folder / "study.json")
    for number, score in ((10, 0.992), (7, 0.988), (4, 0.9)):
        study[number].values[900] = score
    study[2].why = "0.0150 at the rung of 100 pairs, rank 2 of 3"
    study.save()
    search = searched_by(search, folder, num_samples=12)
    leave_best(search, folder)
    return write_report(search, folder)


@pytest.fixture
def seen(path: Path) -> Iterator[Opened]:
    with opened(path) as seen:
        seen.drawn()
        yield seen
        assert (seen.errors, seen.requests) == ([], [path.as_uri()])


def numbers(seen: Opened) -> list[int]:
    """The trials of the table that are shown, in order."""
    rows = seen.page.locator("table.trials tbody tr:visible")
    return [int(row.get_attribute("data-trial") or -1) for row in rows.all()]


def heading(seen: Opened, name: str) -> Locator:
    return seen.page.locator("table.trials th").filter(has=seen.page.get_by_role("button", name=name))


def test_a_click_sorts_and_a_second_one_reverses(seen: Opened) -> None:
    assert heading(seen, "val/match@01").get_attribute("aria-sort") == "descending"
    assert numbers(seen)[:3] == [10, 7, 4]
    trial = heading(seen, "trial")
    trial.get_by_role("button").click()
    assert trial.get_attribute("aria-sort") == "ascending"
    assert numbers(seen) == list(range(12))
    trial.get_by_role("button").click()
    assert trial.get_attribute("aria-sort") == "descending"
    assert numbers(seen) == list(reversed(range(12)))
    assert seen.page.locator("th[aria-sort]").count() == 1


def test_the_keyboard_sorts_numbers_and_texts(seen: Opened) -> None:
    seen.page.locator("table.trials th button").first.focus()
    for _ in range(5):  # state, objective, pairs, time, learn_rate
        seen.page.keyboard.press("Tab")
    seen.page.keyboard.press("Enter")
    assert heading(seen, "learn_rate").get_attribute("aria-sort") == "ascending"
    assert numbers(seen) == list(range(12))  # 1e-05 before 0.0001 before 0.00357
    heading(seen, "state").get_by_role("button").press("Space")
    assert heading(seen, "state").get_attribute("aria-sort") == "ascending"
    states = seen.page.locator("table.trials tbody td:nth-child(2)").all_inner_texts()
    assert states == ["completed"] * 3 + ["failed"] + ["stopped early"] * 8


def test_a_missing_score_stays_last_in_both_directions(seen: Opened) -> None:
    button = heading(seen, "val/match@01").get_by_role("button")
    assert numbers(seen)[-1] == 1
    button.click()
    assert heading(seen, "val/match@01").get_attribute("aria-sort") == "ascending"
    assert numbers(seen)[-2:] == [10, 1]


def brush(seen: Opened, axis: str, low: float, high: float) -> None:
    """Drag along an axis, between two heights from 0 to 1."""
    grip = seen.page.locator(f".axis[data-axis='{axis}'] .grip")
    grip.scroll_into_view_if_needed()
    box = grip.bounding_box()
    assert box is not None
    x = box["x"] + box["width"] / 2
    at = [box["y"] + box["height"] * (1.04 - height) / 1.08 for height in (low, high)]
    seen.page.mouse.move(x, at[0])
    seen.page.mouse.down()
    seen.page.mouse.move(x, (at[0] + at[1]) / 2)
    seen.page.mouse.move(x, at[1])
    seen.page.mouse.up()


def test_a_brush_filters_the_table_and_says_how_many(seen: Opened) -> None:
    shown, brushed = seen.page.locator("#shown"), seen.page.locator("#brushed")
    assert shown.inner_text() == "12 of 12 trials"
    brush(seen, "val/match@01", 0.85, 1.03)
    assert numbers(seen) == [10, 7]
    assert shown.inner_text() == "2 of 12 trials"
    assert brushed.inner_text().startswith("val/match@01 from 0.9")
    assert seen.page.locator("path.trial:not(.out)").count() == 2
    brush(seen, "learn_rate", 0.8, 1.03)  # both ranges hold
    assert numbers(seen) == [10]
    assert seen.page.locator("#brushed").inner_text().startswith("learn_rate from 0.00")
    seen.page.get_by_role("button", name="Clear all ranges").click()
    assert shown.inner_text() == "12 of 12 trials"
    assert brushed.inner_text() == ""


def test_a_sort_keeps_the_filter(seen: Opened) -> None:
    brush(seen, "val/match@01", 0.85, 1.03)
    heading(seen, "trial").get_by_role("button").click()
    assert numbers(seen) == [7, 10]


def test_arrow_keys_brush_and_escape_clears(seen: Opened) -> None:
    axis = seen.page.locator(".axis[data-axis='learn_rate']")
    axis.focus()
    for _ in range(14):
        seen.page.keyboard.press("ArrowUp")
    left = numbers(seen)
    assert left
    assert set(left) < set(range(12))
    seen.page.keyboard.press("Shift+ArrowDown")
    assert set(left) <= set(numbers(seen))
    seen.page.keyboard.press("Escape")
    assert len(numbers(seen)) == 12


def test_an_axis_keeps_the_focus_at_another_width(seen: Opened) -> None:
    axis = seen.page.locator(".axis[data-axis='learn_rate']")
    axis.focus()
    before = seen.page.locator("svg.parallel").get_attribute("width")
    seen.page.set_viewport_size({"width": 900, "height": 1000})
    seen.page.wait_for_function(
        "before => document.querySelector('svg.parallel').getAttribute('width') !== before", arg=before
    )
    assert axis.evaluate("node => node === document.activeElement")


def test_pointing_at_a_row_marks_its_line_and_back(seen: Opened) -> None:
    seen.page.locator("tr[data-trial='2']").hover()
    assert seen.page.locator("path.trial.marked").get_attribute("data-trial") == "2"
    seen.page.mouse.move(0, 0)
    assert seen.page.locator("path.trial.marked").count() == 0
    seen.page.locator("svg.parallel").scroll_into_view_if_needed()
    ends = seen.page.evaluate(
        """() => { const line = document.querySelector("path.winner"); const box = line.ownerSVGElement
            .getBoundingClientRect(); const at = line.getPointAtLength(line.getTotalLength() * 0.03);
            return [box.left + at.x, box.top + at.y]; }"""
    )
    seen.page.mouse.move(*ends)
    assert "trial 10, best" in seen.page.locator("#tip").inner_text()
    assert seen.page.locator("tr.marked").get_attribute("data-trial") == "10"


def test_numbers_on_bars_contrast_with_their_bars(seen: Opened) -> None:
    script = "bars => bars.map(bar => getComputedStyle(bar.querySelector('text')).fill)"
    bars = seen.page.locator("#figure-time .trace.bars")
    stopped, completed = (
        bars.filter(has=seen.page.locator("text", has_text=re.compile(f"^{number}$"))) for number in (2, 4)
    )
    assert stopped.evaluate_all(script) == ["rgb(68, 68, 68)"]  # dark on light grey
    assert completed.evaluate_all(script) == ["rgb(255, 255, 255)"]


def places(seen: Opened) -> dict[float, float]:
    """Pixels from the top of the points of the history, by their scores."""
    script = """() => { const place = document.getElementById("figure-history"), found = {};
        JSON.parse(document.getElementById("figures").textContent).history.data.forEach((trace, i) =>
            trace.y.forEach((value, j) => {
                found[value] = place._fullLayout.yaxis.c2p(place.data[i].y[j]);
            }));
        return found; }"""
    return {float(value): place for value, place in seen.page.evaluate(script).items()}


def test_two_good_scores_are_apart_on_the_first_scale(seen: Opened) -> None:
    assert seen.page.get_by_label("distance from 1").is_checked()
    before = places(seen)
    assert before[0.988] - before[0.992] > 15  # pixels
    assert before[0.015] - before[0.9] > 50  # poor trials are on the axis too
    seen.page.get_by_label("even steps").check()
    after = places(seen)
    assert after[0.988] - after[0.992] < 2
    seen.page.get_by_label("distance from 1").check()
    assert places(seen) == before


def test_a_scale_keeps_ranges_of_settings_only(seen: Opened) -> None:
    brush(seen, "learn_rate", 0.5, 1.03)
    left = numbers(seen)
    brush(seen, "val/match@01", 0.85, 1.03)
    seen.page.get_by_label("even steps").check()
    assert numbers(seen) == left
    assert "val/match@01" not in seen.page.locator("#brushed").inner_text()


@pytest.mark.parametrize("width", [1240, 800, 400])
def test_labels_do_not_overlap(path: Path, width: int) -> None:
    with opened(path, width=width) as seen:
        seen.drawn()
        assert seen.overlaps() == []
        assert seen.clipped() == []
        assert seen.page.evaluate("document.documentElement.scrollWidth") == width


def test_a_long_name_does_not_scroll_sideways(tmp_path: Path) -> None:
    search, folder = record(tmp_path / "logs", name="loss_and_rate_" * 5)
    leave_best(search, folder)
    with opened(write_report(search, folder), width=390) as seen:
        seen.drawn()
        assert seen.page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_has_light_colours_and_whole_figures(path: Path, scheme: str) -> None:
    with opened(path, scheme) as seen:
        seen.drawn()
        seen.page.emulate_media(media="print", color_scheme=scheme)  # type: ignore[arg-type]
        seen.page.set_viewport_size({"width": 688, "height": 971})  # A4 between its margins
        seen.page.wait_for_selector("html.printing", state="attached")
        assert min(seen.drawn().values()) > 0
        assert seen.overlaps() == []
        assert seen.page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 36, 48)"
        for hidden in (".bar", ".filter button"):
            assert not seen.page.locator(hidden).is_visible()
        sizes = seen.page.evaluate(
            """() => [...document.querySelectorAll("figure:not(.sheet figure) .main-svg")].map(
                drawing => [drawing.getBoundingClientRect().right, drawing.getBoundingClientRect().height])"""
        )
        assert sizes
        assert max(right for right, _ in sizes) <= 688
        assert max(height for _, height in sizes) < 900  # of a page, so that none is cut
        assert seen.page.locator("table.trials").evaluate("table => table.offsetWidth") <= 1016  # landscape
        rows = seen.page.locator("table.trials tbody tr")
        assert rows.last.is_visible()
        seen.page.emulate_media(media="screen", color_scheme=scheme)  # type: ignore[arg-type]
        seen.page.wait_for_selector("html:not(.printing)", state="attached")
        assert seen.page.locator(".bar").is_visible()
    assert seen.errors == []
