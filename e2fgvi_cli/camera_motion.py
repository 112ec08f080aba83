"""How the camera moved from one frame to the next: one homography, from features outside of the holes. numpy and OpenCV.

Shape legend: h w the pictures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .types import HoleArray

Motion = NDArray[np.float64]
"""(3, 3) homography: where a pixel (x, y, 1) of one frame lies in another."""

FEATURES, LEAST_FEATURES = 300, 12
ROUND_TRIP = 0.5
"""Pixels by which a feature that was followed forwards and back may miss its start."""
INLIER = 1.0
"""Pixels by which a feature may miss the homography."""


def estimate_motion(
    earlier: NDArray[np.uint8], hole: HoleArray, later: NDArray[np.uint8], later_hole: HoleArray
) -> Motion | None:
    """The homography between two gray pictures (h, w) by their features outside of both holes; None with too few of them."""
    import cv2

    points = cv2.goodFeaturesToTrack(earlier, FEATURES, 0.005, 5, mask=(1 - hole) * np.uint8(255))
    if points is None or len(points) < LEAST_FEATURES:
        return None
    window = {"winSize": (15, 15), "maxLevel": 3}
    moved, found, _ = cv2.calcOpticalFlowPyrLK(earlier, later, points, None, **window)  # type: ignore[call-overload]
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(later, earlier, moved, None, **window)  # type: ignore[call-overload]
    good = (found & found_back).ravel().astype(bool) & (
        np.abs(points - back).reshape(len(points), 2).max(axis=1) < ROUND_TRIP
    )
    x, y = np.rint(moved.reshape(-1, 2)).astype(int).T
    good &= (x >= 0) & (x < later.shape[1]) & (y >= 0) & (y < later.shape[0])
    good[good] = later_hole[y[good], x[good]] == 0
    if good.sum() < LEAST_FEATURES:
        return None
    motion, _ = cv2.findHomography(points[good], moved[good], cv2.RANSAC, INLIER)
    return motion if motion is not None and abs(np.linalg.det(motion)) > 1e-3 else None
