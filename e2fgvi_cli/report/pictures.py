"""Pictures for a page: small JPEGs, maps of errors and of where a fill is from."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ..comparison.layout import shrink

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

LARGEST, THUMBNAIL = 960, 150
"""Pixels on the longer side of a picture and of a thumbnail."""
QUALITY = 82
ERROR_GAIN = 4
"""An error of 64 levels is the brightest colour."""
PROPAGATED, FILLED, NEVER = (47, 158, 91), (217, 154, 27), (213, 56, 47)
"""As the page's style has them: good, fair, bad."""


def jpeg(rgb: Picture, largest: int = LARGEST) -> bytes:
    """A picture (H, W, 3) as a JPEG of at most `largest` pixels on the longer side."""
    small = np.ascontiguousarray(shrink(rgb, largest)[:, :, ::-1])
    done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done, "OpenCV encodes every 8-bit picture"
    return data.tobytes()


def masked(rgb: Picture, hole: Mask) -> Picture:
    """With the hole in gray."""
    return np.where(hole[..., None], np.uint8(127), rgb).astype(np.uint8)


def error_map(result: Picture, truth: Picture, hole: Mask) -> Picture:
    """The error in the hole from black over red to white (OpenCV's "inferno"), the rest of the frame dark."""
    error = np.abs(result.astype(np.int16) - truth).mean(axis=2)
    levels = np.clip(error * ERROR_GAIN, 0, 255).astype(np.uint8)
    colours = cast(Picture, cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO))[:, :, ::-1]
    gray = (truth.mean(axis=2, keepdims=True) * 0.35).astype(np.uint8)
    return np.where(hole[..., None], colours, gray).astype(np.uint8)


def origin_map(rgb: Picture, propagated: Mask, filled: Mask, never: Mask) -> Picture:
    """Where the fill is from, as colours over a dim frame; all (H, W)."""
    picture = (rgb.mean(axis=2, keepdims=True) * 0.6).astype(np.uint8).repeat(3, axis=2)
    for where, colour in ((propagated, PROPAGATED), (filled, FILLED), (never, NEVER)):
        picture[where] = np.rint(0.25 * picture[where] + 0.75 * np.array(colour)).astype(np.uint8)
    return picture
