"""How much brighter or warmer a frame is than another one aligned with it: exposure, white balance and vignetting.

A plane of levels for each channel is fitted to what both show around the hole, and added to what is taken from the
other frame. Made of sums alone: `propagation.gpu.tone` computes the same for all candidates at once. numpy only.

Shape legend: y x the coarse region around a hole, n some of its pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
"""(3, 3): levels at the region's first pixel, more a column, and more a row; of each channel."""

EVERY = 2
"""Such rows and columns of the region are looked at: enough for a mean."""
FIRST_LIMIT, LIMIT, ROUNDS = 25.0, 12.0, 2
"""Levels of 8 bits. What differs by more than the first does not count at all, then, so many times, what is further
than the second from the mean of the rest: another thing, or badly aligned."""
STIFFNESS, FLOOR = 0.01, 0.5
"""Slopes are held to 0 as if so large a part of the pixels, and so many of them, said so at the region's edges: a few
pixels on one side say nothing of the other."""


def fit_tone(apart: NDArray[np.float32], compared: NDArray[np.bool_], levels: float) -> Plane:
    """The plane that is nearest to `apart` (y, x, 3), what the frame has more than the aligned one, where `compared`
    (y, x).

    levels: how many of the frames' make one of 8 bits. All 0 where nothing is compared.
    """
    rows, columns = np.nonzero(compared[::EVERY, ::EVERY])
    values = apart[::EVERY, ::EVERY][rows, columns]
    gray = values.mean(axis=1)
    counted = np.abs(gray) < FIRST_LIMIT * levels
    for _ in range(ROUNDS):
        middle = gray[counted].sum() / max(np.count_nonzero(counted), 1)
        counted = np.abs(gray - middle) < LIMIT * levels
    plane = np.zeros((3, 3), np.float32)
    number = np.count_nonzero(counted)
    if number == 0:
        return plane
    values = values[counted].astype(np.float64)
    height, width = compared.shape
    places = np.stack([columns[counted] * (EVERY / width), rows[counted] * (EVERY / height)])
    mean, middle_place = values.mean(axis=0), places.mean(axis=1)
    centred = places - middle_place[:, None]
    squares = centred @ centred.T + (STIFFNESS * number + FLOOR) * np.eye(2)
    slopes = np.linalg.solve(squares, centred @ values)
    plane[0] = mean - middle_place @ slopes
    plane[1:] = slopes / [[width], [height]]
    return plane


def tone_of(plane: Plane, size: tuple[int, int]) -> NDArray[np.float32]:
    """(y, x, 3): the plane's levels at each pixel of a region of `size` (y, x)."""
    rows, columns = (np.arange(n, dtype=np.float32)[:, None] for n in size)
    return np.asarray((plane[0] + rows * plane[2])[:, None] + columns * plane[1], np.float32)
