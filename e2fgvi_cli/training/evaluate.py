"""Scores of weights on clips with known holes, filled through the program's own sliding window, beside fills that need
no network.

The convention is `quality.clips`': masks as they are, every fifth frame measured, the plain mean of the clips'
decibels. Nothing is random.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import Engine
from ..errors import InputError
from ..fill.options import WindowOptions
from ..fill.stream import fill_shot
from ..quality.baselines import median_clip, telea_clip
from ..quality.clips import EVAL_STRIDE, SEEDED_HOLES, find_clips, holed_frames
from ..quality.metrics import ClipSummary, score_clip

Frames = NDArray[np.uint8]
BASELINES = {"telea": telea_clip, "median": median_clip}
METRICS = ("hole_psnr", "hole_ssim", "composite_psnr", "composite_ssim", "flicker")


@dataclass
class Evaluation:
    """Scores by method ("network", "telea", "median"), kind of hole and clip."""

    scores: dict[str, dict[str, dict[str, ClipSummary]]] = field(default_factory=dict)

    def add(self, method: str, kind: str, clip: str, score: ClipSummary) -> None:
        """Take in one clip's score."""
        self.scores.setdefault(method, {}).setdefault(kind, {})[clip] = score

    def mean(self, method: str, kind: str, metric: str = "hole_psnr") -> float:
        """The mean of a metric over the clips; NaN where none has it."""
        values = [getattr(s, metric) for s in self.scores.get(method, {}).get(kind, {}).values()]
        known = [v for v in values if v is not None]
        return float(np.mean(known)) if known else float("nan")

    def kinds(self) -> list[str]:
        """The kinds of holes that were scored."""
        return list(dict.fromkeys(kind for kinds in self.scores.values() for kind in kinds))

    def as_dict(self) -> dict[str, Any]:
        """For JSON: every clip's figures and the means."""
        clips = {
            m: {k: {c: s.as_dict() for c, s in clips.items()} for k, clips in kinds.items()}
            for m, kinds in self.scores.items()
        }
        means = {
            m: {k: {metric: round(self.mean(m, k, metric), 4) for metric in METRICS} for k in kinds}
            for m, kinds in self.scores.items()
        }
        return {"means": means, "clips": clips}


def fill_clip(engine: Engine, frames: Frames, holes: Frames, options: WindowOptions) -> Iterator[Frames]:
    """The filled frames (H, W, 3) of a clip (t, H, W, 3) with holes (t, H, W) in {0, 1}, as `e2fgvi inpaint` fills
    them."""
    for finished in fill_shot(holed_frames(frames, holes), engine, options):
        yield np.asarray(finished.rgb, np.uint8)


def evaluate(
    engine: Engine,
    root: Path,
    *,
    kinds: Sequence[str] = SEEDED_HOLES,
    clips: Sequence[str] = (),
    frames: int | None = None,
    every: int = EVAL_STRIDE,
    options: WindowOptions | None = None,
    baselines: bool = True,
    on_fill: Callable[[str, str, str, Frames, Frames, list[Frames]], None] | None = None,
    on_score: Callable[[str, str, str, ClipSummary], None] = lambda *_: None,
) -> Evaluation:
    """Score `engine` on the clips below `root` (folders NAME/frames and NAME/KIND).

    clips: only these names. frames: only so many of each, from its start. on_fill: is given method, kind, clip, true
    frames, holes and filled frames; on_score: method, kind, clip and score as they come. Raises InputError.
    """
    found = [c for c in find_clips(root) if not clips or c.name in clips]
    if not found:
        raise InputError(f"{root} has none of the clips {', '.join(clips)}")
    result = Evaluation()
    for clip in found:
        truth = clip.frames()[:frames]
        for kind in kinds:
            holes = clip.holes(kind)[:frames]
            methods: dict[str, list[Frames]] = {
                "network": list(fill_clip(engine, truth, holes, options or WindowOptions()))
            }
            if baselines:
                methods |= {name: list(fill(truth, holes)) for name, fill in BASELINES.items()}
            for method, filled in methods.items():
                score = score_clip(filled, truth, holes, every=every)
                result.add(method, kind, clip.name, score)
                on_score(method, kind, clip.name, score)
                if on_fill is not None:
                    on_fill(method, kind, clip.name, truth, holes, filled)
    return result
