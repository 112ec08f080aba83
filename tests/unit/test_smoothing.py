"""Smoothing along time: errors that change from frame to frame are averaged away, what really changes is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from e2fgvi_cli.fill.options import SmoothingOptions
from e2fgvi_cli.fill.smoothing import affordable, smooth
from e2fgvi_cli.frames.stages import FinishedFrame, HoledFrame
from e2fgvi_cli.threads.later import Later
from e2fgvi_cli.types import Frame
from tests.factories import clip, texture

SIZE, BOX = (96, 128), (36, 48, 60, 80)
OPTIONS = SmoothingOptions()


def filled(truth: NDArray[np.generic], fills: NDArray[np.generic]) -> list[FinishedFrame]:
    """A clip (t, H, W, 3) whose hole, always `BOX`, was filled with `fills` (t, y, x, 3)."""
    hole = np.zeros(SIZE, np.uint8)
    hole[BOX[0] : BOX[2], BOX[1] : BOX[3]] = 1
    return [
        FinishedFrame(
            HoledFrame.of(Frame(i, (rgb * (1 - hole[:, :, None])).astype(rgb.dtype), Fraction(i, 25)), hole, hole),
            Later(lambda inside=inside: inside),
        )
        for i, (rgb, inside) in enumerate(zip(truth, fills, strict=True))
    ]


def inside(pictures: NDArray[np.generic]) -> NDArray[np.generic]:
    return pictures[:, BOX[0] : BOX[2], BOX[1] : BOX[3]]


def trembling(truth: NDArray[np.generic], levels: float = 8) -> NDArray[np.generic]:
    """What is in the hole, each frame off by errors of its own."""
    peak = np.iinfo(truth.dtype).max
    noise = np.random.default_rng(0).normal(0, levels * peak / 255, inside(truth).shape)
    return np.clip(inside(truth) + noise, 0, peak).astype(truth.dtype)


def error(frames: list[FinishedFrame], truth: NDArray[np.generic]) -> float:
    return float(np.mean([np.abs(f.rgb.astype(float) - t).mean() for f, t in zip(frames, truth, strict=True)]))


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_trembles_becomes_steady_and_right(moving: bool, dtype: type) -> None:
    truth: NDArray[np.generic] = clip(24, *SIZE) if moving else np.stack([texture(*SIZE)] * 24)
    if dtype is np.uint16:
        truth = truth.astype(np.uint16) * 257
    before = filled(truth, trembling(truth))
    after = list(smooth(before, OPTIONS))
    assert error(after, truth) < 0.5 * error(before, truth)
    for frame, old in zip(after, before, strict=True):
        assert frame.source is old.source
        assert frame.rgb.dtype == dtype
        outside = old.source.hole == 0
        assert np.array_equal(frame.rgb[outside], old.rgb[outside]), "only what was filled is touched"


def test_what_changes_behind_the_hole_is_left() -> None:
    """Each frame shows something else there."""
    truth = np.stack([texture(*SIZE)] * 12)
    fills = np.stack([inside(texture(*SIZE, seed=i)[None])[0] for i in range(1, 13)])
    after = list(smooth(filled(truth, fills), OPTIONS))
    for frame, fill in zip(after, fills, strict=True):
        assert frame.inside is not None
        assert np.abs(frame.inside.get().astype(int) - fill).mean() < 4, "their mean is some 50 levels apart"


def test_frames_that_cannot_be_aligned_are_left() -> None:
    """Nothing to follow: no step is found, and nothing is averaged."""
    truth = np.full((8, *SIZE, 3), 128, np.uint8)
    fills = trembling(truth)
    after = list(smooth(filled(truth, fills), OPTIONS))
    assert all(
        f.inside is not None and np.array_equal(f.inside.get(), fill) for f, fill in zip(after, fills, strict=True)
    )


def test_a_frame_depends_on_its_reach_and_on_nothing_else() -> None:
    truth = clip(24, *SIZE)
    frames = filled(truth, trembling(truth))
    whole = list(smooth(frames, replace(OPTIONS, reach=3)))
    part = list(smooth(frames[5:18], replace(OPTIONS, reach=3)))
    for number in range(8, 15):
        assert np.array_equal(part[number - 5].rgb, whole[number].rgb)
    assert not np.array_equal(part[0].rgb, whole[5].rgb), "the control"


def test_frames_without_a_hole_pass_and_help_the_others() -> None:
    """What another frame shows of the hole is as good as a fill."""
    truth = np.stack([texture(*SIZE)] * 7)
    frames = filled(truth, trembling(truth))
    nothing = np.zeros(SIZE, np.uint8)
    whole = [
        FinishedFrame(HoledFrame.of(Frame(i, true, Fraction(i, 25)), nothing, nothing), None)
        for i, true in enumerate(truth)
    ]
    mixed = [*whole[:3], frames[3], *whole[4:]]
    after = list(smooth(mixed, OPTIONS))
    assert all(a is b for a, b in zip(after[:3] + after[4:], mixed[:3] + mixed[4:], strict=True))
    assert error([after[3]], truth[3:4]) < 0.35 * error([frames[3]], truth[3:4])


def test_reads_no_further_than_it_reaches() -> None:
    truth = clip(16, *SIZE)
    read = 0

    def counted() -> Iterator[FinishedFrame]:
        nonlocal read
        for frame in filled(truth, trembling(truth)):
            read += 1
            yield frame

    for number, _ in enumerate(smooth(counted(), replace(OPTIONS, reach=4))):
        assert read == min(number + 5, 16)


def test_off_is_as_they_come() -> None:
    frames = filled(clip(3, *SIZE), trembling(clip(3, *SIZE)))
    assert all(a is b for a, b in zip(smooth(frames, None), frames, strict=True))


def test_what_goes_wrong_in_a_fill_reaches_whoever_asks_for_the_frame() -> None:
    def broken() -> NDArray[np.uint8]:
        raise OSError("the device is gone")

    frames = filled(clip(4, *SIZE), trembling(clip(4, *SIZE)))
    frames[2] = replace(frames[2], inside=Later(broken))
    after: Callable[[], object] = lambda: [f.rgb for f in smooth(frames, OPTIONS)]  # noqa: E731
    with pytest.raises(OSError, match="the device is gone"):
        after()


def test_large_frames_are_held_for_fewer_others() -> None:
    assert [affordable(size, depth, 5) for size, depth in (((240, 432), 1), ((1080, 1920), 1), ((2160, 3840), 2))] == [
        5,
        5,
        1,
    ]


def test_a_frame_that_was_given_out_is_computed_though_nobody_asks_for_more() -> None:
    """`--preview-frame` takes one, and closes what gave it."""
    truth = clip(12, *SIZE)
    frames = filled(truth, trembling(truth))
    stream = smooth(frames, OPTIONS)
    first = next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert np.array_equal(first.rgb, next(iter(smooth(frames, OPTIONS))).rgb)
