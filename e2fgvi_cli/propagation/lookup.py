"""What other frames show of the pixels of a hole, once it is known how each of them moves: candidates, how well they
fit, their median.

numpy and OpenCV; `propagation.gpu.lookup` computes the same on a GPU.

Shape legend: H W the frame, h w its coarse picture, y x the region around a hole, k candidates, n pixels of the hole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import PixelArray
from .homography import Homography
from .means import mean_near, mean_of_channels
from .query import Answer, Query
from .tone import fit_tone, tone_of


def look_up(query: Query) -> Answer:
    """The median of the first candidates that fit, each in this frame's tone, and how far they are apart."""
    import cv2

    view, options = query.view, query.options
    rgb = view.rgb
    (y, x), place = query.pixels, query.place

    # Frames are compared coarsely, in the region's part of the coarse picture.
    rows, columns = query.coarse_region
    target, outside = np.ascontiguousarray(view.coarse[rows, columns]), view.hole[rows, columns] == 0
    size = (outside.shape[1], outside.shape[0])
    most = query.tolerance.ravel()
    flags = cv2.WARP_INVERSE_MAP
    # Within two pixels of a frame's edge cubic interpolation looks beyond it: black there would be seen as a line.
    cubic = {"flags": flags | cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REPLICATE}

    # The candidates of each pixel of the hole, nearest first; what is not there is larger than any colour.
    stack = np.full((options.candidates, y.size, 3), np.inf, np.float32)
    got = np.zeros(y.size, np.int64)
    for _, other, homography in query.others:
        to_other = other.to_coarse @ homography @ query.from_coarse_region
        visible = cv2.warpPerspective(other.visible, to_other, size, flags=flags | cv2.INTER_NEAREST) > 0
        # Numbers instead of masks: with most pixels of a hole found, few are looked up.
        wanted = np.flatnonzero(visible.ravel()[place] & (got < options.candidates))
        if not wanted.size:
            continue
        aligned = cv2.warpPerspective(other.coarse, to_other, size, **cubic)  # type: ignore[call-overload]
        compared = visible & outside
        apart = np.asarray(cv2.subtract(target, aligned, dtype=cv2.CV_32F), np.float32)  # type: ignore[arg-type]
        brighter = tone_of(fit_tone(apart, compared, query.levels), compared.shape)
        error = _photometric_error(apart - brighter, compared, query.nearness)
        wanted = wanted[(error.ravel() <= most)[place[wanted]]]
        if not wanted.size:
            continue
        if other.coarse is other.rgb:
            colours = aligned.reshape(-1, 3)[place[wanted]]
        else:
            colours = _pixels_at(other.rgb, homography, x[wanted], y[wanted])
        stack[got[wanted], wanted] = colours + brighter.reshape(-1, 3)[place[wanted]]
        got[wanted] += 1
        if (got >= options.candidates).all():
            break
    colours, spread = _median(stack, got)
    levelled: NDArray[Any] = np.clip(np.rint(colours), 0, np.iinfo(rgb.dtype).max).astype(rgb.dtype)
    return Answer(levelled, got, spread)


def _pixels_at(rgb: PixelArray, homography: Homography, x: NDArray[np.intp], y: NDArray[np.intp]) -> NDArray[Any]:
    """(n, 3): the picture, interpolated, where `homography` takes the pixels (x, y)."""
    import cv2

    across, down, depth = (homography @ np.stack([x, y, np.ones_like(x)]).astype(np.float64)).astype(np.float32)
    # OpenCV wants less than 32,768 rows and columns.
    width = min(x.size, 4096) or 1
    padding = -x.size % width
    where = [np.pad(part / depth, (0, padding)).reshape(-1, width) for part in (across, down)]
    taken = cv2.remap(rgb, where[0], where[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(taken).reshape(-1, 3)[: x.size]


def _photometric_error(apart: NDArray[np.float32], compared: NDArray[np.bool_], nearness: int) -> NDArray[np.float32]:
    """(y, x): mean absolute value (of all channels) of `apart` (y, x, 3) over the `compared` pixels near each pixel;
    infinite if there are none at all."""
    import cv2

    if not compared.any():
        return np.full(compared.shape, np.inf, np.float32)
    weight = compared.astype(np.float32)
    # OpenCV where it can be: several times as fast as the same in numpy.
    error = (
        np.asarray(cv2.transform(np.abs(apart), np.full((1, 3), 1 / 3, np.float32))).reshape(compared.shape) * weight
    )
    return mean_near(error, weight, nearness)


def _median(stack: NDArray[np.float32], got: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Median (n, 3) of the first `got` (n,) of (k, n, 3) candidates, and their mean absolute difference from it (n,);
    (0, inf) without any."""
    pixel = np.arange(len(got))
    ordered = _sorted(stack)
    last = np.maximum(got - 1, 0)
    median = (ordered[last // 2, pixel] + ordered[(last + 1) // 2, pixel]) / 2
    present = np.arange(len(stack))[:, None] < got
    with np.errstate(invalid="ignore"):  # infinity less infinity, which is not there
        apart = np.where(present, mean_of_channels(np.abs(stack - median)), 0).sum(axis=0)
    spread = np.where(got > 0, apart / np.maximum(got, 1), np.inf).astype(np.float32)
    return np.where(got[:, None] > 0, median, 0).astype(np.float32), spread


def _sorted(stack: NDArray[np.float32]) -> NDArray[np.float32]:
    """`np.sort(stack, axis=0)` for a few layers: odd-even exchanges of whole layers take a fraction of its time."""
    layers = list(stack)
    for turn in range(len(layers)):
        for i in range(turn % 2, len(layers) - 1, 2):
            layers[i], layers[i + 1] = np.minimum(layers[i], layers[i + 1]), np.maximum(layers[i], layers[i + 1])
    return np.stack(layers)
