"""Fills that need no network, to know what a number is worth: Telea's method a frame, and the temporal median.

Pictures are (H, W, 3) uint8 RGB, holes (H, W), non-zero = missing. Pixels outside the hole come back unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

TELEA_RADIUS = 3
"""Neighbourhood in pixels; 3 is what the project's baseline table was made with (5 scores 0.1 dB more on it)."""

ROWS_AT_ONCE = 32

Picture = NDArray[np.uint8]
Hole = NDArray[np.generic]
Clip = Sequence[Picture] | Picture
HoleClip = Sequence[Hole] | Hole


def telea(frame: Picture, hole: Hole, radius: float = TELEA_RADIUS) -> Picture:
    """Fill one frame from its own surroundings (Telea 2004, as OpenCV has it). A frame that is all hole turns black."""
    _check(frame, hole)
    mask = (hole != 0).astype(np.uint8)
    if mask.all():
        return np.zeros_like(frame)
    # OpenCV reads what lies under a mask that touches the frame's border: a fill must not know it.
    outside = np.rint(frame[mask == 0].mean(axis=0)).astype(np.uint8)
    blank = np.where(mask[..., None] != 0, outside, frame)
    filled = cv2.inpaint(blank, mask, radius, cv2.INPAINT_TELEA)
    return np.where(mask[..., None] != 0, filled, frame)


def telea_clip(frames: Iterable[Picture], holes: Iterable[Hole], radius: float = TELEA_RADIUS) -> Iterator[Picture]:
    """Each frame filled on its own, as it arrives."""
    for frame, hole in zip(frames, holes, strict=True):
        yield telea(frame, hole, radius)


def median_plate(frames: Clip, holes: HoleClip) -> tuple[Picture, NDArray[np.bool_]]:
    """What each pixel shows when it is not a hole: the median over time a channel, for a camera that stands still.

    Returns the plate (H, W, 3) and `seen` (H, W), False where the pixel is a hole in every frame (the plate is black
    there). Reads the whole clip, which has to fit in memory.
    """
    _check_clip(frames, holes)
    height, width = holes[0].shape
    plate = np.zeros((height, width, 3), np.uint8)
    seen = np.zeros((height, width), bool)
    for top in range(0, height, ROWS_AT_ONCE):
        rows = slice(top, top + ROWS_AT_ONCE)
        visible = np.stack([hole[rows] == 0 for hole in holes])
        plate[rows] = _masked_median(np.stack([frame[rows] for frame in frames]), visible)
        seen[rows] = visible.any(axis=0)
    return plate, seen


def median_clip(frames: Clip, holes: HoleClip, radius: float = TELEA_RADIUS) -> Iterator[Picture]:
    """Every frame with the clip's `median_plate` in its hole, and Telea's method where no frame shows the pixel.

    Telea's method then starts from the frame with the plate pasted in, so a hole that never moves is Telea's alone.
    """
    plate, seen = median_plate(frames, holes)
    for frame, hole in zip(frames, holes, strict=True):
        inside = hole != 0
        pasted = np.where(inside[..., None], plate, frame)
        yield telea(pasted, inside & ~seen, radius)


def _masked_median(values: NDArray[np.uint8], visible: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Median over axis 0 of the visible values (t, h, w, 3), 0 where there is none; the mean of the middle two,
    rounded."""
    hidden_last = np.where(visible[..., None], values.astype(np.uint16), np.uint16(256))
    ordered = np.sort(hidden_last, axis=0)
    count = visible.sum(axis=0)
    lower = np.maximum(count - 1, 0) // 2
    upper = np.minimum(count // 2, np.maximum(count - 1, 0))
    pair = [
        np.take_along_axis(ordered, np.broadcast_to(place[None, ..., None], (1, *ordered.shape[1:])), axis=0)[0]
        for place in (lower, upper)
    ]
    middle = np.rint((pair[0] + pair[1]) / 2.0)
    return np.where((count > 0)[..., None], middle, 0).astype(np.uint8)


def _check_clip(frames: Clip, holes: HoleClip) -> None:
    if len(frames) != len(holes) or not len(frames):
        raise InputError(f"{len(holes)} holes for {len(frames)} frames: give one hole a frame, and at least one frame.")
    for index, (frame, hole) in enumerate(zip(frames, holes, strict=True)):
        _check(frame, hole)
        if frame.shape != frames[0].shape:
            raise InputError(
                f"Frame {index} is {frame.shape[1]}x{frame.shape[0]} and frame 0 is "
                f"{frames[0].shape[1]}x{frames[0].shape[0]}: give frames of one size."
            )


def _check(frame: Picture, hole: Hole) -> None:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise InputError(f"The baselines fill 8-bit RGB pictures, not {frame.dtype} of shape {frame.shape}.")
    if hole.shape != frame.shape[:2]:
        raise InputError(
            f"The hole has shape {hole.shape} and the picture {frame.shape[:2]}: give one hole pixel for each pixel."
        )
