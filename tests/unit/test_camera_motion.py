"""Motions between frames: what is about known is found exactly, and only what fits better around the hole is
believed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from e2fgvi_cli.propagation.homography import CoarseFrame, Homography, Surroundings, estimate_homography, keypoints
from tests.factories import texture

SIZE = (120, 160)
NOWHERE = np.zeros(SIZE, np.uint8)


def scene() -> NDArray[np.uint8]:
    """A gray picture larger than a frame, to cut frames from."""
    return np.ascontiguousarray(texture(200, 320)[:, :, 0])


def shift(x: float, y: float) -> Homography:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def small(gray: NDArray[np.uint8], near: NDArray[np.uint8] = NOWHERE) -> CoarseFrame:
    return CoarseFrame(gray, near, keypoints(gray, near), np.eye(3), np.eye(3))


@pytest.mark.parametrize("off", [(0.0, 0.0), (1.5, -1.0), (-2.0, 1.0)])
def test_what_lies_far_away_is_found_from_about_where_it_is(off: tuple[float, float]) -> None:
    whole = scene()
    one, other = whole[:120, :160].copy(), whole[30:150, 70:230].copy()
    expected = shift(-70 + off[0], -30 + off[1])
    found = estimate_homography(one, keypoints(one, NOWHERE), other, NOWHERE, expected)
    assert found is not None
    corner = found @ np.array([100.0, 60.0, 1.0])
    assert np.allclose(corner[:2] / corner[2], (30, 30), atol=0.1)


def test_errors_that_added_up_are_mended() -> None:
    whole = scene()
    hole = NOWHERE.copy()
    hole[50:70, 80:110] = 1
    one, other = small(whole[:120, :160].copy(), hole), small(whole[:120, 20:180].copy())
    about = shift(-18.5, 1)
    straight = estimate_homography(one.gray, one.keypoints, other.gray, other.near_hole, about)
    assert straight is not None
    mended = Surroundings.of(one, (slice(40, 80), slice(70, 120))).better_fitting(about, straight, other)
    assert np.allclose(mended @ np.array([90.0, 60.0, 1.0]), (70, 60, 1), atol=0.15)


def test_a_motion_that_fits_better_around_the_hole_is_kept() -> None:
    """Most of the frame moves on, what is around the hole stays: most features say the wrong thing."""
    whole = scene()
    one = whole[:120, :160].copy()
    other = whole[:120, 3:163].copy()
    other[35:85, 65:125] = one[35:85, 65:125]
    hole = NOWHERE.copy()
    hole[50:70, 80:110] = 1
    first, second = small(one, hole), small(other)
    elsewhere = estimate_homography(one, first.keypoints, other, NOWHERE, np.eye(3))
    assert elsewhere is not None
    assert np.allclose(elsewhere[0, 2], -3, atol=0.3), "what features say"
    kept = Surroundings.of(first, (slice(40, 80), slice(70, 120))).better_fitting(np.eye(3), elsewhere, second)
    assert np.array_equal(kept, np.eye(3))
