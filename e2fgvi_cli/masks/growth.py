"""How the default grows a hole: with the size of the frame, and closed where only crumbs of the object would be left.
Pure."""

from __future__ import annotations

from typing import cast

import numpy as np

from ..types import HoleArray
from .normalise import dilate, near_hole
from .options import Dilation


def grow(hole: HoleArray, dilation: Dilation) -> tuple[HoleArray, int]:
    """The hole dilated, and, where the dilation is the default's, its gaps closed; how many pixels that added."""
    grown = dilate(hole, dilation)
    if dilation.unit != "auto" or not grown.any():
        return grown, 0
    return close_gaps(grown, dilation.pixels(*hole.shape))


def close_gaps(hole: HoleArray, size: int) -> tuple[HoleArray, int]:
    """The hole without islands of up to (2 `size`)^2 pixels in it and slits up to `size` wide; how many pixels that
    added.

    Corners stay as sharp as they are: what a closing adds counts as a slit only from 3/2 `size`^2 pixels on.
    """
    import cv2

    here = near_hole(hole, size)
    inside = np.ascontiguousarray(hole[here])
    side = 2 * (size // 2) + 1  # odd, for others move the picture
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    closed = cast(HoleArray, cv2.morphologyEx(inside, cv2.MORPH_CLOSE, disc))
    slits = _pieces(closed - inside, 3 * size * size // 2, inside.size)
    islands = _pieces(1 - inside, 1, (2 * size) ** 2)
    whole = inside | slits | islands
    result = hole.copy()
    result[here] = whole
    return result, int(np.count_nonzero(whole) - np.count_nonzero(inside))


def _pieces(picture: HoleArray, least: int, most: int) -> HoleArray:
    """The connected pieces of 1s that have `least` to `most` pixels."""
    import cv2

    found = np.zeros_like(picture)
    outlines, tree = cv2.findContours(picture, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for outline, place in zip(outlines, tree[0] if outlines else (), strict=True):
        if place[3] >= 0:  # the outline of a hole in a piece
            continue
        left, top, width, height = cv2.boundingRect(outline)
        # The rectangle is no smaller than the piece, the outline no longer: few pieces have to be looked at.
        if width * height < least or len(outline) > 2 * most:
            continue
        rows, columns = slice(top, top + height), slice(left, left + width)
        filled = np.zeros((height, width), np.uint8)
        cv2.drawContours(filled, [outline], -1, (1,), cv2.FILLED, offset=(-left, -top))
        piece = filled & picture[rows, columns]
        if least <= np.count_nonzero(piece) <= most:
            found[rows, columns] |= piece
    return found
