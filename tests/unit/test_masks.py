"""Masks without any file: parsing, levels, ids, dilation, feather, boxes and polygons."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2fgvi_cli import masks
from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.masks import (
    Box,
    Dilation,
    MaskOptions,
    parse_box,
    parse_boxes,
    parse_ids,
    parse_polygon,
    parse_polygons,
)

# ---- parsing


@pytest.mark.parametrize(
    ("text", "height", "pixels"),
    [
        ("4", 240, 4),
        ("4px", 1080, 4),
        ("0", 240, 0),
        ("1%", 1080, 11),
        ("0.01%", 240, 1),
        ("0%", 240, 0),
        ("2.4", 9, 2),
        ("auto", 48, 4),
        ("auto", 480, 4),
        ("auto", 720, 6),
        ("auto", 1080, 9),
        ("auto", 2160, 18),
    ],
)
def test_dilation(text: str, height: int, pixels: int) -> None:
    assert Dilation.parse(text).pixels(height) == pixels


@pytest.mark.parametrize("text", ["", "four", "-1", "4 %%", "101%", "10001", "nan", "1e3", "4em"])
def test_dilation_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="--mask-dilation"):
        Dilation.parse(text)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("1,2,3,4", (0, 10_000), ()),
        ("1,2,3,4@10-20", (10, 20), (9, 21)),
        ("1,2,3,4@10-", (10, 999), (9,)),
        ("1,2,3,4@-20", (0, 20), (21,)),
        (" 1, 2, 3, 4 @ 7 ", (7,), (6, 8)),
    ],
)
def test_box(text: str, inside: tuple[int, ...], outside: tuple[int, ...]) -> None:
    box = parse_box(text)
    assert (box.x, box.y, box.width, box.height) == (1, 2, 3, 4)
    assert all(index in box.frames for index in inside)
    assert not any(index in box.frames for index in outside)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3", "--mask-box '1,2,3' has 3 numbers; write x,y,width,height, such as 20,30,100,40"),
        ("1,2,3,x", "--mask-box '1,2,3,x': 'x' is no number of pixels; use plain numbers"),
        ("1,2,0,4", "--mask-box '1,2,0,4': width and height must be above 0"),
        ("1,2,3,4@", "--mask-box '1,2,3,4@': '' is no frame range; write @10, @10-50, @10- or @-50"),
        ("1,2,3,4@-", "--mask-box '1,2,3,4@-': '-' is no frame range; write @10, @10-50, @10- or @-50"),
        (
            "1,2,3,4@9-3",
            "--mask-box '1,2,3,4@9-3': the frame range ends before it starts; write the smaller number first",
        ),
    ],
)
def test_box_that_is_none(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_box(text)
    assert str(caught.value) == message


def test_several_boxes_in_one_text() -> None:
    two = (parse_box("1,2,3,4@-5"), parse_box("5,6,7,8"))
    for text in ("1,2,3,4@-5; 5,6,7,8", "1,2,3,4@-5 5,6,7,8", " 1,2,3,4 @ -5 | 5,6,7,8;", "1,2,3,4@-5\n5,6,7,8"):
        assert parse_boxes(text) == two
    for text in ("1,2,3,4", "1;2;3;4", "1 2 3 4"):
        assert parse_boxes(text) == (parse_box("1,2,3,4"),)
    assert str(two[0]) == "--mask-box 1,2,3,4@0-5"
    with pytest.raises(UsageError, match="has 7 numbers; write x,y,width,height"):
        parse_boxes("1,2,3,4; 5,6,7")
    assert parse_polygons("0,0 9,0 5,8 | 1,1 9,1 5,8@3") == (
        parse_polygon("0,0 9,0 5,8"),
        parse_polygon("1,1 9,1 5,8@3"),
    )


def test_polygon() -> None:
    assert parse_polygon("0,0 10,0 5,8").points == ((0, 0), (10, 0), (5, 8))
    assert parse_polygon("0,0;10,0;5,8@3-4").frames.end == 4
    with pytest.raises(UsageError, match="has 5 numbers; write at least three points"):
        parse_polygon("1,2,3,4,5")


def test_ids() -> None:
    assert parse_ids("1, 3,255") == {1, 3, 255}
    for text in ("", "1,,2", "a", "-1", "65536", "²"):
        with pytest.raises(UsageError, match="--mask-ids"):
            parse_ids(text)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"threshold": 255}, "threshold"),
        ({"threshold": -1}, "threshold"),
        ({"feather": -1.0}, "feather"),
        ({"union": -1}, "union"),
    ],
)
def test_options_out_of_range(options: dict[str, float], name: str) -> None:
    with pytest.raises(UsageError, match=f"--mask-{name}"):
        MaskOptions(**options)  # type: ignore[arg-type]


TEXT = st.text(alphabet=string.digits + ".,;@-+ %pxeE\u0663\u00b2\n\x00", max_size=40) | st.text(max_size=20)


@settings(max_examples=400, deadline=None)
@given(text=TEXT)
def test_parsers_give_a_value_or_a_usage_error(text: str) -> None:
    """Fuzz: nothing but `UsageError` may come out, and what parses must draw."""
    for parse in (parse_box, parse_boxes, parse_polygon, parse_polygons, parse_ids, Dilation.parse):
        try:
            value = parse(text)
        except UsageError:
            continue
        if isinstance(value, Box):
            hole = masks.draw_shapes(MaskOptions(boxes=(value,)), value.frames.start, (6, 8))
            assert hole.shape == (6, 8)
        elif isinstance(value, masks.Polygon):
            hole = masks.draw_shapes(MaskOptions(polygons=(value,)), value.frames.start, (6, 8))
            assert set(np.unique(hole)) <= {0, 1}


# ---- levels and ids


def test_levels_of_every_kind_of_picture() -> None:
    gray = np.array([[0, 128, 255]], np.uint8)
    assert np.array_equal(masks.as_levels(gray), gray)
    assert np.array_equal(masks.as_levels(gray.astype(np.uint16) * 257), gray)
    assert np.array_equal(masks.as_levels(gray.astype(np.float32) / 255), gray)
    blue = np.dstack([gray * 0, gray * 0, gray])
    assert np.array_equal(masks.as_levels(blue), gray)
    assert masks.as_levels(blue, luma=True).tolist() == [[0, 15, 29]]
    cut_out = np.dstack([gray * 0 + 9, gray * 0, gray * 0, gray])
    assert np.array_equal(masks.as_levels(cut_out), gray)
    opaque = np.dstack([gray, gray, gray, gray * 0 + 255])
    assert np.array_equal(masks.as_levels(opaque), gray)


def test_threshold_keeps_compression_noise_out() -> None:
    levels = np.array([[0, 3, 127, 128, 255]], np.uint8)
    assert masks.hole_from_levels(levels, MaskOptions()).tolist() == [[0, 0, 0, 1, 1]]
    assert masks.hole_from_levels(levels, MaskOptions.published()).tolist() == [[0, 1, 1, 1, 1]]


def test_ids_of_objects() -> None:
    numbers = np.array([[0, 1, 2, 3, 300]], np.uint16)
    assert masks.select_ids(numbers, frozenset({1, 3})).tolist() == [[0, 1, 0, 1, 0]]
    assert masks.select_ids(numbers, frozenset({0, 300})).tolist() == [[1, 0, 0, 0, 1]]
    assert masks.select_ids(numbers, None).tolist() == [[0, 1, 1, 1, 1]]


# ---- size and growth


def test_resize_takes_the_nearest_pixel_as_pil_does() -> None:
    image_module = pytest.importorskip("PIL.Image")
    hole = np.random.default_rng(0).integers(0, 2, (37, 53), np.uint8)
    for size in ((74, 106), (20, 31), (37, 54), (1, 1), (200, 7)):
        expected = np.asarray(image_module.fromarray(hole).resize(size[::-1], image_module.NEAREST))
        assert np.array_equal(masks.resize_nearest(hole, size), expected)


@settings(max_examples=60, deadline=None)
@given(
    radius=st.integers(0, 12),
    points=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 39)), max_size=5),
    shape=st.sampled_from(["disc", "cross"]),
)
def test_dilation_is_the_set_of_near_pixels(radius: int, points: list[tuple[int, int]], shape: str) -> None:
    """Against the definition, by brute force: Euclidean for the disc, steps along the axes for the cross."""
    hole = np.zeros((30, 40), np.uint8)
    for y, x in points:
        hole[y, x] = 1
    rows, columns = np.mgrid[:30, :40]
    expected = np.zeros((30, 40), bool)
    for y, x in points:
        if shape == "disc":
            expected |= (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
        else:
            expected |= np.abs(rows - y) + np.abs(columns - x) <= radius
    grown = masks.dilate(hole, Dilation(radius, "px", shape))  # type: ignore[arg-type]
    assert np.array_equal(grown, expected)


def test_percent_grows_with_the_frame() -> None:
    for height in (100, 400):
        hole = np.zeros((height, height), np.uint8)
        hole[height // 2, height // 2] = 1
        assert masks.dilate(hole, Dilation(5, "%")).sum(axis=1).max() == 2 * height * 5 // 100 + 1


def test_feather_is_one_in_the_hole_and_zero_beyond_its_width() -> None:
    hole = np.zeros((21, 21), np.uint8)
    hole[8:13, 8:13] = 1
    alpha = masks.feather_alpha(hole, 3)
    assert (alpha[hole == 1] == 1).all()
    assert np.allclose(alpha[10, 12:18], [1, 0.75, 0.5, 0.25, 0, 0])
    assert np.array_equal(masks.feather_alpha(hole, 0), hole)
    assert not masks.feather_alpha(np.zeros_like(hole), 5).any()


def test_closing_is_bounded() -> None:
    """Islands of up to (2 size)^2 pixels and slits up to size pixels wide; corners and everything wider stay."""
    hole = np.zeros((120, 160), np.uint8)
    hole[10:110, 10:150] = 1
    hole[20:28, 20:28] = 0  # an island of 64 pixels
    hole[20:29, 40:49] = 0  # one of 81
    hole[50:110, 60:64] = 0  # a slit of four
    hole[50:110, 80:86] = 0  # one of six
    hole[10:40, 120:150] = 0  # a corner
    closed, added = masks.close_gaps(hole, 4)
    expected = hole.copy()
    expected[20:28, 20:28] = 1
    assert np.array_equal(closed[:45], expected[:45])
    assert closed[52:108, 60:64].all()
    assert not closed[54:110, 81:85].any()
    assert added == int(closed.sum() - hole.sum())
    assert masks.grow(hole, Dilation(0))[1] == 0


def test_only_the_default_closes() -> None:
    ring = np.zeros((60, 60), np.uint8)
    ring[20:40, 20:40] = 1
    ring[29:31, 29:31] = 0
    for dilation in (Dilation(0), Dilation(1), Dilation(4, "px", "cross"), Dilation(1, "%")):
        assert np.array_equal(masks.grow(ring, dilation)[0], masks.dilate(ring, dilation))


# ---- shapes


def test_box_covers_its_pixels_and_only_in_its_frames() -> None:
    options = MaskOptions(boxes=(parse_box("2,3,4,5@1-2"),))
    hole = masks.draw_shapes(options, 1, (10, 12))
    assert hole.sum() == 20
    assert hole[3:8, 2:6].all()
    assert not masks.draw_shapes(options, 0, (10, 12)).any()
    assert masks.draw_shapes(options, 1, (10, 12), (20, 24)).sum() == 80


def test_box_beyond_the_frame_is_cut() -> None:
    hole = masks.draw_shapes(MaskOptions(boxes=(parse_box("-5,-5,8,8"), parse_box("10,9,99,99"))), 0, (10, 12))
    assert hole[:3, :3].all()
    assert hole[9:, 10:].all()
    assert hole.sum() == 11


def test_polygon_covers_a_triangle() -> None:
    hole = masks.draw_shapes(MaskOptions(polygons=(parse_polygon("0,0 20,0 0,20"),)), 0, (20, 20))
    assert hole[2, 2]
    assert not hole[15, 15]
    assert 190 <= int(hole.sum()) <= 230  # half of the square, and the pixels its outline touches


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_turning_back_and_forth(rotation: int) -> None:
    hole = np.random.default_rng(0).integers(0, 2, (5, 7), np.uint8)
    shown = masks.turn_to_display(hole, rotation)
    assert shown.shape == ((7, 5) if rotation % 180 else (5, 7))
    assert np.array_equal(masks.turn_to_stored(shown, rotation), hole)
