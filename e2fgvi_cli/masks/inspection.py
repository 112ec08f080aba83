"""What is suspicious about a mask: empty, full, or edges that look like lossy compression. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import HoleArray
from .normalise import as_levels

TOO_MUCH = 0.95
"""Share of the frame from which on a hole is taken for a mistake."""


@dataclass(frozen=True)
class FrameCoverage:
    """Share of the frame (0..1) that is hole, for frame `index`."""

    index: int
    share: float


def looks_compressed(picture: NDArray[Any]) -> bool:
    """Whether a mask picture has the speckle of JPEG or H.264 around its edges: many levels near black and near white
    that are neither. An anti-aliased or feathered edge has as many in between."""
    levels = as_levels(picture)
    near_ends = ((levels > 0) & (levels <= 32)) | ((levels < 255) & (levels >= 223))
    between = (levels > 32) & (levels < 223)
    noisy = int(near_ends.sum())
    return noisy > 0.001 * levels.size and noisy > 2 * int(between.sum())


def coverage(hole: HoleArray) -> float:
    """Share of the frame that is hole, 0..1."""
    return float(np.count_nonzero(hole) / hole.size)


def coverage_warnings(frames: list[FrameCoverage]) -> list[str]:
    """Sentences about frames whose hole is empty or whole, or much larger or smaller than in both neighbours."""
    found = []
    empty = [frame.index for frame in frames if frame.share == 0]
    full = [frame.index for frame in frames if frame.share > TOO_MUCH]
    if frames and len(empty) == len(frames):
        found.append("no frame has a hole: is the mask inverted, or --mask-threshold too high?")
    elif empty:
        found.append(f"{len(empty)} of {len(frames)} frames have no hole ({ranges(empty)})")
    if full:
        found.append(
            f"{len(full)} of {len(frames)} frames are more than {TOO_MUCH:.0%} hole ({ranges(full)}): is the mask "
            "inverted?"
        )
    jumps = [
        here.index
        for before, here, after in zip(frames, frames[1:], frames[2:], strict=False)
        if min(before.share, here.share, after.share) > 0
        and not 0.4 < here.share / max(before.share, after.share) < 2.5
    ]
    if jumps:
        found.append(f"the hole's area jumps in {len(jumps)} frames ({ranges(jumps)}): a wrong mask among good ones?")
    growth = runaway(frames)
    if growth is not None:
        start, end = growth
        found.append(
            f"the hole grows from {start.share:.1%} of the frame (frame {start.index}) to {end.share:.1%} (frame "
            f"{end.index}): does the mask run away from its object?"
        )
    return found


def runaway(frames: Sequence[FrameCoverage]) -> tuple[FrameCoverage, FrameCoverage] | None:
    """(smallest before, largest) where the hole has at least doubled and has grown by 3 % of the frame, one frame's
    mistakes aside; frames without a hole do not count. None if it has not."""
    holed = [frame for frame in frames if frame.share > 0]
    calm = [
        FrameCoverage(frame.index, float(np.median([near.share for near in holed[max(place - 2, 0) : place + 3]])))
        for place, frame in enumerate(holed)
    ]
    least, found = None, None
    for frame in calm:
        if least is None or frame.share < least.share:
            least = frame
        ratio = frame.share / least.share
        if ratio >= 2 and frame.share - least.share >= 0.03 and (found is None or frame.share > found[1].share):
            found = (least, frame)
    return found


def ranges(numbers: list[int], most: int = 6) -> str:
    """ "0-3, 7, 9-12": at most `most` runs of an ascending list, the rest as an ellipsis."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][-1:] = [number] if len(runs[-1]) > 1 else [runs[-1][0], number]
        else:
            runs.append([number])
    texts = ["-".join(map(str, run)) for run in runs[:most]]
    return ", ".join(texts) + (", ..." if len(runs) > most else "")
