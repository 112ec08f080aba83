"""Putting what was filled into the picture. numpy only.

Shape legend: H W the frame, y x the box.
"""

from __future__ import annotations

import numpy as np

from ..types import AlphaArray, Box, PixelArray


def insert(rgb: PixelArray, inside: PixelArray, box: Box, alpha: AlphaArray) -> PixelArray:
    """A copy of `rgb` (H, W, 3) with `inside` (y, x, 3) in `box`, wherever `alpha` is above 0."""
    top, left, bottom, right = box
    result = rgb.copy()
    where = alpha[top:bottom, left:right, None] > 0
    np.copyto(result[top:bottom, left:right], inside, where=where)
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
