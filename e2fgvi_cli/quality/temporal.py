"""What a fill does along time and at its edge: warping error, flicker against its surroundings, the seam.

Pictures are (H, W, 3) uint8 RGB, holes (H, W), non-zero = was filled. Flow is OpenCV's DIS (Kroeger, Timofte, Dai and
Van Gool 2016) with its preset "medium": it needs no weights and gives the same numbers on every machine that has the
same OpenCV, whose version is part of its name.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SMALLEST_SIDE = 32
"""Pixels: smaller pictures have no flow and so none of its measures."""
CLEARANCE, RING = 2, 16
"""Pixels around a hole: the surroundings begin after the first and end at the second."""
SEAM_RING = 8
"""Pixels around a hole whose steps are what the step at its edge is compared with."""


def flow_name() -> str:
    """What to write beside a number that depends on flow."""
    return f"DIS medium, OpenCV {cv2.__version__}"


@dataclass(frozen=True)
class Motion:
    """From each pixel of a frame to where it was in the frame before.

    x, y (H, W): coordinates in the earlier frame. valid (H, W): it lies inside of it, and following the flow back
    returns to the start within the tolerance of Sundaram, Brox and Keutzer 2010:
    |there + back|^2 <= 0.01 (|there|^2 + |back|^2) + 0.5.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    valid: Mask

    def warped(self, earlier: Picture) -> Picture:
        """The earlier frame (H, W, 3) as it would look at the later one's time, by linear interpolation."""
        return np.asarray(cv2.remap(earlier, self.x, self.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def motion(earlier: Picture, later: Picture) -> Motion | None:
    """The motion between two frames; None where they are smaller than `SMALLEST_SIDE`."""
    if min(later.shape[:2]) < SMALLEST_SIDE:
        return None
    estimate = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    before, after = (cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in (earlier, later))
    back = np.asarray(estimate.calc(after, before, None))  # type: ignore[call-overload]
    forth = np.asarray(estimate.calc(before, after, None))  # type: ignore[call-overload]
    height, width = later.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x + back[..., 0], y + back[..., 1]
    there = np.asarray(cv2.remap(forth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    astray = ((back + there) ** 2).sum(axis=2)
    allowed = 0.01 * ((back**2).sum(axis=2) + (there**2).sum(axis=2)) + 0.5
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    return Motion(x, y, inside & (astray <= allowed))


def warp_errors(earlier: Picture, later: Picture, moved: Motion, hole: Mask) -> tuple[float | None, float | None]:
    """Mean squared difference of a frame from the earlier one warped to it, in units of full scale squared: over all
    valid pixels (Lai et al. 2018, E_warp), and over those in the hole. None without any."""
    squared = ((later.astype(np.float32) - moved.warped(earlier)) ** 2).mean(axis=2) / 255.0**2
    return _mean(squared, moved.valid), _mean(squared, moved.valid & hole)


def flicker_excess(earlier: Picture, later: Picture, moved: Motion, hole_before: Mask, hole: Mask) -> float | None:
    """How much more the hole changes from frame to frame than its surroundings do, in levels of 255.

    The mean absolute change along the motion over the hole, less that over the ring around it. 0: as steady as the
    rest; below 0: steadier, as a blurred fill is. None where one of them has no valid pixel.
    """
    change = np.abs(later.astype(np.float32) - moved.warped(earlier)).mean(axis=2)
    ring = _grown(hole, RING) & ~_grown(hole | hole_before, CLEARANCE)
    inside, around = _mean(change, moved.valid & hole), _mean(change, moved.valid & ring)
    return None if inside is None or around is None else inside - around


def seam(picture: Picture, hole: Mask) -> float | None:
    """How much larger the steps across the hole's edge are than steps near it outside, in levels of 255.

    A step is the mean absolute difference of two neighbouring pixels. 0: the edge is as smooth as what is around it.
    None without an edge or without surroundings.
    """
    pixels = picture.astype(np.float32)
    near = _grown(hole, SEAM_RING) & ~hole
    across: list[NDArray[np.float32]] = []
    around: list[NDArray[np.float32]] = []
    for axis in (0, 1):
        steps = np.abs(np.diff(pixels, axis=axis)).mean(axis=2)
        first, second = (slice(None, -1), slice(1, None))
        one = hole[first] if axis == 0 else hole[:, first]
        other = hole[second] if axis == 0 else hole[:, second]
        outside = near[first] & near[second] if axis == 0 else near[:, first] & near[:, second]
        across.append(steps[one != other])
        around.append(steps[outside])
    edge, rest = np.concatenate(across), np.concatenate(around)
    return float(edge.mean() - rest.mean()) if edge.size and rest.size else None


def _grown(mask: Mask, pixels: int) -> Mask:
    size = 2 * pixels + 1
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((size, size), np.uint8))) > 0


def _mean(values: NDArray[np.float32], where: Mask) -> float | None:
    return float(values[where].mean(dtype=np.float64)) if where.any() else None
