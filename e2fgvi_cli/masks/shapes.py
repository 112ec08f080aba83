"""Boxes and polygons as holes, for logos and captions."""

from __future__ import annotations

import numpy as np

from ..types import HoleArray
from .options import MaskOptions


def draw_shapes(
    options: MaskOptions, index: int, drawn_on: tuple[int, int], target: tuple[int, int] | None = None
) -> HoleArray:
    """(H, W) hole of the boxes and polygons that cover frame `index`.

    `drawn_on` (height, width) is the picture their coordinates speak of; `target` the size wanted, if another. A pixel
    belongs to a box if its centre lies inside, and to a polygon also if its outline touches it.
    """
    import cv2

    height, width = target or drawn_on
    scale_y, scale_x = height / drawn_on[0], width / drawn_on[1]
    hole = np.zeros((height, width), np.uint8)
    for box in options.boxes:
        if index in box.frames:
            left, right = _pixels(box.x * scale_x, (box.x + box.width) * scale_x, width)
            top, bottom = _pixels(box.y * scale_y, (box.y + box.height) * scale_y, height)
            hole[top:bottom, left:right] = 1
    for polygon in options.polygons:
        if index in polygon.frames:
            points = np.array(polygon.points, np.float64) * (scale_x, scale_y)
            fixed = np.rint(np.clip(points, -(2**14), 2**14) * 16 - 8).astype(np.int32)
            cv2.fillPoly(hole, [fixed.reshape(-1, 1, 2)], (1,), shift=4)
    return hole


def _pixels(start: float, end: float, size: int) -> tuple[int, int]:
    """Half-open range of the pixels whose centres lie in [start, end)."""
    first, last = int(np.ceil(start - 0.5)), int(np.ceil(end - 0.5))
    return min(max(first, 0), size), min(max(last, 0), size)
