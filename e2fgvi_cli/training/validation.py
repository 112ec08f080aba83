"""Held-out clips with fixed holes, scored during a run beside Telea's fill and the temporal median."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..engine import Engine
from ..fill.options import WindowOptions
from ..quality.metrics import ClipSummary, score_clip
from .config import HoleConfig, ValidationConfig
from .evaluate import BASELINES, METRICS, Evaluation, fill_clip
from .holes import HoleMaker
from .material import Frames
from .shapes import FIELD, Draw
from .sheets import Row

HOLE_SEED = 20_220_407
"""The holes are the same in every run, on every machine."""
KINDS = {"still": 1.0, "drifting": 0.0}
"""Kind of hole and the share of outlines that stand still in it."""
SCORED_EVERY = 3


@dataclass(frozen=True)
class _Case:
    clip: str
    kind: str
    frames: Frames
    holes: NDArray[np.uint8]


class Validator:
    """Scores a network on the same clips and holes each time; what needs no network is computed once."""

    def __init__(self, clips: tuple[tuple[str, Frames], ...], config: ValidationConfig) -> None:
        self.options = WindowOptions(max_references=config.max_references)
        self.cases = [
            _Case(name, kind, frames, _holes(frames, HoleConfig(still_share=share), 2 * i + k))
            for i, (name, frames) in enumerate(clips)
            for k, (kind, share) in enumerate(KINDS.items())
        ]
        self.baselines = Evaluation()
        self._fills: dict[tuple[str, str, str], list[Frames]] = {}

    def __bool__(self) -> bool:
        return bool(self.cases)

    def score(self, engine: Engine) -> tuple[dict[str, float], list[Row]]:
        """Mean figures by "kind/method/metric", and one row a case for a sheet: masked, filled, Telea, median,
        truth."""
        self.fill_baselines()
        result = Evaluation()
        rows = []
        for case in self.cases:
            filled = list(fill_clip(engine, case.frames, case.holes, self.options))
            result.add("network", case.kind, case.clip, score_clip(filled, case.frames, case.holes, every=SCORED_EVERY))
            middle = len(case.frames) // 2
            hole = case.holes[middle][..., None]
            others = [self._fills[name, case.kind, case.clip][middle] for name in BASELINES]
            masked = np.where(hole != 0, np.uint8(127), case.frames[middle])
            rows.append(Row(f"{case.clip} {case.kind}", [masked, filled[middle], *others, case.frames[middle]]))
        result.scores |= self.baselines.scores
        figures = {
            f"{kind}/{method}/{metric}": round(result.mean(method, kind, metric), 4)
            for method in result.scores
            for kind in KINDS
            for metric in METRICS
        }
        # Frames smaller than the published SSIM's window have no such figure.
        return {k: v for k, v in figures.items() if not math.isnan(v)}, rows

    def fill_baselines(self) -> None:
        """Fill and score what needs no network, once."""
        if self.baselines.scores:
            return
        # A GPU waits for this.
        with ThreadPoolExecutor() as threads:
            for case, found in zip(self.cases, threads.map(_baselines, self.cases), strict=True):
                for name, (filled, score) in found.items():
                    self._fills[name, case.kind, case.clip] = filled
                    self.baselines.add(name, case.kind, case.clip, score)


def _baselines(case: _Case) -> dict[str, tuple[list[Frames], ClipSummary]]:
    """What needs no network, by name: filled frames and score."""
    found = {}
    for name, fill in BASELINES.items():
        filled = list(fill(case.frames, case.holes))
        found[name] = (filled, score_clip(filled, case.frames, case.holes, every=SCORED_EVERY))
    return found


def _holes(frames: Frames, config: HoleConfig, number: int) -> NDArray[np.uint8]:
    """(t, H, W) in {0, 1}, drawn on the CPU so that a GPU's generator cannot change them, and without a run's own
    outlines."""
    device = torch.device("cpu")
    draw = Draw(device, torch.Generator().manual_seed(HOLE_SEED + number))
    times = torch.arange(len(frames), dtype=torch.float32)[None]
    size = (frames.shape[1], frames.shape[2])
    none = torch.zeros(0, 1, FIELD, FIELD, dtype=torch.uint8)
    hole = HoleMaker(config, none, device).draw(times, size, draw)
    return hole[0, :, 0].to(torch.uint8).numpy()
