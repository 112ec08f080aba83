"""Image propagation: what it finds is right, what nobody shows or all contradict is left alone, and the network gets
the rest."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.fill.sharing import fill_shot_on
from e2fgvi_cli.fill.stream import fill_shot
from e2fgvi_cli.frames.stages import FinishedFrame, HoledFrame
from e2fgvi_cli.propagation import propagate as image_propagation
from e2fgvi_cli.propagation.homography import estimate_homography, keypoints
from e2fgvi_cli.propagation.lookup import look_up
from e2fgvi_cli.propagation.options import PropagationOptions
from e2fgvi_cli.propagation.propagate import propagate
from e2fgvi_cli.propagation.query import COARSE_PIXELS, affordable_reach
from e2fgvi_cli.types import Frame
from tests.factories import clip, texture
from tests.unit.test_streaming import FakeEngine

SIZE = (96, 128)
OPTIONS = PropagationOptions()


def drifting(i: int) -> NDArray[np.uint8]:
    """A square of a fifth of the frame's height that wanders."""
    hole = np.zeros(SIZE, np.uint8)
    top, left = 30 + round(20 * np.sin(i / 3)), 20 + 4 * i % 80
    hole[top : top + 20, left : left + 20] = 1
    return hole


def fixed(i: int) -> NDArray[np.uint8]:
    return drifting(0)


def holed(pictures: NDArray[np.generic], hole: Callable[[int], NDArray[np.uint8]]) -> list[HoledFrame]:
    """With the hole's pixels black, so that nothing can be found in them."""
    return [
        HoledFrame.of(
            Frame(i, (rgb * (1 - hole(i)[:, :, None])).astype(rgb.dtype), Fraction(i, 25)),
            hole(i),
            hole(i).astype(np.float32),
        )
        for i, rgb in enumerate(pictures)
    ]


def share_and_error(items: list[HoledFrame], truth: NDArray[np.generic], **options: float) -> tuple[float, float]:
    """Of all hole pixels the share that was found, and the mean absolute error of those in 8-bit levels."""
    wanted = found = 0
    error = 0.0
    for (item, result), true in zip(propagate(items, PropagationOptions(**options)), truth, strict=True):  # type: ignore[arg-type]
        wanted += int(item.hole.sum())
        if result is not None:
            rgb, where = result
            assert not (where & (item.hole == 0)).any(), "only the hole is touched"
            assert np.array_equal(rgb[~where], item.frame.rgb[~where])
            assert rgb.dtype == item.frame.rgb.dtype
            found += int(where.sum())
            error += float(np.abs(rgb[where].astype(float) - true[where]).mean(axis=1).sum())
    levels = np.iinfo(truth.dtype).max / 255
    return found / wanted, error / max(found, 1) / levels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_a_moving_camera_shows_of_a_hole_is_found(dtype: type) -> None:
    pictures = clip(24, *SIZE).astype(dtype) * dtype(1 if dtype is np.uint8 else 257)
    share, error = share_and_error(holed(pictures, drifting), pictures)
    assert share > 0.95
    assert error < 1.5


def test_what_other_frames_show_brighter_is_taken_in_this_frames_tone() -> None:
    """Exposure that swings by a tenth, and corners that darken. Without their tones the error is 2.3."""
    y, x = np.mgrid[-1 : 1 : SIZE[0] * 1j, -1 : 1 : SIZE[1] * 1j]
    vignette = 1 - 0.12 * (y**2 + x**2)[None, :, :, None]
    swing = (1 + 0.1 * np.sin(np.arange(24) / 4))[:, None, None, None]
    pictures = np.clip(clip(24, *SIZE) * vignette * swing * 0.75, 0, 255).astype(np.uint8)
    share, error = share_and_error(holed(pictures, drifting), pictures)
    assert share > 0.97
    assert error < 1.5


def test_a_turn_and_a_zoom_are_followed() -> None:
    import cv2

    wide = texture(200, 240, seed=3)
    turns = [cv2.getRotationMatrix2D((120, 100), 1.5 * i, 1 + 0.01 * i) for i in range(16)]
    pictures = np.stack([cv2.warpAffine(wide, t, (240, 200))[52:148, 56:184] for t in turns])
    share, error = share_and_error(holed(pictures, drifting), pictures)
    assert share > 0.9
    assert error < 4


def test_large_frames_are_compared_coarsely_and_taken_finely() -> None:
    """Frames wider than the pictures they are compared in: what is found is as sharp as they are, and in its place."""
    size = (252, 1000)
    assert size[1] > 2 * COARSE_PIXELS
    pictures = clip(16, *size)
    items = []
    for i, rgb in enumerate(pictures):
        hole = np.zeros(size, np.uint8)
        hole[101:151, 203 + 22 * i : 263 + 22 * i] = 1
        items.append(HoledFrame.of(Frame(i, rgb * (1 - hole[..., None]), Fraction(i, 25)), hole, hole))
    share, error = share_and_error(items, pictures)
    assert share > 0.95
    assert error < 1.5


def test_no_line_is_taken_from_a_frames_edge() -> None:
    """Frames that move by parts of a pixel, and holes at their edges: what lies beyond an edge is not black."""
    wide = cv2.resize(texture(SIZE[0] + 8, SIZE[1] + 60) // 4 + 160, None, fx=4, fy=4)
    moves = [np.array([[0.25, 0, -0.8 * i - 0.3], [0, 0.25, -2.3]]) for i in range(16)]
    pictures = np.stack([cv2.warpAffine(wide, m, SIZE[::-1], flags=cv2.INTER_AREA) for m in moves])

    def at_the_edge(i: int) -> NDArray[np.uint8]:
        hole = np.zeros(SIZE, np.uint8)
        hole[20:70, : 30 - 3 * i if i < 8 else 0] = 1
        return hole

    items = holed(pictures, at_the_edge)
    found = 0
    for (_, result), true in zip(propagate(items, PropagationOptions(sure=-1e9)), pictures, strict=True):
        if result is not None:
            found += int(result[1].sum())
            assert np.abs(result[0][result[1]].astype(int) - true[result[1]]).max() < 40
    assert found > 500


def test_a_hole_that_a_standing_camera_never_uncovers_is_left_alone() -> None:
    pictures = np.repeat(texture(*SIZE)[None], 12, axis=0)
    assert all(found is None for _, found in propagate(holed(pictures, fixed), OPTIONS))


def test_frames_that_do_not_fit_are_not_believed() -> None:
    """Every frame another picture, but the same features in one corner: motion can be told, and means nothing for the
    hole."""
    pictures = np.stack([texture(*SIZE, seed=i) for i in range(12)])
    pictures[:, :, 100:] = texture(*SIZE, seed=99)[:, 100:]
    share, _ = share_and_error(holed(pictures, drifting), pictures)
    assert share < 0.02
    believed, error = share_and_error(holed(pictures, drifting), pictures, fit=1e9, noise=1e9, sure=-1e9)
    assert believed > 0.5, "without the checks they would be"
    assert error > 20


def test_what_fits_no_better_than_an_even_patch_is_left_to_the_network() -> None:
    """As above, with so little contrast that everything is off by few levels, whatever it shows."""
    pictures = np.stack([texture(*SIZE, seed=i) // 8 + 100 for i in range(12)])
    pictures[:, :, 100:] = texture(*SIZE, seed=99)[:, 100:]
    share, _ = share_and_error(holed(pictures, drifting), pictures)
    assert share < 0.05
    believed, _ = share_and_error(holed(pictures, drifting), pictures, noise=1e9, sure=-1e9)
    assert believed > 0.3, "it fits to 20 levels"


def test_a_frame_is_found_in_reach_only() -> None:
    pictures = clip(24, *SIZE)
    items = holed(pictures, lambda i: fixed(i) if i < 20 else np.zeros(SIZE, np.uint8))
    near, far = (list(propagate(items, PropagationOptions(reach=reach))) for reach in (2, 20))
    assert far[10][1] is not None
    assert near[10][1] is None, "two frames on the hole has hardly moved"
    assert near[22] == (items[22], None), "a frame without a hole is not searched"


def test_nothing_to_hold_on_to_is_no_error() -> None:
    flat = np.full((6, *SIZE, 3), 128, np.uint8)
    assert all(found is None for _, found in propagate(holed(flat, drifting), OPTIONS))
    blank = np.zeros((20, 20), np.uint8)
    assert estimate_homography(blank, keypoints(blank, blank), blank, blank) is None
    tiny = HoledFrame.of(
        Frame(0, np.zeros((1, 1, 3), np.uint8), Fraction(0)), np.ones((1, 1), np.uint8), np.ones((1, 1), np.float32)
    )
    for count in (0, 1, 2):
        assert [found for _, found in propagate([tiny] * count, OPTIONS)] == [None] * count


def test_reach_follows_from_the_frames_format_alone() -> None:
    assert [affordable_reach(size, 1, 30) for size in ((240, 432), (1080, 1920), (2160, 3840))] == [30, 30, 8]
    assert affordable_reach((2160, 3840), 2, 30) == 5, "16 bits a level"
    assert affordable_reach((99999, 99999), 1, 30) == 1


def test_a_part_is_what_the_whole_gives() -> None:
    items = holed(clip(40, *SIZE), drifting)
    options = PropagationOptions(reach=8)
    whole = list(propagate(items, options))
    part = list(propagate(items[4:30], options, start=8, stop=18))
    assert len(part) == 10
    for (item, found), (other, expected) in zip(part, whole[12:22], strict=True):
        assert item is other
        assert found is not None
        assert expected is not None
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("with_hole", [range(30), range(12, 15)])
def test_two_frames_are_followed_straight_once_and_for_a_hole_only(
    with_hole: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = []

    def counted(earlier, points, later, later_hole, expected=None):  # type: ignore[no-untyped-def]
        if expected is not None:
            pairs.append((id(earlier), id(later)))
        return estimate_homography(earlier, points, later, later_hole, expected)

    monkeypatch.setattr(image_propagation, "estimate_homography", counted)
    nothing = np.zeros(SIZE, np.uint8)
    items = holed(clip(30, *SIZE), lambda i: drifting(i) if i in with_hole else nothing)
    held = list(propagate(items, PropagationOptions(reach=8)))
    found = [i for i, (_, result) in enumerate(held) if result is not None]
    assert set(found) == set(with_hole)
    asked = {(min(i, j), max(i, j)) for i in with_hole for d in range(4, 9) for j in (i - d, i + d) if 0 <= j < 30}
    assert len(pairs) == len(asked)


def test_the_stream_is_read_little_further_than_it_reaches() -> None:
    items = iter(holed(clip(60, *SIZE), drifting))
    results = propagate(items, PropagationOptions(reach=5))
    next(results)
    assert len(list(items)) > 60 - 5 - 2 * 8 - 2
    results.close()  # type: ignore[attr-defined]


class Black(FakeEngine):
    """Predicts black, whatever it is shown."""

    def fill(self, window, frame, crop, wanted):  # type: ignore[no-untyped-def]
        from e2fgvi_cli.fill.blending import Prediction

        self.windows.append(window)
        self.seen = {i: frame(i) for i in window.frames}
        return [(i, Prediction(box, np.zeros((box[2] - box[0], box[3] - box[1], 3), np.float32))) for i, box in wanted]


def filled(items: list[HoledFrame], options: WindowOptions) -> tuple[list[FinishedFrame], Black]:
    engine = Black()
    return list(fill_shot(items, engine, options)), engine


def test_the_network_fills_what_is_left() -> None:
    pictures = clip(16, *SIZE)
    items = holed(pictures, drifting)
    near = PropagationOptions(reach=2)
    found = [result for _, result in propagate(items, near)]
    frames, engine = filled(items, WindowOptions(propagation=near))
    assert engine.windows, "something was left"
    for item, frame, pixels, true in zip(items, frames, found, pictures, strict=True):
        assert frame.source is item, "the writer gets the source's frame, hole and alpha"
        assert pixels is not None
        assert frame.filled is not None
        outside, left = item.hole == 0, (item.hole == 1) & ~pixels[1]
        assert np.array_equal(frame.rgb[outside], true[outside])
        assert np.array_equal(frame.filled[pixels[1]], pixels[0][pixels[1]])
        assert not frame.filled[left].any(), "what nobody shows is the network's, black here"
    rgb, hole = engine.seen[15]
    where = found[15][1] if found[15] is not None else None
    assert where is not None
    assert not (hole.astype(bool) & where).any(), "the network sees what was found"
    assert np.array_equal(rgb[where], found[15][0][where])  # type: ignore[index]


def test_the_engine_may_have_a_lookup_of_its_own() -> None:
    """Which then answers for every hole, one query at a time and in order, in every piece of a shot."""

    class Looking(Black):
        def lookup(self):  # type: ignore[no-untyped-def]
            return lambda query: (queries.append(query.number), look_up(query))[1]

    queries: list[int] = []
    items = holed(clip(16, *SIZE), drifting)
    options = WindowOptions(propagation=OPTIONS)
    expected, _ = filled(items, options)
    for frames in (fill_shot(items, Looking(), options), fill_shot_on([Looking(), Looking()], items, options)):
        assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(frames, expected, strict=True))
        assert queries == list(range(16))
        queries.clear()


def test_without_it_the_network_fills_everything() -> None:
    items = holed(clip(12, *SIZE), drifting)
    frames, _ = filled(items, WindowOptions())
    assert all(not frame.rgb[item.hole == 1].any() for item, frame in zip(items, frames, strict=True))


def test_a_shot_of_which_everything_is_found_needs_no_network() -> None:
    pictures = clip(20, *SIZE)

    def corner(i: int) -> NDArray[np.uint8]:
        hole = np.zeros(SIZE, np.uint8)
        hole[30:40, 10 + 5 * i : 20 + 5 * i] = 1
        return hole

    items = holed(pictures, corner)
    assert all(
        found is not None and np.array_equal(found[1], item.hole == 1) for item, found in propagate(items, OPTIONS)
    )
    frames, engine = filled(items, WindowOptions(propagation=OPTIONS))
    assert engine.windows == []
    assert all(frame.filled is not None for frame in frames)
    assert max(np.abs(f.rgb.astype(int) - p).max() for f, p in zip(frames, pictures, strict=True)) < 30


def test_large_frames_reach_less_far(monkeypatch: pytest.MonkeyPatch) -> None:
    items = holed(clip(24, *SIZE), drifting)
    held = items[0].frame.rgb.nbytes + 5 * items[0].hole.nbytes
    near = list(propagate(items, PropagationOptions(reach=3)))
    monkeypatch.setattr("e2fgvi_cli.propagation.query.HELD_BYTES", 7 * held)
    for (_, found), (_, expected) in zip(propagate(items, OPTIONS), near, strict=True):
        assert (found is None) == (expected is None)
        assert found is None or expected is None or np.array_equal(found[0], expected[0])


def test_the_measurement_blacks_out_what_it_scores() -> None:
    from measurements.propagation import measure

    pictures = clip(16, *SIZE)
    found = measure(pictures, np.stack([drifting(i) for i in range(16)]), OPTIONS)
    assert found.share > 0.9
    assert found.found > found.telea_there + 5
    still = np.repeat(pictures[:1], 8, axis=0)
    nothing = measure(still, np.stack([fixed(i) for i in range(8)]), OPTIONS)
    assert nothing.share == 0
    assert np.isnan(nothing.found)
    assert nothing.whole == nothing.telea_whole
