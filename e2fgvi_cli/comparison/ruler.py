"""A ruler along a picture, to read the pixels for --box and --mask-box off."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np

from .layout import Picture

LEFT, TOP = 30, 14
"""Pixels that the ruler takes beside and above the picture."""

_LEAST_DISTANCE = 30  # between two marks with a number
_INK = (200, 200, 200)
_FONT: Any = cv2.FONT_HERSHEY_SIMPLEX


def with_ruler(picture: Picture, size: tuple[int, int]) -> Picture:
    """The picture (uint8 RGB) with marks above and on the left, numbered in pixels of the frame of `size` (height,
    width)."""
    height, width = picture.shape[:2]
    ruled = cast(Picture, np.pad(picture, ((TOP, 0), (LEFT, 0), (0, 0))))
    canvas = cast(Any, ruled)
    for mark, place in _marks(size[1], width):
        cv2.line(canvas, (LEFT + place, TOP - 4), (LEFT + place, TOP - 1), _INK)
        cv2.putText(canvas, str(mark), (LEFT + place + 2, TOP - 4), _FONT, 0.3, _INK, 1, cv2.LINE_AA)
    for mark, place in _marks(size[0], height):
        cv2.line(canvas, (LEFT - 4, TOP + place), (LEFT - 1, TOP + place), _INK)
        cv2.putText(canvas, str(mark), (0, TOP + place + 8), _FONT, 0.3, _INK, 1, cv2.LINE_AA)
    return ruled


def _marks(pixels: int, shown: int) -> list[tuple[int, int]]:
    """(pixel of the frame, where it is shown) at steps of 1, 2 or 5 times a power of ten."""
    scale = shown / pixels
    steps = (factor * 10**power for power in range(6) for factor in (1, 2, 5))
    step = next((step for step in steps if step * scale >= _LEAST_DISTANCE), pixels)
    return [(mark, int(mark * scale)) for mark in range(0, pixels, max(step, 1))]
