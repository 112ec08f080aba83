"""What no frame shows: by a camera that stands, one that pans, across a cut."""

from __future__ import annotations

import numpy as np
import pytest

from e2fgvi_cli.report.revealed import Revealed

from ..factories import texture

SIZE = (96, 160)


def revealed(frames: list[np.ndarray], holes: list[np.ndarray]) -> Revealed:
    found = Revealed()
    for frame, hole in zip(frames, holes, strict=True):
        found.add(frame, hole)
    return found


def box(left: int, width: int = 30) -> np.ndarray:
    hole = np.zeros(SIZE, bool)
    hole[30:60, left : left + width] = True
    return hole


def noisy(seed: int) -> np.ndarray:
    """With corners to follow."""
    grain = np.random.default_rng(seed).integers(-40, 40, (*SIZE, 1))
    return np.clip(texture(*SIZE, seed).astype(int) + grain, 0, 255).astype(np.uint8)


def test_what_stays_covered_before_a_still_camera_is_never_shown() -> None:
    frame = noisy(1)
    still = revealed([frame] * 5, [box(50)] * 5)
    assert still.size == SIZE
    assert np.array_equal(still.never(2), box(50))
    # A hole that moves by 10 shows all but what all holes share.
    moving = revealed([frame] * 3, [box(50 + 10 * i) for i in range(3)])
    assert np.array_equal(moving.never(0), box(70, 10))
    assert not revealed([frame] * 2, [box(20), box(100)]).never(0).any()


def test_a_pan_shows_what_a_hole_fixed_to_the_screen_covers() -> None:
    wide = np.hstack([noisy(1), noisy(2)])
    panned = [wide[:, 6 * i : 6 * i + SIZE[1]] for i in range(10)]
    found = revealed(panned, [box(60)] * 10)
    assert found.lost == 0
    # After 54 pixels all 30 were shown, but for what rounding leaves at the edge.
    assert found.never(0).sum() < 0.1 * box(60).sum()
    halfway = revealed(panned[:3], [box(60)] * 3)
    # Frame 0 sees what frame 2 has on its left: 12 of 30 columns.
    assert halfway.never(0).mean() / box(60).mean() == pytest.approx(18 / 30, abs=0.1)


def test_nothing_is_seen_across_a_cut() -> None:
    frames = [noisy(1)] * 2 + [noisy(5)] * 2
    found = revealed(frames, [box(50)] * 2 + [box(110)] * 2)
    assert found.lost == 1
    assert np.array_equal(found.never(0), box(50))


def test_small_and_plain_pictures_do_no_harm() -> None:
    plain = np.full((6, 9, 3), 80, np.uint8)
    hole = np.zeros((6, 9), bool)
    hole[2:4, 3:5] = True
    found = revealed([plain] * 3, [hole] * 3)
    assert found.lost == 2
    assert np.array_equal(found.never(1), hole)
    large = revealed([np.zeros((300, 640, 3), np.uint8)], [np.zeros((300, 640), bool)])
    assert large.size == (75, 160)
