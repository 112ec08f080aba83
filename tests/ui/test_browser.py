"""The page in Debian's Chromium: from a box to a filled clip, found again after a reload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from ..video.media import PORTRAIT_PHONE
from .conftest import make_clip, serving

pytest.importorskip("starlette", reason="the extra [ui] is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no /usr/bin/chromium"),
]


ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def launched(browsers: Any) -> Any:
    return browsers.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


def draw_box(page: Any, width: int, box: tuple[int, int, int, int]) -> None:
    """Drag from corner to corner of a box (x, y, w, h) in pixels of a clip `width` wide."""
    at = page.locator("#canvas").bounding_box()
    scale, (x, y, w, h) = at["width"] / width, box
    page.mouse.move(at["x"] + x * scale, at["y"] + y * scale)
    page.mouse.down()
    page.mouse.move(at["x"] + (x + w) * scale, at["y"] + (y + h) * scale, steps=4)
    page.mouse.up()


def test_from_a_box_to_a_filled_clip(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 6)
    errors: list[str] = []
    with serving(clip) as address, sync_api.sync_playwright() as browsers:
        browser = launched(browsers)
        page = browser.new_page(viewport={"width": 1200, "height": 720}, locale="en-GB")
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector('#canvas[data-frame="0"]')
        at = page.locator("#canvas").bounding_box()
        assert at is not None
        scale = at["width"] / 64
        draw_box(page, 64, (5, 14, 20, 20))
        sync_api.expect(page.locator("#hint")).to_have_text("Finding the object …")
        page.wait_for_selector("#step-mark.done")
        assert "--box 5,14,20,20@0" in page.inner_text("#command")
        sync_api.expect(page.locator("#said")).to_contain_text("What is coloured goes.")
        sync_api.expect(page.locator("#hint")).to_have_text("")
        key = "getComputedStyle(document.getElementById('do-track'), '::after').content"
        assert page.evaluate(key) == '"T"'  # keys are read, not found
        page.wait_for_selector("#canvas:not(.waiting)")
        # A stroke of the brush, taken back.
        page.keyboard.press("p")
        page.mouse.click(at["x"] + 50 * scale, at["y"] + 8 * scale)
        sync_api.expect(page.locator("#command")).to_contain_text("--keyframe 0=")
        page.keyboard.press("z")
        sync_api.expect(page.locator("#command")).to_contain_text("--box 5,14,20,20@0")
        page.keyboard.press("t")
        page.wait_for_selector("#step-track.done", timeout=60_000)
        page.keyboard.press("ArrowRight")
        page.wait_for_selector('#canvas[data-frame="1"]')
        page.keyboard.press("f")
        page.wait_for_selector("#step-test.done", timeout=60_000)
        sync_api.expect(page.locator("#view-test")).to_have_attribute("aria-selected", "true")
        sync_api.expect(page.locator("#command")).to_contain_text("--preview-frame 1")
        page.click("#do-fill")
        page.wait_for_selector("#step-fill.done", timeout=100_000)
        page.wait_for_selector("#wipe:not([hidden])")

        def redness() -> float:
            middle = "document.getElementById('canvas').getContext('2d').getImageData(14, 22, 4, 4).data"
            data = page.evaluate(f"Array.from({middle})")
            return sum(data[0::4]) / 16 - sum(data[2::4]) / 16

        page.evaluate("const w = document.getElementById('wipe'); w.value = 0; w.oninput()")
        after = redness()
        page.evaluate("const w = document.getElementById('wipe'); w.value = 100; w.oninput()")
        before = redness()
        assert before > 150
        assert after < 60
        page.reload()
        page.wait_for_selector("#step-fill.done")
        page.wait_for_selector('#canvas[data-frame="1"]')
        assert page.locator("#steps li.done").count() == 4
        page.click("#language")
        assert page.inner_text("#do-track") == "双向跟踪"
        browser.close()
    assert errors == []
    kept = json.loads((tmp_path / "clip.mp4.e2fgvi" / "state.json").read_text())
    assert (kept["marks"], kept["tested"], kept["filled"]) == ({"1": {"0": {"box": [5, 14, 20, 20]}}}, [1], True)


def test_two_windows_on_a_turned_clip_one_of_which_is_closed_while_it_follows(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "upright.mp4", 4, PORTRAIT_PHONE)
    with serving(clip) as address, sync_api.sync_playwright() as browsers:
        browser = launched(browsers)
        first, second = browser.new_context().new_page(), browser.new_context().new_page()
        for page in (first, second):
            page.goto(address)
            page.wait_for_selector('#canvas[data-frame="0"]')
        assert first.inner_text("#facts").startswith("48×64")  # as a player shows it
        draw_box(first, 48, (15, 5, 18, 18))
        first.wait_for_selector("#step-mark.done")
        command = first.inner_text("#command")
        assert "--box 15,5,18,18@0" in command
        assert command.endswith("--overwrite --device cpu")
        # The other window has not seen that: what it draws is not taken, it shows the box instead.
        draw_box(second, 48, (2, 30, 10, 10))
        sync_api.expect(second.locator("#said")).to_contain_text("another window changed upright.mp4")
        sync_api.expect(second.locator("#command")).to_contain_text("--box 15,5,18,18@0")
        first.keyboard.press("t")
        sync_api.expect(first.locator("#job-what")).to_contain_text("Following")
        first.close()
        second.reload()
        second.wait_for_selector("#step-track.done", timeout=60_000)
        browser.close()
    masks = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in sorted(clip.parent.glob("*.e2fgvi/masks/*.png"))]
    assert [mask.shape for mask in masks] == [(64, 48)] * 4
    assert masks[0][10:18, 20:28].all()
    assert not masks[0][30:].any()


def test_two_objects_have_a_colour_and_a_number_each(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 4, green=True)
    errors: list[str] = []
    with serving(clip) as address, sync_api.sync_playwright() as browsers:
        browser = launched(browsers)
        page = browser.new_page(viewport={"width": 1200, "height": 720}, locale="en-GB", color_scheme="dark")
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector('#canvas[data-frame="0"]')
        assert page.is_disabled("#object-new")  # the first is not marked yet
        draw_box(page, 64, (5, 14, 20, 20))
        page.wait_for_selector("#step-mark.done")
        page.click("#object-new")
        assert page.get_attribute("#object-2", "aria-pressed") == "true"
        page.keyboard.press("1")
        page.keyboard.press("2")
        draw_box(page, 64, (47, 31, 16, 16))
        sync_api.expect(page.locator("#command")).to_contain_text("--box 5,14,20,20@0 --box 2:47,31,16,16@0")
        sync_api.expect(page.locator("#marks")).to_have_text("Marked frames: 1: 0; 2: 0")
        page.keyboard.press("t")
        page.wait_for_selector("#step-track.done", timeout=60_000)
        page.keyboard.press("End")
        page.wait_for_selector('#canvas[data-frame="3"]')
        at = "document.getElementById('canvas').getContext('2d').getImageData"
        first, second = (page.evaluate(f"Array.from({at}({x}, {y}, 1, 1).data)") for x, y in ((20, 24), (49, 39)))
        assert first[:3] == pytest.approx([242, 57, 97], abs=16)  # half red, half pink
        assert second[:3] == pytest.approx([51, 200, 137], abs=16)  # half green, half blue
        # Undo takes the second box back, with the object it is of.
        page.keyboard.press("1")
        page.keyboard.press("z")
        sync_api.expect(page.locator("#command")).to_contain_text("--box 5,14,20,20@0 -o")
        assert page.get_attribute("#object-2", "aria-pressed") == "true"
        page.click("#language")
        assert page.get_attribute("#object-2", "aria-label") == "物体 2"
        # In a narrow window the steps stand below the picture, and nothing is cut off at the side.
        page.set_viewport_size({"width": 400, "height": 700})
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")  # it is laid out
        assert page.locator("#canvas").bounding_box()["width"] > 280
        edges = "Math.max(...[...document.querySelectorAll('button')].map(b => b.getBoundingClientRect().right))"
        assert page.evaluate(edges) <= 400
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.click("#object-1")
        assert page.get_attribute("#object-1", "aria-pressed") == "true"
        browser.close()
    assert errors == []
    masks = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in sorted(clip.parent.glob("*.e2fgvi/masks/*.png"))]
    assert [(int(mask[24, 14 + 2 * n]), int(mask[39, 55 - 2 * n])) for n, mask in enumerate(masks)] == [(1, 2)] * 4
