"""Small pictures of a clip before and after, for the report. Only making one needs OpenCV."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from ..frames.stages import FinishedFrame
from ..system.publication import remove_stale, replace_file
from .model import ClipPlan

WIDTH = 200
"""Of each of the two, in pixels: twice what the report shows, for sharp screens."""


def thumbnail_of(folder: Path, output: str) -> Path:
    """Where the picture of a job lies, known by its output."""
    return folder / f"{hashlib.sha256(output.encode()).hexdigest()[:16]}.jpg"


def typical_frame(plan: ClipPlan) -> int | None:
    """The middle one of the frames that have a hole; None without any."""
    left = plan.filled // 2
    for first, last in plan.holed:
        if left <= last - first:
            return first + left
        left -= last - first + 1
    return None


def remove_unfinished(folder: Path) -> None:
    """What workers that were killed left of pictures. One that outlives its driver by a moment may leave it after the
    job has been done again."""
    for left in list(folder.glob(".*.partial.jpg")):
        remove_stale(folder / f"{left.name.split('.')[1]}.jpg")


def save_thumbnail(path: Path, finished: FinishedFrame, rotation: int) -> None:
    """Write source and result side by side, as they are shown. A disk that is full costs the picture, not the job."""
    import cv2
    import numpy as np

    from .. import masks
    from ..comparison.layout import eight_bits

    pictures = [masks.turn_to_display(eight_bits(one), rotation) for one in (finished.source.frame.rgb, finished.rgb)]
    height = max(round(WIDTH * pictures[0].shape[0] / pictures[0].shape[1]), 1)
    small = [cv2.resize(one, (WIDTH, height), interpolation=cv2.INTER_AREA) for one in pictures]
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(np.hstack(small)[:, :, ::-1]))
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if done:
            replace_file(path, data.tobytes())
