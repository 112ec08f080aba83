"""Properties of the crops: they cover the holes, fit the network and the frame, and depend on the holes alone."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.fill.crops import (
    MAX_CROPS,
    POSITION_GRID,
    TILE_OVERLAP,
    Crop,
    CropOptions,
    block_range,
    padded_pixels,
    plan_crops,
    ramp_weights,
    wanted_boxes,
)
from e2fgvi_cli.fill.windows import plan_window
from e2fgvi_cli.frames.boxes import CELL, MAX_REGIONS, hole_boxes
from e2fgvi_cli.types import Box

NETWORK = (60, 108)
FULL_HD = (1080, 1920)
LEAST_TILE = 120 * 108
"""Multiples of the network's size above TILE_OVERLAP."""

sizes = st.tuples(st.integers(1, 700), st.integers(1, 900))


@st.composite
def frames_with_boxes(draw: st.DrawFn, most: int = 8) -> tuple[tuple[int, int], list[Box]]:
    height, width = size = draw(sizes)
    boxes = []
    for _ in range(draw(st.integers(1, most))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        bottom, right = draw(st.integers(top + 1, min(height, top + 300))), draw(st.integers(left + 1, width))
        boxes.append((top, left, bottom, min(right, left + 300)))
    return size, boxes


options = st.builds(
    CropOptions,
    margin=st.integers(0, 100),
    margin_of_hole=st.sampled_from([0.0, 0.5]),
    margin_of_frame=st.sampled_from([0.0, 0.1]),
    overhead=st.sampled_from([0, 50_000]),
)
tile_limits = st.integers(LEAST_TILE, 300_000)


def painted(size: tuple[int, int], boxes: list[Box], value: float = 1) -> NDArray[np.float32]:
    alpha = np.zeros(size, np.float32)
    for top, left, bottom, right in boxes:
        alpha[top:bottom, left:right] = value
    return alpha


def weights(size: tuple[int, int], crops: tuple[Crop, ...]) -> NDArray[np.float32]:
    """(H, W): the sum of all crops' weights."""
    total = np.zeros(size, np.float32)
    for crop in crops:
        top, left, bottom, right = crop.box
        ramp = ramp_weights(crop, crop.box)
        total[top:bottom, left:right] += 1 if ramp is None else ramp
    return total


def inner(crop: Crop, size: tuple[int, int], margin: int) -> Box:
    """The crop without the pixels nearer than `margin` to those of its sides that are not the frame's."""
    top, left, bottom, right = crop.box
    return (
        top + margin if top else 0,
        left + margin if left else 0,
        bottom - margin if bottom < size[0] else bottom,
        right - margin if right < size[1] else right,
    )


# -- blocks of windows -------------------------------------------------------------------------------------------------


@given(st.integers(0, 60), st.integers(1, 12), st.integers(1, 9))
def test_the_holes_that_count_are_those_of_the_local_frames_of_the_block(number: int, hop: int, block: int) -> None:
    first_number = number // block * block
    local = [
        i
        for n in range(first_number, first_number + block)
        for i in plan_window(
            n * hop, 0, 10_000, neighbor_stride=hop, reference_stride=10, max_references=0
        ).local
    ]  # fmt: skip
    assert block_range(number * hop, hop, block) == (min(local), max(local) + 1)


def test_blocks_follow_each_other() -> None:
    assert [block_range(c, 5, 4) for c in range(0, 45, 5)] == [(0, 21)] * 4 + [(15, 41)] * 4 + [(35, 61)]
    assert block_range(15, 5, 1) == (10, 21)


# -- holes to boxes ----------------------------------------------------------------------------------------------------


@given(frames_with_boxes(40), st.sampled_from([1.0, 1e-6]))
def test_no_hole_pixel_is_outside_the_boxes(frame: tuple[tuple[int, int], list[Box]], value: float) -> None:
    size, boxes = frame
    alpha = painted(size, boxes, value)
    found = hole_boxes(alpha)
    covered = painted(size, list(found)) > 0
    assert covered[alpha > 0].all()
    assert len(found) <= MAX_REGIONS
    for top, left, bottom, right in found:
        assert 0 <= top < bottom <= size[0]
        assert 0 <= left < right <= size[1]


def test_boxes_of_holes_are_tight_to_a_cell() -> None:
    assert hole_boxes(painted(FULL_HD, [(100, 203, 300, 400), (1001, 1900, 1080, 1920)])) == (
        (96, 200, 304, 400),
        (1000, 1896, 1080, 1920),
    )
    assert hole_boxes(painted((243, 437), [(242, 436, 243, 437)])) == ((240, 432, 243, 437),)
    assert hole_boxes(painted((100, 100), [])) == ()
    assert hole_boxes(np.ones((3, 5), np.uint8)) == ((0, 0, 3, 5),)


def test_specks_beyond_number_become_a_few_boxes() -> None:
    alpha = np.zeros((480, 640), np.float32)
    alpha[::24, ::24] = 1
    found = hole_boxes(alpha)
    assert 1 <= len(found) <= MAX_REGIONS
    assert (painted(alpha.shape, list(found)) > 0)[alpha > 0].all()


# -- boxes to crops ----------------------------------------------------------------------------------------------------


@given(frames_with_boxes(), options)
def test_every_hole_lies_in_a_crop_with_its_margin(
    frame: tuple[tuple[int, int], list[Box]], options: CropOptions
) -> None:
    size, boxes = frame
    crops = plan_crops(boxes, size, NETWORK, options)
    shorter = min(min(b[2] - b[0], b[3] - b[1]) for b in boxes)
    shares = options.margin_of_hole * shorter, options.margin_of_frame * min(size)
    margin = math.ceil(max(options.margin, *shares))
    covered = painted(size, [inner(crop, size, margin) for crop in crops])
    assert (covered[painted(size, boxes) > 0] == 1).all()


@given(frames_with_boxes(), options, st.none() | tile_limits)
def test_crops_lie_in_the_frame_and_fit_the_network(
    frame: tuple[tuple[int, int], list[Box]], options: CropOptions, limit: int | None
) -> None:
    size, boxes = frame
    crops = plan_crops(boxes, size, NETWORK, replace(options, max_pixels=limit))
    assert crops
    assert limit is not None or len(crops) <= MAX_CROPS
    for crop in crops:
        assert limit is None or padded_pixels(crop.box, NETWORK) <= limit
        for start, end, extent, multiple in zip(crop.box[:2], crop.box[2:], size, NETWORK, strict=True):
            assert 0 <= start < end <= extent
            assert (end - start) % multiple == 0 or (start, end) == (0, extent)
            if limit is None:
                assert start % 4 == 0 or end == extent


@given(frames_with_boxes(), options, st.none() | tile_limits, st.randoms(use_true_random=False))
def test_crops_depend_on_the_set_of_boxes_alone(
    frame: tuple[tuple[int, int], list[Box]], options: CropOptions, limit: int | None, random: Random
) -> None:
    size, boxes = frame
    options = replace(options, max_pixels=limit)
    shuffled = [*boxes, *boxes]
    random.shuffle(shuffled)
    assert plan_crops(shuffled, size, NETWORK, options) == plan_crops(boxes, size, NETWORK, options)


@given(frames_with_boxes(), options)
def test_crops_cost_no_more_than_the_whole_frame(
    frame: tuple[tuple[int, int], list[Box]], options: CropOptions
) -> None:
    size, boxes = frame
    crops = plan_crops(boxes, size, NETWORK, options)
    whole = padded_pixels((0, 0, *size), NETWORK)
    cost = sum(padded_pixels(crop.box, NETWORK) + options.overhead for crop in crops)
    assert crops == (Crop((0, 0, *size)),) or cost < 0.9 * (whole + options.overhead)


def test_without_holes_there_is_no_crop_and_switched_off_there_is_the_whole_frame() -> None:
    assert plan_crops([], FULL_HD, NETWORK, CropOptions()) == ()
    for boxes in ([], [(500, 500, 501, 501)]):
        assert plan_crops(boxes, FULL_HD, NETWORK, CropOptions(enabled=False)) == (Crop((0, 0, *FULL_HD)),)


def test_a_tiny_hole_costs_little() -> None:
    (crop,) = plan_crops([(500, 900, 510, 910)], FULL_HD, NETWORK, CropOptions(margin=48))
    assert padded_pixels(crop.box, NETWORK) == 120 * 216
    assert crop.box == (448, 800, 568, 1016)
    assert crop.ramps == (0, 0, 0, 0)


def test_at_the_frames_edge_the_crop_is_shifted_in() -> None:
    (crop,) = plan_crops([(1075, 0, 1080, 10)], FULL_HD, NETWORK, CropOptions(margin=48))
    assert crop.box == (1020, 0, 1080, 108)


def test_far_objects_have_a_crop_each_and_near_ones_share_one() -> None:
    near, far = [(300, 300, 400, 400), (300, 420, 400, 520)], [(100, 100, 200, 200), (900, 1700, 1000, 1800)]
    assert len(plan_crops(near, FULL_HD, NETWORK, CropOptions())) == 1
    first, second = plan_crops(far, FULL_HD, NETWORK, CropOptions())
    assert wanted_boxes((100, 100, 200, 200), (first, second)) == [(100, 100, 200, 200), None]
    assert wanted_boxes((100, 100, 1000, 1800), (first, second)) == [
        (100, 100, first.box[2], first.box[3]),
        (second.box[0], second.box[1], 1000, 1800),
    ]


def test_what_a_crop_costs_anyhow_decides_about_merging() -> None:
    apart = [(300, 300, 400, 400), (300, 700, 400, 800)]
    assert len(plan_crops(apart, FULL_HD, NETWORK, CropOptions(margin=48, overhead=0))) == 2
    assert len(plan_crops(apart, FULL_HD, NETWORK, CropOptions(margin=48, overhead=100_000))) == 1


def test_many_far_objects_have_few_crops() -> None:
    boxes = [(y, x, y + 20, x + 20) for y in (40, 1080, 2100) for x in (40, 1900, 3800)]
    crops = plan_crops(boxes, (2160, 3840), NETWORK, CropOptions(overhead=0))
    assert 1 < len(crops) <= MAX_CROPS


def test_a_hole_as_large_as_the_frame_is_computed_whole() -> None:
    assert plan_crops([(40, 40, 1040, 1880)], FULL_HD, NETWORK, CropOptions()) == (Crop((0, 0, *FULL_HD)),)


def test_a_frame_smaller_than_the_networks_size_is_taken_whole() -> None:
    assert plan_crops([(0, 0, 1, 1)], (1, 1), NETWORK, CropOptions()) == (Crop((0, 0, 1, 1)),)
    (crop,) = plan_crops([(10, 800, 20, 810)], (50, 1000), NETWORK, CropOptions(margin=8))
    assert (crop.box[0], crop.box[2]) == (0, 50)
    assert crop.box[3] - crop.box[1] == 108


def test_a_larger_share_of_hole_or_frame_widens_the_margin() -> None:
    hole = (400, 800, 600, 1000)
    plain, of_hole, of_frame = (
        plan_crops([hole], FULL_HD, NETWORK, replace(CropOptions(margin=8), **share))[0].box
        for share in (dict[str, Any](), {"margin_of_hole": 1.0}, {"margin_of_frame": 0.25})
    )
    assert hole[0] - plain[0] < 100
    assert hole[0] - of_hole[0] >= 200
    assert hole[0] - of_frame[0] >= 270


def test_a_still_hole_whose_mask_trembles_keeps_its_crop() -> None:
    # Any grid has places where a pixel more is a step more; over all places they have to be rare.
    rng = np.random.default_rng(0)

    def block(top: int, left: int) -> tuple[Crop, ...]:
        edges = (np.array([top, left, top + 150, left + 260]) + rng.integers(-2, 3, (26, 4))).tolist()
        boxes = [hole_boxes(painted((480, 864), [(a, b, c, d)])) for a, b, c, d in edges]
        return plan_crops([b for frame in boxes for b in frame], (480, 864), NETWORK, CropOptions())

    places = [(100 + int(y), 200 + int(x)) for y, x in rng.integers(0, 100, (60, 2))]
    moved = sum(block(*place) != block(*place) for place in places)
    assert moved <= 1


def test_a_crop_stands_still_while_the_holes_middle_moves_by_a_pixel() -> None:
    boxes = {plan_crops([(400, 800, 500 + d, 900)], FULL_HD, NETWORK, CropOptions())[0].box for d in range(1, CELL)}
    assert len(boxes) == 1
    assert boxes.pop()[0] % POSITION_GRID == 0


# -- overlapping crops and tiles ---------------------------------------------------------------------------------------


def test_overlapping_crops_fade_in_before_their_own_holes() -> None:
    boxes = [(200, 200, 400, 1000), (440, 1040, 1000, 1200)]
    crops = plan_crops(boxes, FULL_HD, NETWORK, CropOptions(margin=48, overhead=0))
    assert len(crops) == 2
    assert wanted_boxes(crops[0].box, crops)[1] is not None
    for crop, hole in zip(crops, boxes, strict=True):
        assert ramp_weights(crop, hole) is None
        ramp = ramp_weights(crop, crop.box)
        assert ramp is not None
        assert max(ramp[0].max(), ramp[:, 0].max(), ramp[-1].max(), ramp[:, -1].max()) <= 1 / 41


@settings(deadline=None)
@given(sizes, tile_limits)
def test_tiles_cover_the_frame_overlap_and_add_up_to_one_where_two_meet(size: tuple[int, int], limit: int) -> None:
    tiles = plan_crops([], size, NETWORK, CropOptions(enabled=False, max_pixels=limit))
    total = weights(size, tiles)
    assert total.min() > 0
    count = np.zeros(size, np.int32)
    for tile in tiles:
        top, left, bottom, right = tile.box
        count[top:bottom, left:right] += 1
        assert padded_pixels(tile.box, NETWORK) <= limit
    np.testing.assert_allclose(total[count == 1], 1)
    for axis in (0, 1):
        for (_, end), (start, _) in pairwise(sorted({(tile.box[axis], tile.box[axis + 2]) for tile in tiles})):
            assert end - start >= TILE_OVERLAP
    if len({tile.box[::2] for tile in tiles}) == 1 and count.max() <= 2:
        np.testing.assert_allclose(total, 1, rtol=1e-5)


@settings(deadline=None)
@given(frames_with_boxes(), options, tile_limits)
def test_no_hole_is_lost_between_tiles(
    frame: tuple[tuple[int, int], list[Box]], options: CropOptions, limit: int
) -> None:
    size, boxes = frame
    tiles = plan_crops(boxes, size, NETWORK, replace(options, max_pixels=limit))
    assert weights(size, tiles)[painted(size, boxes) > 0].min() > 0


def test_tiles_without_a_hole_are_left_out() -> None:
    corners = [(0, 0, 300, 300), (300, 300, 600, 600), (600, 600, 900, 900)]
    limited = CropOptions(max_pixels=360 * 432)
    assert len(plan_crops(corners, FULL_HD, NETWORK, limited)) < len(
        plan_crops([(0, 0, 900, 900)], FULL_HD, NETWORK, limited)
    )


def test_weights_of_a_part_are_a_part_of_the_weights() -> None:
    crop = Crop((60, 100, 180, 316), (20, 0, 0, 70))
    whole = ramp_weights(crop, crop.box)
    assert whole is not None
    assert whole.dtype == np.float32
    assert whole[-1, 0] == 1
    assert whole[0, -1] == pytest.approx(1 / 21 / 71)
    part = ramp_weights(crop, (70, 200, 90, 310))
    assert part is not None
    np.testing.assert_array_equal(part, whole[10:30, 100:210])
    assert ramp_weights(crop, (80, 100, 180, 246)) is None
    with pytest.raises(AssertionError, match="does not lie in the crop"):
        ramp_weights(crop, (50, 100, 180, 246))


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"), [("margin", -1), ("margin_of_hole", -0.5), ("block_windows", 0), ("max_pixels", 0)]
)
def test_options_out_of_range_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{field} is {value}"):
        replace(CropOptions(), **{field: value})


def test_a_limit_below_the_smallest_tile_is_refused() -> None:
    with pytest.raises(UsageError, match=f"allow at least {LEAST_TILE}"):
        plan_crops([(0, 0, 9, 9)], FULL_HD, NETWORK, CropOptions(max_pixels=LEAST_TILE - 1))
