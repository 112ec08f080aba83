"""Windows of the clip with random holes to learn from, and fixed holes of known pixels to judge by.

Shape legend: N frames of all runs, n samples, T frames of a window, h w the crop, k judged holes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.fill.windows import plan_window
from e2fgvi_cli.training.batches import Batch
from e2fgvi_cli.training.config import HoleConfig, PhaseConfig
from e2fgvi_cli.training.holes import HoleMaker
from e2fgvi_cli.training.material import outlines_in
from e2fgvi_cli.training.shapes import FIELD, Draw

from .sample import ClipSample

JUDGED_SEED = 20_261_127
CANDIDATES = 8
"""Fixed holes that are drawn; those that hide most of what is visible are taken."""
LEAST_JUDGED = 64
"""Known pixels that a judged window hides at least, or it says nothing."""


@dataclass(frozen=True)
class Judged:
    """A window as a fill lays it, with a fixed hole. batch: one sample; local: its frames that are filled."""

    batch: Batch
    local: int


class ClipWindows:
    """Draws batches of `phase`'s windows from a clip. The same generator state gives the same batches.

    The clip's own holes are holes in every window, and count nowhere. What the judged holes hide is visible, and
    counts nowhere either: nothing is learned of it but what other frames show.
    """

    def __init__(self, sample: ClipSample, phase: PhaseConfig, draw: Draw, *, judged: int) -> None:
        self.phase, self._draw = phase, draw
        device = draw.device
        self._frames = torch.from_numpy(sample.frames).permute(0, 3, 1, 2).to(device)
        self._holes = torch.from_numpy(sample.holes)[:, None].to(device)
        self._length = torch.tensor(sample.lengths, dtype=torch.int64, device=device)
        self._first = self._length.cumsum(0) - self._length
        self.config = hole_config(sample)
        self._maker = HoleMaker(self.config, _outlines(sample), device)
        self._judged = self._fixed_holes(sample, judged)

    def next(self) -> Batch:
        """The next batch: random windows, half of them backwards, under random holes."""
        draw, n, local = self._draw, self.phase.batch, self.phase.local
        run = draw.choice(self._length.float(), n)
        length = self._length[run]
        start = draw.below((length - local + 1).clamp_min(1).float())
        # A run shorter than the window repeats its last frame.
        own = torch.arange(local, device=draw.device)
        inside = torch.minimum(start[:, None] + own, length[:, None] - 1)
        inside = torch.where(draw.chance(n, 1, share=0.5), inside.flip(1), inside)
        inside = torch.cat((inside, self._references(start, length)), dim=1)
        holes = self._maker.draw((inside - inside[:, :1]).float(), self.phase.size, draw)
        index = self._first[run][:, None] + inside
        return self._batch(index, holes, 1 - self._judged[:, index].amax(0).float())

    def judged(self, windows: int) -> Iterator[Judged]:
        """At most so many windows spread over the clip, each under each of the fixed holes; few known pixels, no
        window."""
        options = WindowOptions()
        hop, most = options.neighbor_stride, options.max_references
        centers = [
            (first, length, center)
            for first, length in zip(self._first.tolist(), self._length.tolist(), strict=True)
            for center in range(min(hop, length // 2), max(length - hop, min(hop, length // 2) + 1), hop)
        ]
        chosen = sorted({round(i) for i in np.linspace(0, len(centers) - 1, min(windows, len(centers)))})
        for first, length, center in (centers[i] for i in chosen):
            plan = plan_window(
                center, 0, length - 1, neighbor_stride=hop, reference_stride=options.reference_stride,
                max_references=most,
            )  # fmt: skip
            index = torch.tensor([plan.frames], device=self._draw.device) + first
            local = len(plan.local)
            for fixed in self._judged:
                hole = fixed[index].float()
                batch = self._batch(index, hole, hole)  # only what it hides counts
                if float(batch.marked(local)[0].sum()) >= LEAST_JUDGED:
                    yield Judged(batch, local)

    def _references(self, start: Tensor, length: Tensor) -> Tensor:
        """(n, r) numbers of frames outside the local ones, of the same run; any, if there is nothing outside."""
        local, reference = self.phase.local, self.phase.reference
        outside = (length - local).clamp_min(0)[:, None].expand(-1, reference).contiguous()
        pick = self._draw.below(outside.float())
        elsewhere = torch.where(pick < start[:, None], pick, pick + local)
        anywhere = self._draw.below(length[:, None].expand(-1, reference).float())
        return torch.where(outside > 0, elsewhere, anywhere)

    def _batch(self, index: Tensor, holes: Tensor, counted: Tensor) -> Batch:
        """The frames `index` (n, T) with `holes` (n, T, 1, h, w) and the clip's own; `counted` outside these."""
        unknown = self._holes[index].float()
        frames = self._frames[index].float() / 127.5 - 1
        return Batch(frames, torch.maximum(holes, unknown), counted * (1 - unknown))

    def _fixed_holes(self, sample: ClipSample, count: int) -> Tensor:
        """(k, N, 1, h, w) in {0, 1}: drawn on the CPU, so that every machine judges by the same."""
        cpu = torch.device("cpu")
        draw = Draw(cpu, torch.Generator().manual_seed(JUDGED_SEED))
        maker = HoleMaker(self.config, _outlines(sample), cpu)
        unknown = torch.from_numpy(sample.holes)
        drawn = []
        for _ in range(CANDIDATES):
            runs = [
                maker.draw(torch.arange(length, dtype=torch.float32)[None], self.phase.size, draw)[0]
                for length in sample.lengths
            ]
            holes = torch.cat(runs).to(torch.uint8)
            visible = int((holes[:, 0] * (1 - unknown)).sum()) / max(1, int(holes.sum()))
            drawn.append((visible, holes))
        best = sorted(drawn, key=lambda pair: pair[0], reverse=True)[:count]
        return torch.stack([holes for _, holes in best]).to(self._draw.device)


def hole_config(sample: ClipSample) -> HoleConfig:
    """Holes about as large as the clip's, standing still as often as they do, most of them of their shapes."""
    share = min(max(sample.hole_share, 0.01), 0.2)
    return HoleConfig(
        silhouette=8.0,
        still_share=0.9 if sample.stands_still else 0.2,
        min_area=max(share / 2, 0.01),
        max_area=min(1.5 * share, 0.25),
    )


def _outlines(sample: ClipSample) -> Tensor:
    """(k, 1, S, S) uint8: the shapes of the clip's own holes."""
    step = max(1, len(sample.holes) // 24)
    found = [outline for hole in sample.holes[::step] for outline in outlines_in(hole)]
    return torch.from_numpy(np.stack(found))[:, None] if found else torch.zeros(0, 1, FIELD, FIELD, dtype=torch.uint8)
