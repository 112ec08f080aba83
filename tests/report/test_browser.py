"""The pages in Debian's Chromium, opened from the disk: they render, the slider moves, nothing is complained of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2fgvi_cli.report.run_page import render_run

from ..conftest import Run
from ..factories import clip, write_folder
from .test_run_report import collected, summary

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no /usr/bin/chromium")]


@contextmanager
def opened(file: Path, scheme: str = "light") -> Iterator[Any]:
    """The page; at the end nothing may have been complained of or asked for elsewhere."""
    complaints: list[str] = []
    with sync_api.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme=scheme)
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: None if asked.url[:5] in ("file:", "data:") else complaints.append(asked.url))
        page.goto(file.as_uri())
        yield page
        browser.close()
    assert complaints == []


def place(page: Any, number: int = 0) -> float:
    """Where the line of a viewer is, in percent."""
    return float(page.locator(".stage").nth(number).evaluate("s => s.style.getPropertyValue('--at')").rstrip("%"))


def test_the_page_of_an_evaluation(tmp_path: Path, e2fgvi: Run) -> None:
    for seed, name in enumerate(("bear", "camel")):
        write_folder(tmp_path / "data" / name / "frames", clip(6, 72, 96, seed))
    arguments = ("--masks", "seed:3:moving", "--methods", "propagated,telea", "-o", "out", "--html", "page.html")
    assert e2fgvi("evaluate", "data", *arguments).returncode == 0
    with opened(tmp_path / "page.html", "dark") as page:
        assert page.locator(".viewer").count() == 2
        page.keyboard.press("ArrowRight")
        assert place(page) == 54
        box = page.locator(".stage").first.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 20)
        page.mouse.down()
        page.mouse.up()
        assert place(page) == pytest.approx(25, abs=1)
        first = page.locator(".stage img.left").first.get_attribute("src")
        page.keyboard.press(".")
        assert page.locator(".stage img.left").first.get_attribute("src") != first
        page.keyboard.press("1")
        assert page.locator(".stage b.r").first.inner_text() == "truth"
        page.keyboard.press("j")
        page.keyboard.press("ArrowLeft")
        assert (place(page), place(page, 1)) == (pytest.approx(25, abs=1), 46)
        assert page.locator(".stage img").first.evaluate("one => one.naturalWidth") == 96
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.click("#theme")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
        assert page.evaluate("document.documentElement.scrollWidth") <= 1200
        # The worst clip is first.
        titles = page.locator(".card h2").all_inner_texts()
        assert titles[0] == "Means"
        assert {titles[1].split(",")[0], titles[2].split(",")[0]} == {"bear", "camel"}


def test_the_page_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(render_run(collected(blink=23), summary(), {}, Path("clip.mp4")))
    with opened(tmp_path / "page.html") as page:
        assert page.locator(".verdict").inner_text().startswith("50 % of the hole is never shown")
        widths = page.locator(".bar i").evaluate_all("parts => parts.map(one => one.getBoundingClientRect().width)")
        assert widths[0] == pytest.approx(widths[2], rel=0.01)
        assert widths[1] == 0
        page.locator(".moments button").first.click()
        assert "frame 2" in page.locator(".thumbs button[aria-pressed=true]").inner_text()
        page.locator(".viewer select").nth(1).select_option("where the fill is from")
        assert page.locator(".stage b.r").inner_text() == "where the fill is from"
        page.locator(".viewer input").fill("80")
        assert place(page) == 80
        assert page.locator("svg").count() == 5
