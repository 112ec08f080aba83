"""What of a clip is learned from: runs of consecutive frames, a crop near the hole, bounded whatever the clip's length.

Shape legend: N frames of all runs, H W the clip's frame, h w the crop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from e2fgvi_cli.frames.boxes import bounding_box
from e2fgvi_cli.types import Frame, HoleArray, PixelArray

RUN_FRAMES = 64
"""Consecutive frames of a run: the window of a fill and most of its references lie in so many."""
MAX_RUNS = 12
"""Of a longer clip every second run is let go, again and again: 768 frames of 432x240 are 240 MB."""
SHORTEST = 3
PLACES = 12
"""Pixels between two places that are tried for a crop."""
SEEN = 0.5
"""Part of a crop that is visible, if there is such a place."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class ClipSample:
    """frames: (N, h, w, 3) uint8, black in the holes; holes: (N, h, w) in {0, 1}; lengths: frames of each run."""

    frames: Bytes
    holes: Bytes
    lengths: tuple[int, ...]

    @property
    def hole_share(self) -> float:
        """Mean part of the crop that is hole, over the frames that have one; 0 without any."""
        shares = self.holes.mean(axis=(1, 2))
        holed = shares[shares > 0]
        return float(holed.mean()) if holed.size else 0.0

    @property
    def stands_still(self) -> bool:
        """Whether the holes keep their places: most of two holes ten frames apart is shared by both."""
        shared = []
        start = 0
        for length in self.lengths:
            for i in range(start, start + length - 10, 10):
                either = np.count_nonzero(self.holes[i] | self.holes[i + 10])
                if either:
                    shared.append(np.count_nonzero(self.holes[i] & self.holes[i + 10]) / either)
            start += length
        return not shared or float(np.mean(shared)) > 0.9


@dataclass
class _Run:
    corner: tuple[int, int]
    frames: list[Bytes] = field(default_factory=list)
    holes: list[Bytes] = field(default_factory=list)


def sample_clip(
    items: Iterable[tuple[Frame, HoleArray, bool]], size: tuple[int, int], *, max_runs: int = MAX_RUNS
) -> ClipSample | None:
    """Runs of a clip's frames, each with its hole and whether it begins a shot; None if the clip has no hole at all.

    size: (h, w) of the crop. A frame smaller than that is extended by mirroring, as the engine does. What lies in a
    hole is black from here on: nothing can learn from it.
    """
    kept: list[tuple[int, _Run]] = []
    run: _Run | None = None
    number, stride, holed = -1, 1, False
    for frame, hole, is_cut in items:
        holed = holed or bool(hole.any())
        if run is None or is_cut or len(run.frames) == RUN_FRAMES:
            number += 1
            run = _Run(place(hole, size))
            if number % stride == 0:
                kept.append((number, run))
            if len(kept) > max_runs:
                stride *= 2
                kept = [(n, one) for n, one in kept if n % stride == 0]
        # Also where the run is not kept: its length says when the next one begins.
        wanted = number % stride == 0
        run.frames.append(_eight_bits(crop(frame.rgb, run.corner, size)) if wanted else _NOTHING)
        run.holes.append(crop(hole, run.corner, size).astype(np.uint8) if wanted else _NOTHING)
    runs = [one for _, one in kept]
    runs = [one for one in runs if len(one.frames) >= SHORTEST] or runs
    if not holed or not runs:
        return None
    holes = np.stack([hole for one in runs for hole in one.holes])
    frames = np.stack([frame for one in runs for frame in one.frames])
    return ClipSample(frames * (1 - holes[..., None]), holes, tuple(len(one.frames) for one in runs))


_NOTHING: Bytes = np.zeros(0, np.uint8)


def place(hole: HoleArray, size: tuple[int, int]) -> tuple[int, int]:
    """The top left corner of the crop (h, w) nearest to the middle of the hole (H, W) that is visible by `SEEN`, or as
    far as can be."""
    room = [max(0, side - wanted) for side, wanted in zip(hole.shape, size, strict=True)]
    box = bounding_box(hole)
    middle = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2] if box else [side / 2 for side in hole.shape]
    ideal = [round(min(max(at - wanted / 2, 0), most)) for at, wanted, most in zip(middle, size, room, strict=True)]
    if box is None:
        return ideal[0], ideal[1]
    tops, lefts = (np.unique([*range(0, most + 1, PLACES), at, most]) for most, at in zip(room, ideal, strict=True))
    sums = cv2.integral(np.ascontiguousarray(hole != 0).view(np.uint8))
    bottoms, rights = np.minimum(tops + size[0], hole.shape[0]), np.minimum(lefts + size[1], hole.shape[1])
    hidden = (
        sums[np.ix_(bottoms, rights)] - sums[np.ix_(tops, rights)] - sums[np.ix_(bottoms, lefts)]
        + sums[np.ix_(tops, lefts)]
    )  # fmt: skip
    seen = 1 - hidden / (min(size[0], hole.shape[0]) * min(size[1], hole.shape[1]))
    away = np.abs(tops - ideal[0])[:, None] + np.abs(lefts - ideal[1])[None]
    # Where no place shows enough, the one that shows most; else the nearest that does.
    best = np.where(seen >= min(SEEN, float(seen.max())), -away, -np.inf).argmax()
    row, column = np.unravel_index(best, seen.shape)
    return int(tops[row]), int(lefts[column])


def crop(picture: PixelArray | HoleArray, corner: tuple[int, int], size: tuple[int, int]) -> NDArray[Any]:
    """(h, w) or (h, w, 3) of a picture from `corner` on, extended by mirroring where the picture ends before."""
    part: NDArray[Any] = picture[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
    short = [wanted - have for wanted, have in zip(size, part.shape[:2], strict=True)]
    if any(short):
        part = np.pad(part, [(0, short[0]), (0, short[1]), *[(0, 0)] * (part.ndim - 2)], mode="symmetric")
    return np.array(part)


def _eight_bits(rgb: NDArray[Any]) -> Bytes:
    return np.asarray(rgb if rgb.dtype == np.uint8 else rgb >> 8, np.uint8)
