"""Merging overlapping predictions of a frame and pasting them into its hole. numpy only.

Predictions cover the bounding box of what will be pasted. Shape legend: H W the frame, y x the box.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .types import PixelArray

AlphaArray = NDArray[np.float32]
"""(H, W) in [0, 1]: how much of the filled picture to take. 1 in the hole; between, where it is feathered."""


Box = tuple[int, int, int, int]
"""top, left, bottom, right; bottom and right are not included."""


def bounding_box(where: NDArray[np.generic]) -> Box | None:
    """The smallest box around the non-zero pixels of a hole or an alpha map, or None without any."""
    rows = np.flatnonzero(where.any(axis=1))
    if not rows.size:
        return None
    columns = np.flatnonzero(where.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


@dataclass(frozen=True)
class Prediction:
    """What one window says about one frame: `rgb` (y, x, 3) float32 in [0, 1], for the pixels of `box`."""

    box: Box
    rgb: NDArray[np.float32]


class WeightedBlender:
    """The weighted mean of all predictions of a frame: it does not depend on their order, and is rounded once, at the end."""

    def __init__(self) -> None:
        self._sums: dict[int, tuple[Box, NDArray[np.float32], float]] = {}

    def add(self, index: int, prediction: Prediction, weight: float) -> None:
        """Take in one prediction for frame `index`; `weight` > 0."""
        weighted = prediction.rgb * np.float32(weight)
        if index in self._sums:
            box, total, weights = self._sums[index]
            assert box == prediction.box, "the box belongs to the frame, it does not change"
            total += weighted
            self._sums[index] = (box, total, weights + weight)
        else:
            self._sums[index] = (prediction.box, weighted, weight)

    def finish(self, index: int, rgb: PixelArray, alpha: AlphaArray) -> PixelArray:
        """`rgb` (H, W, 3) with the prediction wherever `alpha` (H, W) is above 0, rounded to its dtype."""
        box, total, weights = self._sums.pop(index)
        peak = float(np.iinfo(rgb.dtype).max)
        levels = np.clip(np.rint(total * np.float32(peak / weights)), 0, peak)
        return _insert(rgb, levels, box, alpha)


class PublishedBlender:
    """The published merge: predictions truncated to 8 bits, each new one averaged half and half with what is there.

    The outcome depends on the order of the windows and is about half a level darker than a mean; kept to reproduce numbers.
    """

    def __init__(self) -> None:
        self._merged: dict[int, tuple[Box, NDArray[np.float32]]] = {}

    def add(self, index: int, prediction: Prediction, weight: float) -> None:
        """Take in one prediction for frame `index`."""
        truncated = np.floor(prediction.rgb * np.float32(255))
        if index in self._merged:
            old = self._merged[index][1]
            truncated = 0.5 * old + 0.5 * truncated
        self._merged[index] = (prediction.box, truncated)

    def finish(self, index: int, rgb: PixelArray, alpha: AlphaArray) -> PixelArray:
        """As `WeightedBlender.finish`; depths above 8 bits are scaled up from the 8-bit result."""
        box, merged = self._merged.pop(index)
        scale = np.iinfo(rgb.dtype).max // 255
        return _insert(rgb, np.floor(merged) * scale, box, alpha)


def _insert(rgb: PixelArray, inside: NDArray[np.generic], box: Box, alpha: AlphaArray) -> PixelArray:
    top, left, bottom, right = box
    result = rgb.copy()
    where = alpha[top:bottom, left:right, None] > 0
    np.copyto(result[top:bottom, left:right], inside.astype(rgb.dtype), where=where)
    return result


def paste(rgb: PixelArray, filled: PixelArray, alpha: AlphaArray) -> PixelArray:
    """The finished picture: `filled` where alpha is 1, a mix where it is between, `rgb` bit for bit where it is 0."""
    soft = (alpha > 0) & (alpha < 1)
    if not soft.any():
        return filled
    result = filled.copy()
    mix = alpha[soft][:, None]
    result[soft] = np.rint(rgb[soft] * (1 - mix) + filled[soft] * mix).astype(rgb.dtype)
    return result
