"""`inpaint --report`: the page of a run, by a make-believe fill and by the real command."""

from __future__ import annotations

import itertools
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.frames.stages import FinishedFrame, HoledFrame
from e2fgvi_cli.jobs import Job
from e2fgvi_cli.options import InpaintOptions
from e2fgvi_cli.report.collector import SPREAD, WORST, Collector
from e2fgvi_cli.report.run_page import render_run, verdict
from e2fgvi_cli.threads.later import Later
from e2fgvi_cli.types import Frame, Summary

from ..conftest import Run
from ..factories import clip, holes, write_folder

SIZE = (72, 96)


def finished(
    index: int, rgb: np.ndarray, hole: np.ndarray, fill: np.ndarray, found: np.ndarray | None
) -> FinishedFrame:
    source = HoledFrame.of(Frame(index, rgb, Fraction(index, 10)), hole, hole)
    if source.box is None:
        return FinishedFrame(source, None)
    top, left, bottom, right = source.box
    return FinishedFrame(source, Later(lambda: fill[top:bottom, left:right]), found)


def collected(frames: int = 40, blink: int | None = None, rotation: int = 0) -> Collector:
    """A still picture whose hole stays: its left half was found, its right half not; frame `blink` is brighter."""
    rgb = clip(1, *SIZE, seed=3)[0]
    hole = np.zeros(SIZE, np.uint8)
    hole[20:40, 30:60] = 1
    found = hole.astype(bool)
    found[:, 45:] = False
    made = Collector(rotation)
    for index in range(frames):
        fill = np.clip(rgb.astype(int) + 60, 0, 255).astype(np.uint8) if index == blink else rgb
        made.add(finished(index, rgb, hole, fill, found))
    return made


def summary(filled: int = 40) -> Summary:
    return Summary("out.mp4", 40, filled, 4.0, 2**30, "process", "a <device>", "torch", "w/open.safetensors", SIZE)


def test_shares_are_of_the_holes_pixels() -> None:
    origins = collected().origins()
    assert origins.propagated == pytest.approx(0.5)
    assert origins.never == pytest.approx(0.5)
    assert origins.filled == 0
    assert verdict(origins, 40) == "50 % of the hole is never shown in any frame: expect invention there."
    turned = collected(rotation=90)
    assert turned.origins().propagated == pytest.approx(0.5)
    assert turned.viewed()[0].layers.keys() == {"source", "result", "hole", "where the fill is from"}


def test_the_page_names_the_second_that_flickers() -> None:
    made = collected(blink=23)
    assert made.flicker[0] is None
    assert max((v, i) for i, v in enumerate(made.flicker) if v is not None)[1] in (23, 24)
    page = render_run(made, summary(), {"mask": "<masks>"}, Path("clip.mp4"))
    assert re.search(r"0:02\.\d - 0:02\.4: flickers \(\d+\.\d levels in frame 2[34]\)", page)
    assert "a &lt;device&gt;" in page
    assert "&lt;masks&gt;" in page
    assert "clip.mp4 → out.mp4" in page
    calm = render_run(collected(), summary(), {}, Path("clip.mp4"))
    assert "Nothing stands out" in calm


def test_few_pictures_are_kept_of_a_long_clip() -> None:
    made = collected(frames=100, blink=77)
    kept = [frame.index for frame in made.viewed()]
    assert len(kept) <= SPREAD + 2 * WORST
    assert {77, 78} & set(kept)
    assert max(b - a for a, b in itertools.pairwise(kept)) <= 32


def test_a_clip_without_holes_has_a_page() -> None:
    made = Collector()
    for index, rgb in enumerate(clip(3, *SIZE)):
        made.add(finished(index, rgb, np.zeros(SIZE, np.uint8), rgb, None))
    page = render_run(made, summary(filled=0), {}, Path("clip.mp4"))
    assert "nothing was filled" in page


@pytest.mark.slow
def test_the_command_writes_it(tmp_path: Path, e2fgvi: Run) -> None:
    write_folder(tmp_path / "clip", clip(4, 60, 80))
    write_folder(tmp_path / "masks", holes(4, 60, 80))
    common = ("inpaint", "-v", "clip", "-m", "masks", "--max-references", "0", "--device", "cpu", "-q")
    done = e2fgvi(*common, "-o", "out", "--report", "page.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text()
    assert "of the hole" in page
    assert page.count('class="viewer"') == 1
    assert "hop 5, every 10th frame as reference, 0 references" in page
    again = e2fgvi(*common, "-o", "other", "--report", "page.html")
    assert (again.returncode, "the report page.html" in again.stderr) == (3, True)
    assert not (tmp_path / "other").exists()


def test_a_job_of_a_batch_has_no_page() -> None:
    options = InpaintOptions(video=Path("a.mp4"), mask=Path("m"), output=Path("b.mp4"), report=Path("c.html"))
    with pytest.raises(UsageError, match="job 'a': a batch writes no page"):
        Job("a", options)
