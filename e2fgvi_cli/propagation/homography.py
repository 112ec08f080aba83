"""How one frame is aligned to another: one homography, from features outside of the holes, and which of two fits
better. numpy and OpenCV.

Shape legend: h w the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import HoleArray

Homography = NDArray[np.float64]
"""(3, 3) homography: where a pixel (x, y, 1) of one frame lies in another."""
Points = NDArray[np.float32]
"""(n, 1, 2): x and y, as OpenCV wants them."""

DIRECT_FROM = 4
"""From so many frames on keypoints are followed from one frame to the other, not only from frame to frame: small errors
add up."""
FEATURES, FEW_FEATURES, LEAST_FEATURES = 300, 120, 12
"""Looked for; the best of them, which are enough where it is known about where to look; and what a homography needs."""
ROUND_TRIP = 0.5
"""Pixels by which a feature that was followed forwards and back may miss its start."""
SETTLED = (3, 15, 0.02)
"""What starts near is followed for at most so many steps, until one is that short, in pixels: less time than OpenCV's
own 30 and 0.01, which are for features that never settle."""
INLIER = 1.0
"""Pixels by which a feature may miss the homography."""
APART_STEP = 3
"""Every such row and column is looked at where two homographies are compared: enough for a mean."""


def keypoints(picture: NDArray[np.uint8], hole: HoleArray) -> Points:
    """Corners (n, 1, 2) of a gray picture (h, w) outside of its hole, the best first."""
    import cv2

    points = cv2.goodFeaturesToTrack(picture, FEATURES, 0.005, 5, mask=(1 - hole) * np.uint8(255))
    return np.zeros((0, 1, 2), np.float32) if points is None else np.asarray(points, np.float32)


def estimate_homography(
    earlier: NDArray[np.uint8],
    points: Points,
    later: NDArray[np.uint8],
    later_hole: HoleArray,
    expected: Homography | None = None,
) -> Homography | None:
    """The homography that takes `points` of one gray picture (h, w) to another by those found outside of its hole; None
    with too few.

    expected: about what it is. Then pictures may lie further apart, and features are looked for near where it takes
    them.
    """
    import cv2

    if len(points) < LEAST_FEATURES:
        return None
    if expected is None:
        options = {"winSize": (15, 15), "maxLevel": 3}
        moved, found, _ = cv2.calcOpticalFlowPyrLK(earlier, later, points, None, **options)  # type: ignore[call-overload]
        back, found_back, _ = cv2.calcOpticalFlowPyrLK(later, earlier, moved, None, **options)  # type: ignore[call-overload]
        astray = np.abs(points - back).reshape(len(points), 2).max(axis=1) >= ROUND_TRIP
        good = (found & found_back).ravel().astype(bool) & ~astray
    else:
        # From near where they lie few go astray, and the homography is found without those: there and back again brings
        # nothing.
        points = points[:FEW_FEATURES]  # the best come first
        start = np.asarray(cv2.perspectiveTransform(points, expected), np.float32)
        options = {"winSize": (11, 11), "maxLevel": 0, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW, "criteria": SETTLED}
        moved, found, _ = cv2.calcOpticalFlowPyrLK(earlier, later, points, start, **options)  # type: ignore[call-overload]
        good = found.ravel().astype(bool)
    x, y = np.rint(moved.reshape(-1, 2)).astype(int).T
    good &= (x >= 0) & (x < later.shape[1]) & (y >= 0) & (y < later.shape[0])
    good[good] = later_hole[y[good], x[good]] == 0
    if good.sum() < LEAST_FEATURES:
        return None
    homography, _ = cv2.findHomography(points[good], moved[good], cv2.USAC_FAST, INLIER)
    return homography if homography is not None and abs(cv2.determinant(homography)) > 1e-3 else None


def inverse(homography: Homography) -> Homography:
    """The way back. By OpenCV, since numpy takes six times as long for so small a matrix, and holds the interpreter for
    it."""
    import cv2

    return np.asarray(cv2.invert(homography)[1])


@dataclass(frozen=True)
class CoarseFrame:
    """A coarse picture in gray (h, w) with 1 at and near its hole, and features outside of it.

    to_coarse: from the frame's pixels to these; from_coarse: back.
    """

    gray: NDArray[np.uint8]
    near_hole: HoleArray
    keypoints: Points
    to_coarse: Homography
    from_coarse: Homography


@dataclass(frozen=True)
class Surroundings:
    """What a frame shows around a hole, to tell by which of two homographies another frame fits it better.

    gray (a, b): every `APART_STEP`-th row and column; clear (a, b): 1 where nothing is near a hole; to_frame: from
    these pixels to the frame's own.
    """

    gray: NDArray[np.uint8]
    clear: HoleArray
    to_frame: Homography

    @classmethod
    def of(cls, one: CoarseFrame, region: tuple[slice, slice]) -> Surroundings:
        rows, columns = region
        place = np.array([[APART_STEP, 0, columns.start], [0, APART_STEP, rows.start], [0, 0, 1]], np.float64)
        gray, near = (np.ascontiguousarray(p[region][::APART_STEP, ::APART_STEP]) for p in (one.gray, one.near_hole))
        return cls(gray, np.asarray(near == 0, np.uint8), one.from_coarse @ place)

    def better_fitting(self, chained: Homography, direct: Homography, other: CoarseFrame) -> Homography:
        """The one of both by which `other` fits better.

        `chained`, by way of the frames between, follows what is near to the hole's plane more surely, but its small
        errors add up.
        """
        return direct if self.photometric_error(direct, other) < self.photometric_error(chained, other) else chained

    def photometric_error(self, homography: Homography, other: CoarseFrame) -> float:
        """Mean difference in levels from what `other` shows there; infinite where it shows nothing.

        homography: to it, in the frames' own pixels.
        """
        import cv2

        moved, size = other.to_coarse @ homography @ self.to_frame, self.gray.shape[::-1]
        flags = cv2.WARP_INVERSE_MAP
        aligned = cv2.warpPerspective(other.gray, moved, size, flags=flags | cv2.INTER_LINEAR)
        hidden = cv2.warpPerspective(
            other.near_hole, moved, size, flags=flags | cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=1
        )
        seen = cv2.compare(self.clear, hidden, cv2.CMP_GT)  # clear here and not hidden there
        count = cv2.countNonZero(seen)
        return cv2.norm(self.gray, aligned, cv2.NORM_L1, mask=seen) / count if count else np.inf
