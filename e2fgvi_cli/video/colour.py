"""Matrices between RGB and the Y'CbCr of a video, as integers of any depth, in both directions.

ITU-T H.273 gives the weights (table 4) and the ranges (equations 20 to 28). Everything here is numpy; nothing decodes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RANGE_FULL = 2
MATRIX_RGB = 0
MATRIX_UNSPECIFIED = 2

# H.273 matrix coefficients -> (Kr, Kb)
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
_BT601, _BT709 = 6, 1


def matrix_or_default(matrix: int, height: int, width: int) -> int:
    """The matrix to use: the tagged one, or for an untagged picture what players assume (709 from 720p up, else
    601)."""
    if matrix in _LUMA_WEIGHTS:
        return matrix
    return _BT709 if width >= 1280 or height > 576 else _BT601


@lru_cache
def rgb_to_ycc(matrix: int, *, full_range: bool, depth: int, rgb_max: float) -> NDArray[np.float64]:
    """3x4 affine matrix: (R, G, B, 1) with 0..rgb_max to (Y, Cb, Cr) codes of `depth` bits, not yet rounded."""
    kr, kb = _LUMA_WEIGHTS[matrix]
    kg = 1.0 - kr - kb
    top = float(2**depth - 1)
    step = float(2 ** (depth - 8))
    luma_scale, luma_zero = (top, 0.0) if full_range else (219.0 * step, 16.0 * step)
    chroma_scale, chroma_zero = (top if full_range else 224.0 * step), 128.0 * step
    luma = np.array([kr, kg, kb])
    blue = (np.array([0.0, 0.0, 1.0]) - luma) / (2 * (1 - kb))
    red = (np.array([1.0, 0.0, 0.0]) - luma) / (2 * (1 - kr))
    linear = np.stack([luma * luma_scale, blue * chroma_scale, red * chroma_scale]) / rgb_max
    return _constant(np.concatenate([linear, np.array([[luma_zero], [chroma_zero], [chroma_zero]])], axis=1))


@lru_cache
def ycc_to_rgb(matrix: int, *, full_range: bool, depth: int, rgb_max: float) -> NDArray[np.float64]:
    """The exact inverse of `rgb_to_ycc`, also 3x4."""
    forward = rgb_to_ycc(matrix, full_range=full_range, depth=depth, rgb_max=rgb_max)
    inverse = np.linalg.inv(forward[:, :3])
    return _constant(np.concatenate([inverse, -inverse @ forward[:, 3:]], axis=1))


def _constant(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Not to be written to: it is computed once and shared."""
    matrix.flags.writeable = False
    return matrix


def range_scale(*, full_range: bool, depth: int, rgb_max: float) -> tuple[float, float]:
    """(gain, offset) so that gray = gain * code + offset, for a picture with luma only."""
    if full_range:
        return rgb_max / (2**depth - 1), 0.0
    step = 2.0 ** (depth - 8)
    gain = rgb_max / (219.0 * step)
    return gain, -16.0 * step * gain


def swscale_matrix(matrix: int) -> int:
    """The matrix as libswscale numbers it (its SWS_CS constants), for PyAV's `reformat`."""
    return {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}[matrix]
