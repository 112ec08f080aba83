"""Blending and pasting, on numbers small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pytest

from e2fgvi_cli.fill.blending import Prediction, PublishedBlender, WeightedBlender
from e2fgvi_cli.frames.boxes import bounding_box
from e2fgvi_cli.frames.paste import insert, paste

BOX = (1, 1, 3, 3)


def prediction(level: float) -> Prediction:
    return Prediction(BOX, np.full((2, 2, 3), level / 255, np.float32))


def alpha(value: float = 1.0) -> np.ndarray:
    out = np.zeros((4, 4), np.float32)
    out[1:3, 1:3] = value
    return out


def test_bounding_box() -> None:
    assert bounding_box(np.zeros((3, 3))) is None
    hole = np.zeros((5, 7), np.uint8)
    hole[1, 2] = hole[3, 4] = 1
    assert bounding_box(hole) == (1, 2, 4, 5)
    assert bounding_box(np.ones((1, 1))) == (0, 0, 1, 1)


def test_weighted_mean_does_not_depend_on_the_order_and_is_rounded_once() -> None:
    frame = np.full((4, 4, 3), 9, np.uint8)
    results = []
    for order in ((0, 1), (1, 0)):
        blender = WeightedBlender()
        for k in order:
            blender.add(7, BOX, prediction((100.0, 103.0)[k]), (1.0, 0.5)[k])
        results.append(insert(frame, blender.finish(7, frame.dtype)(), BOX, alpha()))
    assert np.array_equal(*results)
    assert results[0][1, 1].tolist() == [101, 101, 101]
    assert results[0][0, 0].tolist() == [9, 9, 9]


def test_rounding_is_to_the_nearest_level_and_clipped() -> None:
    frame = np.zeros((4, 4, 3), np.uint8)
    for level, expected in ((99.6, 100), (99.4, 99), (255.4, 255), (-0.3, 0)):
        blender = WeightedBlender()
        blender.add(0, BOX, prediction(level), 0.3)
        assert blender.finish(0, frame.dtype)()[0, 0, 0] == expected


def test_sixteen_bits_keep_their_precision() -> None:
    frame = np.zeros((4, 4, 3), np.uint16)
    blender = WeightedBlender()
    blender.add(0, BOX, prediction(100.25), 1.0)
    assert blender.finish(0, frame.dtype)()[0, 0, 0] == round(100.25 * 257)


def test_published_merge_truncates_and_halves_in_order() -> None:
    frame = np.zeros((4, 4, 3), np.uint8)
    blender = PublishedBlender()
    for level in (10.9, 21.2, 33.9):
        blender.add(0, BOX, prediction(level), 1.0)
    # 10 and 21 give 15.5, with 33 gives 24.25: weights 1/4, 1/4, 1/2
    assert blender.finish(0, frame.dtype)()[0, 0, 0] == 24


def test_parts_are_merged_pixel_by_pixel() -> None:
    frame = np.zeros((4, 4, 3), np.uint8)
    blender = WeightedBlender()
    blender.add(0, BOX, prediction(100.0), 1.0)
    right = Prediction((1, 2, 3, 3), np.full((2, 1, 3), 200 / 255, np.float32))
    blender.add(0, BOX, right, 1.0, np.array([[1.0], [0.5]], np.float32))
    result = blender.finish(0, frame.dtype)()[:, :, 0]
    assert result.tolist() == [[100, 150], [100, round((100 + 200 * 0.5) / 1.5)]]


def test_paste_leaves_everything_outside_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    filled = np.where(alpha()[..., None] > 0, np.uint8(200), source)
    assert np.array_equal(paste(source, filled, alpha()), filled)
    soft = paste(source, filled, alpha(0.5))
    assert np.array_equal(soft[alpha() == 0], source[alpha() == 0])
    assert soft[1, 1] == pytest.approx(source[1, 1] * 0.5 + 100, abs=0.51)
