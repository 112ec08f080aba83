"""Boxes around what is to be filled. numpy only.

Boxes are (top, left, bottom, right) in pixels. Shape legend: H W the frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..types import Box

CELL = 8
"""Holes are located to this many pixels, outwards: eight 1-byte flags are one 64-bit word, which makes reducing 1080p
cheap."""

MAX_REGIONS = 16
"""Separate regions told apart, a frame and a block; where there are more, near ones count as one."""


def bounding_box(where: NDArray[np.generic]) -> Box | None:
    """The smallest box around the non-zero pixels of a hole or an alpha map, or None without any."""
    rows = np.flatnonzero(where.any(axis=1))
    if not rows.size:
        return None
    columns = np.flatnonzero(where.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def hole_boxes(alpha: NDArray[np.generic]) -> tuple[Box, ...]:
    """Boxes around the separate regions of `alpha` (H, W) > 0: at most `MAX_REGIONS`, none smaller than its region.

    They end at multiples of `CELL` or at the frame's edge. Regions nearer than that to each other come as one.
    """
    height, width = alpha.shape
    padded = (-(-height // CELL) * CELL, -(-width // CELL) * CELL)
    above = np.zeros(padded, np.bool_)
    np.greater(alpha, 0, out=above[:height, :width])
    words = above.view(np.uint64).reshape(padded[0] // CELL, CELL, padded[1] // CELL)
    return regions(np.bitwise_or.reduce(words, axis=1) != 0, (height, width))


def regions(cells: NDArray[np.bool_], size: tuple[int, int]) -> tuple[Box, ...]:
    """Boxes in pixels of the connected parts of a map of `CELL`-sized cells; coarser cells until they are few
    enough."""
    import cv2

    if not cells.any():
        return ()
    cell = CELL
    while True:
        count, _, stats, _ = cv2.connectedComponentsWithStats(cells.view(np.uint8), connectivity=8)
        if count - 1 <= MAX_REGIONS:
            break
        cells = np.pad(cells, [(0, side % 2) for side in cells.shape])
        cells = cells[0::2, 0::2] | cells[0::2, 1::2] | cells[1::2, 0::2] | cells[1::2, 1::2]
        cell *= 2
    height, width = size
    return tuple(
        (y * cell, x * cell, min((y + h) * cell, height), min((x + w) * cell, width))
        for x, y, w, h, _ in stats[1:].tolist()
    )
