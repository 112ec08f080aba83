"""The page in Debian's Chromium: from a box to a filled clip, found again after a reload."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import make_clip, serving

pytest.importorskip("starlette", reason="the extra [ui] is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no /usr/bin/chromium"),
]


def test_from_a_box_to_a_filled_clip(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 6)
    errors: list[str] = []
    with serving(clip) as address, sync_api.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 720}, locale="en-GB")
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector('#canvas[data-frame="0"]')
        at = page.locator("#canvas").bounding_box()
        assert at is not None
        scale = at["width"] / 64
        page.mouse.move(at["x"] + 5 * scale, at["y"] + 14 * scale)
        page.mouse.down()
        page.mouse.move(at["x"] + 25 * scale, at["y"] + 34 * scale, steps=4)
        page.mouse.up()
        page.wait_for_selector("#step-mark.done")
        assert "--box 5,14,20,20@0" in page.inner_text("#command")
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
        assert page.get_attribute("#view-test", "aria-selected") == "true"
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
    assert (kept["marks"], kept["tested"], kept["filled"]) == ({"0": {"box": [5, 14, 20, 20]}}, [1], True)
