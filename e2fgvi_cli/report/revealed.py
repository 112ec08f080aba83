"""Which pixels of a hole no frame shows: by how the camera moves, which one homography a neighbouring pair describes.

What moves on its own, and parallax, it does not know: it says what could be seen, not what was found. Coarse pictures,
a few kilobytes a frame.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from ..propagation.homography import Homography, Points, estimate_homography, inverse, keypoints
from ..propagation.query import coarse_size

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SIDE = 160
"""Pixels on the longer side of the holes that are kept."""
REACH = 60
"""Frames looked at on either side, as image propagation does."""
CUT = 30.0
"""Levels by which neighbouring frames may differ on average after alignment; beyond it they are not of one shot."""
CLEARANCE = 4


class Revealed:
    """Takes the frames of a clip in order; afterwards says of each what of its hole no other shows."""

    def __init__(self) -> None:
        self.size = (0, 0)
        """(h, w) of the coarse holes."""
        self._holes: list[NDArray[np.uint8]] = []
        self._steps: list[Homography | None] = []
        """From each frame to the next, in coarse pixels."""
        self._last: tuple[Picture, Picture, Points] | None = None

    @property
    def frames(self) -> int:
        """Taken so far."""
        return len(self._holes)

    @property
    def lost(self) -> int:
        """Neighbouring pairs whose motion could not be found: cuts, and pictures without features."""
        return sum(step is None for step in self._steps)

    def add(self, rgb: Picture, hole: Mask) -> None:
        """The next frame, (H, W, 3) and (H, W)."""
        height, width = coarse_size(hole.shape)
        gray = cv2.cvtColor(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        covered = cv2.resize(hole.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_AREA) > 0
        near = np.asarray(cv2.dilate(covered.astype(np.uint8), np.ones((2 * CLEARANCE + 1,) * 2, np.uint8)), np.uint8)
        scale = min(1.0, SIDE / max(height, width))
        self.size = (max(round(height * scale), 1), max(round(width * scale), 1))
        self._holes.append(self.packed(hole))
        now = (np.asarray(gray, np.uint8), near, keypoints(np.asarray(gray, np.uint8), near))
        if self._last is not None:
            self._steps.append(self._step(self._last, now))
        self._last = now

    def packed(self, mask: Mask, least: float = 0.0) -> NDArray[np.uint8]:
        """A mask (H, W) at the size of the coarse holes, a bit a pixel: set where more than `least` of it is."""
        small = cv2.resize(mask.astype(np.uint8) * 255, self.size[::-1], interpolation=cv2.INTER_AREA)
        return np.packbits(np.asarray(small) > 255 * least)

    def unpacked(self, bits: NDArray[np.uint8]) -> Mask:
        """(h, w) of what `packed` gave."""
        count = self.size[0] * self.size[1]
        return np.unpackbits(bits, count=count).reshape(self.size).astype(bool)

    def _step(
        self, earlier: tuple[Picture, Picture, Points], later: tuple[Picture, Picture, Points]
    ) -> Homography | None:
        found = estimate_homography(earlier[0], earlier[2], later[0], later[1])
        if found is None:
            return None
        height, width = later[0].shape
        moved = cv2.warpPerspective(earlier[0], found, (width, height))
        hidden = cv2.warpPerspective(
            earlier[1], found, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=1
        )
        seen = (np.asarray(hidden) == 0) & (later[1] == 0)
        if not seen.any() or np.abs(np.asarray(moved, np.int16)[seen] - later[0][seen]).mean() > CUT:
            return None
        scale = np.diag([self.size[1] / width, self.size[0] / height, 1.0])
        return np.asarray(scale @ found @ np.linalg.inv(scale))

    def hole(self, index: int) -> Mask:
        """(h, w): the coarse hole of a frame."""
        return self.unpacked(self._holes[index])

    def never(self, index: int) -> Mask:
        """(h, w): the part of the frame's hole that no frame within `REACH` shows."""
        left = self.hole(index)
        for other, homography in self._others(index):
            if not left.any():
                break
            visible = (~self.hole(other)).astype(np.uint8)
            aligned = cv2.warpPerspective(
                visible, homography, self.size[::-1], flags=cv2.WARP_INVERSE_MAP | cv2.INTER_NEAREST
            )
            left &= np.asarray(aligned) == 0
        return left

    def _others(self, index: int) -> Iterator[tuple[int, Homography]]:
        """Other frames, nearest first, with the homography from frame `index` to each."""
        forward: Homography | None = np.eye(3)
        backward: Homography | None = np.eye(3)
        for distance in range(1, REACH + 1):
            wanted = distance <= 10 or distance % 4 == 0
            if forward is not None:
                step = self._steps[index + distance - 1] if index + distance < self.frames else None
                forward = None if step is None else step @ forward
                if forward is not None and wanted:
                    yield index + distance, forward
            if backward is not None:
                step = self._steps[index - distance] if index >= distance else None
                backward = None if step is None else inverse(step) @ backward
                if backward is not None and wanted:
                    yield index - distance, backward
