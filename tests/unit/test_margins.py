"""The arithmetic of the margin table: what is computed, how bright it is, and what is compared with what."""

from __future__ import annotations

import math

import numpy as np
import pytest

from e2fgvi_cli.fill.crops import CropOptions
from e2fgvi_cli.fill.options import WindowOptions
from measurements.margins import Measured, brightness_error, computed_share, summarise, table

NETWORK = (60, 108)


def clip_holes(count: int, *boxes: tuple[int, int, int, int], first: int = 0) -> np.ndarray:
    holes = np.zeros((count, 480, 864), np.uint8)
    for top, left, bottom, right in boxes:
        holes[first:, top:bottom, left:right] = 1
    return holes


def result(clip: str, margin: int | None, psnr: float | None, brightness: float = 0.0, share: float = 1.0) -> Measured:
    return Measured(clip, "still", margin, psnr, brightness, share, math.nan if share == 1 else 10.0, 2.0)


def test_the_share_is_that_of_the_crops_of_windows_with_holes() -> None:
    options = WindowOptions()
    holes = clip_holes(30, (200, 400, 240, 440))
    share, context = computed_share(holes, NETWORK, options, CropOptions(margin=16))
    assert share == pytest.approx(120 * 108 / (480 * 864))
    assert 16 <= context <= 40
    share, context = computed_share(holes, NETWORK, options, CropOptions(enabled=False))
    assert share == 1
    assert math.isnan(context)
    assert computed_share(clip_holes(30), NETWORK, options, CropOptions())[0] == 0


def test_a_crop_counts_only_in_windows_with_a_hole_in_it() -> None:
    left, right = (200, 40, 220, 60), (200, 800, 220, 820)
    both, none = clip_holes(40, left), clip_holes(40)
    both[20:] |= clip_holes(20, right)
    crops = CropOptions(margin=8, overhead=0, block_windows=100)
    alone = computed_share(clip_holes(40, left), NETWORK, WindowOptions(), crops)[0]
    together = computed_share(both, NETWORK, WindowOptions(), crops)[0]
    # Windows are alike but for those at the two ends; the right crop counts in those around 15 to 35 of 0 to 35.
    assert 1.5 * alone < together < 1.8 * alone
    assert computed_share(none, NETWORK, WindowOptions(), crops)[0] == 0


def test_brightness_counts_hole_pixels_only_and_keeps_its_sign() -> None:
    truth = np.full((2, 4, 4, 3), 100, np.uint8)
    filled = truth.copy()
    filled[:, 0, 0] = 90
    filled[:, 3, 3] = 255
    holes = np.zeros((2, 4, 4), np.uint8)
    holes[:, 0, 0:2] = 1
    assert brightness_error(list(filled), truth, holes) == -5
    assert math.isnan(brightness_error(list(filled), truth, np.zeros_like(holes)))


def test_rows_compare_with_whole_frames_clip_by_clip() -> None:
    results = [
        result("a", None, 20.0, 1.0),
        result("a", 16, 19.0, -2.0, 0.25),
        result("b", None, 30.0),
        result("b", 16, 30.5),
        result("c", None, None),
        result("c", 16, None),
    ]
    whole, row = summarise(results)
    assert (whole.margin, whole.psnr, whole.gain, whole.cropped) == (None, 25.0, 0.0, 0)
    assert (row.psnr, row.gain, row.worst) == (24.75, -0.25, (-1.0, "a"))
    assert (row.brightness, row.lift, row.share, row.context) == (-1.0, -1.5, 0.625, 10.0)
    assert (row.cropped, row.clips, row.seconds) == (1, 2, 4.0)
    lines = table([whole, row]).splitlines()
    assert lines[2].split() == [
        "still",
        "16",
        "24.75",
        "-0.250",
        "-1.000",
        "-1.00",
        "-1.50",
        "62.5%",
        "10",
        "1/2",
        "4.0",
        "a",
    ]
    assert "whole" in lines[1]
