"""The mask of a frame that a detector missed, from the masks before and after it. Pure."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..types import HoleArray
from .normalise import near_hole

MAX_GAP = 30
"""Frames: a second of film. Over more, a straight path between two shapes says little about where the object was."""


def between(before: HoleArray, after: HoleArray, place: float) -> HoleArray:
    """(H, W) hole at `place` (0: as `before`, 1: as `after`) of the way between two that are not empty, of one size.

    Each shape is moved to where its centroid would be, on a straight path; their signed distances are then mixed, so
    that one outline turns into the other.
    """
    centres = [_centroid(hole) for hole in (before, after)]
    centre = (1 - place) * centres[0] + place * centres[1]
    moved = [_moved(hole, centre - own) for hole, own in zip((before, after), centres, strict=True)]
    here = near_hole(moved[0] | moved[1], 1)  # a mean of two distances is negative nowhere else
    distance = (1 - place) * _signed_distance(moved[0][here]) + place * _signed_distance(moved[1][here])
    mixed = np.zeros_like(before)
    mixed[here] = distance < 0
    # Thin shapes that lie beside each other even so have no common outline.
    return mixed if mixed.any() else moved[round(place)]


def _centroid(hole: HoleArray) -> NDArray[np.float64]:
    """(x, y)."""
    rows, columns = np.nonzero(hole)
    return np.array([columns.mean(), rows.mean()])


def _moved(hole: HoleArray, by: NDArray[np.float64]) -> HoleArray:
    """The hole moved by whole pixels (x, y); what was cut off by the frame's edge stays unknown."""
    import cv2

    x, y = np.rint(by)
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float64)
    moved = cv2.warpAffine(hole, matrix, hole.shape[::-1], flags=cv2.INTER_NEAREST)
    return cast(HoleArray, moved) if moved.any() else hole


def _signed_distance(hole: HoleArray) -> NDArray[np.float32]:
    """Distance in pixels to the outline, negative inside."""
    import cv2

    outside = cv2.distanceTransform(1 - hole, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inside = cv2.distanceTransform(hole, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return cast(NDArray[np.float32], np.where(hole > 0, 0.5 - inside, outside - 0.5))
