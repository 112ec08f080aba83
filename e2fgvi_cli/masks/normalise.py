"""From a mask picture to a hole: levels, ids, threshold, size, dilation, feather. numpy and OpenCV, nothing is read
here."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..types import AlphaArray, HoleArray
from .options import Dilation, MaskOptions


def as_levels(picture: NDArray[Any], *, luma: bool = False) -> NDArray[np.uint8]:
    """(H, W) uint8 0..255 of a mask picture: gray, RGB or RGBA, 8 or 16 bits, or float in 0..1.

    RGBA whose alpha is not the same everywhere: the alpha channel. Colours: the largest channel, so that a red or blue
    mask counts like a white one; `luma` takes their luma instead, rounded as PIL's "L" mode does.
    """
    picture = to_eight_bits(picture)
    if picture.ndim == 2:
        return picture
    if has_mask_alpha(picture):
        return np.ascontiguousarray(picture[:, :, 3])
    if luma:
        weighted = picture[:, :, :3].astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)
        return ((weighted + 0x8000) >> 16).astype(np.uint8)
    import cv2

    # Not rgb.max(axis=2): numpy reduces three neighbours at a time, 20 times slower.
    red, green, blue = cv2.split(picture)[:3]
    return cast(NDArray[np.uint8], cv2.max(cv2.max(red, green, dst=red), blue, dst=red))


def has_mask_alpha(picture: NDArray[Any]) -> bool:
    """Whether a picture is RGBA with an alpha channel that says something."""
    return picture.ndim == 3 and picture.shape[2] == 4 and bool(picture[:, :, 3].min() != picture[:, :, 3].max())


def to_eight_bits(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 of samples in uint8, uint16 (0..65535) or float (0..1)."""
    if picture.dtype == np.uint16:
        return np.rint(picture / 257.0).astype(np.uint8)
    if picture.dtype.kind == "f":
        return np.rint(np.clip(np.nan_to_num(picture), 0, 1) * 255).astype(np.uint8)
    return picture.astype(np.uint8, copy=False)


def select_ids(ids_image: NDArray[Any], ids: frozenset[int] | None) -> HoleArray:
    """(H, W) hole of an image of object numbers: those in `ids`, or with None every number but 0."""
    if ids is None:
        return (ids_image > 0).astype(np.uint8)
    return np.isin(ids_image, sorted(ids)).astype(np.uint8)


def hole_from_levels(levels: NDArray[np.uint8], options: MaskOptions) -> HoleArray:
    """(H, W) hole: levels above the threshold."""
    return (levels > options.threshold).astype(np.uint8)


def resize_nearest(hole: HoleArray, size: tuple[int, int]) -> HoleArray:
    """To (height, width), each pixel taking the one nearest to its centre (as PIL's NEAREST)."""
    import cv2

    if hole.shape == size:
        return hole
    return cast(HoleArray, cv2.resize(hole, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))


def turn_to_stored(picture: NDArray[Any], rotation: int) -> NDArray[Any]:
    """A picture in display orientation, turned back to how the frames are stored. `rotation` is counter-clockwise
    degrees from stored to displayed; other than quarter turns are left alone."""
    quarter_turns = (rotation // 90) % 4 if rotation % 90 == 0 else 0
    return np.ascontiguousarray(np.rot90(picture, -quarter_turns)) if quarter_turns else picture


def turn_to_display(picture: NDArray[Any], rotation: int) -> NDArray[Any]:
    """The inverse of `turn_to_stored`."""
    return turn_to_stored(picture, -rotation % 360)


def dilate(hole: HoleArray, dilation: Dilation) -> HoleArray:
    """The hole grown by `dilation`, which may depend on this array's size."""
    import cv2

    radius = dilation.pixels(*hole.shape)
    if radius == 0 or not hole.any():
        return hole
    if dilation.shape == "cross":
        cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
        return cast(HoleArray, cv2.dilate(hole, cross, iterations=radius))
    near = near_hole(hole, radius)
    grown = np.zeros_like(hole)
    grown[near] = distance_to(hole[near]) <= radius + 1e-3
    return grown


def near_hole(hole: HoleArray, reach: float) -> tuple[slice, slice]:
    """Rows and columns that hold every pixel within `reach` of the hole, which must not be empty."""
    import cv2

    left, top, width, height = cv2.boundingRect(hole)
    more = math.ceil(reach) + 1
    return slice(max(top - more, 0), top + height + more), slice(max(left - more, 0), left + width + more)


def distance_to(hole: HoleArray) -> NDArray[np.float32]:
    """The Euclidean distance in pixels of each pixel to the hole, which must not be empty."""
    import cv2

    return cast(NDArray[np.float32], cv2.distanceTransform(1 - hole, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


def feather_alpha(hole: HoleArray, feather: float) -> AlphaArray:
    """(H, W) 0..1 for pasting: 1 in the hole, falling linearly to 0 at `feather` + 1 pixels outside of it (then
    float32)."""
    if feather <= 0 or not hole.any():
        return hole
    near = near_hole(hole, feather + 1.0)
    alpha = np.zeros(hole.shape, np.float32)
    alpha[near] = np.clip(1.0 - distance_to(hole[near]) / (feather + 1.0), 0.0, 1.0)
    return alpha
