"""A real headless browser for the pages that Themo writes, by Playwright; skipped where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_SECONDS = 120
"""On a busy machine Plotly takes its time."""

OVERLAPS = """() => {
    const found = [];
    for (const place of document.querySelectorAll(".js-plotly-plot, .plot.parallel")) {
        const labels = [...place.querySelectorAll("svg text")].filter(label => label.textContent.trim() &&
            !label.closest("text text, .hoverlayer") && getComputedStyle(label).display !== "none");
        const boxes = labels.map(label => label.getBoundingClientRect()).map(box => ({
            left: box.left + 1, right: box.right - 1, top: box.top + 1, bottom: box.bottom - 1}));
        labels.forEach((label, i) => labels.slice(i + 1).forEach((other, j) => {
            const a = boxes[i], b = boxes[i + 1 + j];
            if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
                found.push(`${place.id}: ${label.textContent} | ${other.textContent}`);
        }));
    }
    return found;
}"""

CLIPPED = """() => [
    ...document.querySelectorAll(".js-plotly-plot svg text, .plot.parallel svg text")
].filter(label => {
    const box = label.getBoundingClientRect();
    const room = label.closest(".js-plotly-plot, .plot.parallel").getBoundingClientRect();
    return box.width && (box.left < room.left - 1 || box.right > room.right + 1);
}).map(label => label.textContent)"""


@dataclass
class Opened:
    """A page, and what went wrong in it or left it."""

    page: Page
    errors: list[str] = field(default_factory=list)
    """Script errors, and errors and warnings on the console, breaches of the content security policy too."""
    requests: list[str] = field(default_factory=list)
    """Addresses that were asked for, but for what lies in the page itself."""

    def drawn(self) -> dict[str, int]:
        """Names of the figures, each with the number of its traces' marks."""
        self.page.wait_for_selector("html[data-drawn=yes]", state="attached")
        script = """() => Object.fromEntries(
            [...document.querySelectorAll(".js-plotly-plot, .plot.parallel")].map(place => [
            place.id.replace("figure-", ""),
            place.querySelectorAll("svg .point, svg .points path, svg path.js-line, path.trial").length]))"""
        counted: dict[str, int] = self.page.evaluate(script)
        return counted

    def overlaps(self) -> list[str]:
        """Pairs of labels in one figure whose boxes overlap by more than a pixel."""
        found: list[str] = self.page.evaluate(OVERLAPS)
        return found

    def clipped(self) -> list[str]:
        """Labels that reach beyond the left or right side of their figure."""
        found: list[str] = self.page.evaluate(CLIPPED)
        return found


def browser_path() -> str:
    """Path of the browser; without one the test is skipped."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"needs a browser: {', '.join(NAMES)}")
    return found


@contextmanager
def opened(address: str | Path, scheme: str = "light", width: int = 1240) -> Iterator[Opened]:
    """Open a file or an address."""
    if isinstance(address, Path):
        address = address.absolute().as_uri()
    path = browser_path()
    with sync_playwright() as playwright:
        # no sandbox: it does not work for root, nor in most containers
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 1000}, color_scheme=scheme)  # type: ignore[arg-type]
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        seen = Opened(page)
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on(
            "console",
            lambda told: seen.errors.append(told.text) if told.type in ("error", "warning") else None,
        )
        page.on(
            "request",
            lambda asked: (
                seen.requests.append(asked.url) if not asked.url.startswith(("data:", "blob:")) else None
            ),
        )
        page.goto(address)
        try:
            yield seen
        finally:
            browser.close()
