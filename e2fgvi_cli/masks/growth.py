"""How the default grows a hole: with the size of the frame, and closed where only crumbs of the object would be left. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..types import HoleArray
from .normalise import dilate, distance_to, near_hole
from .options import Dilation


def grow(hole: HoleArray, dilation: Dilation) -> tuple[HoleArray, int]:
    """The hole dilated, and, where the dilation is the default's, its gaps closed; how many pixels that added."""
    grown = dilate(hole, dilation)
    if dilation.unit != "auto" or not grown.any():
        return grown, 0
    return close_gaps(grown, dilation.pixels(*hole.shape))


def close_gaps(hole: HoleArray, size: int) -> tuple[HoleArray, int]:
    """The hole without islands of up to (2 `size`)^2 pixels in it and slits up to `size` wide; how many pixels that added.

    Corners stay as sharp as they are: what a closing adds counts as a slit only from `size`^2 pixels on.
    """
    import cv2

    here = near_hole(hole, size)
    inside = np.ascontiguousarray(hole[here])
    reach = size / 2
    wider = (distance_to(inside) <= reach + 1e-3).astype(np.uint8)
    # Beyond the frame is neither hole nor background: a strip between the hole and the frame's edge is a slit, too.
    closed = inside | (cv2.distanceTransform(wider, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > reach + 1e-3).astype(np.uint8)
    added = _pieces(closed - inside, lambda areas: areas >= size * size, connectivity=8)
    islands = _pieces(1 - inside, lambda areas: areas <= (2 * size) ** 2, connectivity=4)
    whole = inside | added | islands
    result = hole.copy()
    result[here] = whole
    return result, int(np.count_nonzero(whole) - np.count_nonzero(inside))


def _pieces(
    picture: HoleArray, keep: Callable[[NDArray[np.int32]], NDArray[np.bool_]], *, connectivity: int
) -> HoleArray:
    """The connected pieces of 1s whose areas in pixels `keep` chooses."""
    import cv2

    _, labels, statistics, _ = cv2.connectedComponentsWithStats(picture, connectivity=connectivity)
    chosen = np.zeros(len(statistics), np.uint8)
    chosen[1:] = keep(cast(Any, statistics)[1:, cv2.CC_STAT_AREA])
    return cast(HoleArray, chosen[labels])
