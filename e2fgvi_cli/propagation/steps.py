"""How the camera moves from a frame to the next: what image propagation and smoothing along time align frames by.

numpy and OpenCV, no torch. Shape legend: H W the frame, h w its coarse picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .homography import CoarseFrame, Homography, estimate_homography, inverse, keypoints
from .query import View, coarse_size

if TYPE_CHECKING:
    from ..frames.stages import HoledFrame

CLEARANCE = 4
"""Pixels (of the coarse pictures) that features keep from holes."""


@dataclass(frozen=True)
class Step:
    """From a frame to the next, and back, in the frames' own pixels."""

    forward: Homography
    backward: Homography


def view_of(item: HoledFrame) -> View:
    """The frame as others see it, its hole left out."""
    import cv2

    rgb: NDArray[Any] = item.frame.rgb
    coarse, hole = rgb, np.asarray(item.alpha > 0, np.uint8)
    size = coarse_size(item.frame.size)[::-1]
    if size != item.frame.size[::-1]:
        coarse = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        hole = np.asarray(cv2.resize(hole * np.uint8(255), size, interpolation=cv2.INTER_AREA) > 0, np.uint8)
    return View(rgb, coarse, hole, np.asarray(1 - cv2.dilate(hole, np.ones((5, 5), np.uint8)), np.uint8))


def coarse_frame(view: View) -> CoarseFrame:
    """Its coarse picture in gray, with keypoints that keep `CLEARANCE` pixels from holes."""
    import cv2

    coarse: NDArray[Any] = view.coarse
    eight = coarse if coarse.dtype == np.uint8 else (coarse >> 8).astype(np.uint8)
    near_hole = cv2.dilate(view.hole, np.ones((2 * CLEARANCE + 1, 2 * CLEARANCE + 1), np.uint8))
    gray: NDArray[np.uint8] = np.asarray(cv2.cvtColor(eight, cv2.COLOR_RGB2GRAY), np.uint8)
    scale = view.to_coarse
    return CoarseFrame(gray, np.asarray(near_hole), keypoints(gray, np.asarray(near_hole)), scale, inverse(scale))


def step_between(one: CoarseFrame, other: CoarseFrame) -> Step | None:
    """From one frame to the next; None where too few keypoints move together."""
    found = estimate_homography(one.gray, one.keypoints, other.gray, other.near_hole)
    if found is None:
        return None
    homography = np.asarray(other.from_coarse @ found @ one.to_coarse)
    return Step(homography, inverse(homography))
