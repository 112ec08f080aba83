"""What is counted of a mask and what becomes of it agree, whatever the pictures hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2fgvi_cli.errors import UserError
from e2fgvi_cli.masks import MaskOptions
from e2fgvi_cli.masks.looks import Look, Tally, is_coloured
from e2fgvi_cli.masks.reading import coverage_notices, decide

SHAPES = {"gray": (6, 7), "rgb": (6, 7, 3), "rgba": (6, 7, 4)}


@st.composite
def pictures(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Gray, RGB or RGBA of 8 or 16 bits or floats, of a few values or many."""
    shape = SHAPES[draw(st.sampled_from(sorted(SHAPES)))]
    kind = draw(st.sampled_from([np.uint8, np.uint16, np.float32]))
    top = 1 if kind == np.float32 else draw(st.sampled_from([1, 5, 100, 255, np.iinfo(kind).max]))
    values = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).integers(0, top, shape, endpoint=True)
    return (values * draw(st.sampled_from([0, 1])) if draw(st.booleans()) else values).astype(kind)


@settings(max_examples=200, deadline=None)
@given(
    clip=st.lists(pictures(), min_size=1, max_size=4), invert=st.booleans(), threshold=st.sampled_from([0, 127, 200])
)
def test_the_share_that_is_said_is_that_of_the_hole(
    clip: list[np.ndarray[Any, Any]], invert: bool, threshold: int
) -> None:
    options = MaskOptions(invert=invert, threshold=threshold)
    looks = [Look.of(one, str(index)) for index, one in enumerate(clip)]
    try:
        reading, _ = decide(looks, options)
    except UserError:
        return
    for look, picture in zip(looks, clip, strict=True):
        hole = reading.hole(picture, options)
        assert reading.share(look, options) == pytest.approx(1 - hole.mean() if invert else hole.mean())


@settings(max_examples=200, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3),
    colours=st.lists(st.tuples(*[st.sampled_from([0, 10, 64, 128, 255])] * 3), min_size=4, max_size=4),
    clear=st.booleans(),
)
def test_palettes_too(seeds: list[int], colours: list[tuple[int, int, int]], clear: bool) -> None:
    table = np.zeros((256, 4), np.uint8)
    table[:4, :3], table[:, 3] = colours, 255
    table[0, 3] = 0 if clear else 255
    clip = [np.random.default_rng(seed).integers(0, 4, (6, 7)).astype(np.uint8) for seed in seeds]
    looks = [Look.of_palette(one, table, str(index)) for index, one in enumerate(clip)]
    options = MaskOptions()
    try:
        reading, _ = decide(looks, options)
    except UserError:
        return
    for look, indices in zip(looks, clip, strict=True):
        assert reading.share(look, options) == pytest.approx(reading.hole_of_palette(indices, table, options).mean())


def test_tallies_and_colours() -> None:
    tally = Tally.of(np.array([[3, 0, 3], [9, 3, 0]], np.uint8))
    assert (tally.values.tolist(), tally.counts.tolist()) == ([0, 3, 9], [2, 3, 1])
    assert tally.share(tally.values > 0) == pytest.approx(4 / 6)
    assert tally.mapped(np.arange(256) // 4).values.tolist() == [0, 2]
    gray = np.full((2, 2, 3), 100, np.uint8)
    assert not is_coloured(gray + np.array([0, 24, 0], np.uint8))
    assert is_coloured(gray + np.array([0, 25, 0], np.uint8))
    assert is_coloured(gray + np.array([0, 1, 0], np.uint8), 0)


def test_what_is_said_of_coverage() -> None:
    assert coverage_notices([("a", 0.5), ("b", 0.0)], 2) == []
    assert coverage_notices([("a", 0.0)] * 64, 900) == [
        "warning: none of the 64 masks looked at has a hole: is it inverted, or --mask-threshold too high?"
    ]
    assert coverage_notices([("a", 0.96)], 1, inverted=True) == [
        "warning: mask a covers more than 95% of the frame: is --mask-invert right?"
    ]
