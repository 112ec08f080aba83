"""Batches: frames and holes of many samples, made on the device in a fixed, small number of kernels (no loop over samples).

A sample is a window: local frames at times 0..l-1 and reference frames at other times of the same clip or camera path.
Shape legend: n samples, b batch, T = l + r frames of a window, h w pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .camera import camera_paths, doubled, jitter_colours, relief_maps, sample_clips, sample_photographs
from .config import PhaseConfig, TrainingConfig
from .holes import HoleMaker
from .material import Material
from .shapes import Draw, place, sample_field

FOREGROUND_AREA = (0.02, 0.2)
FOREGROUND_SPEED = 8.0


@dataclass(frozen=True)
class Batch:
    """frames: (b, T, 3, h, w) in [-1, 1], whole; holes: (b, T, 1, h, w) in {0, 1}. Local frames first."""

    frames: Tensor
    holes: Tensor

    @property
    def masked(self) -> Tensor:
        """What the network sees: hole pixels are 0."""
        return self.frames * (1 - self.holes)


@dataclass(frozen=True)
class _Windows:
    """Which frames of which clip: indices (n, T) into the material's frames, times (n, T) in steps of the window."""

    indices: Tensor
    times: Tensor


class BatchMaker:
    """Draws batches for one phase. The same generator state gives the same batches.

    `batches_per_draw` of them are made at once; `state` and `restore` also know how many of those were used.
    """

    def __init__(self, material: Material, config: TrainingConfig, phase: PhaseConfig, draw: Draw) -> None:
        self.material, self.data, self.phase, self._draw = material, config.data, phase, draw
        self.holes = HoleMaker(config.holes, material.silhouettes, material.device)
        self.per_draw = config.speed.batches_per_draw
        share = config.data.photo_share
        if not len(material.photos):
            share = 0.0
        elif not len(material.first):
            share = 1.0
        self.photo_share = share
        self._many: Batch | None = None
        self._used = 0
        self._before = draw.generator.get_state()

    def next(self) -> Batch:
        """The next batch."""
        if self._many is None or self._used == self.per_draw:
            self._many = None  # its memory may serve the next ones
            self._before = self._draw.generator.get_state()
            self._many, self._used = self.make(self.phase.batch * self.per_draw), 0
        self._used += 1
        return self._at(self._many, self._used - 1)

    def last(self) -> Batch | None:
        """What `next` gave last; None if it has not been asked yet."""
        return None if self._many is None else self._at(self._many, self._used - 1)

    def _at(self, many: Batch, index: int) -> Batch:
        part = slice(index * self.phase.batch, (index + 1) * self.phase.batch)
        return Batch(many.frames[part], many.holes[part])

    def state(self) -> tuple[Tensor, int]:
        """The generator before the batches at hand were made, and how many of them were used."""
        return self._before, self._used if self._many is not None else 0

    def restore(self, generator_state: Tensor, used: int) -> None:
        """Go on exactly where `state` was taken (with the same configuration and phase)."""
        self._draw.generator.set_state(generator_state.cpu())
        self._many, self._used = None, 0
        for _ in range(used):
            self.next()

    @torch.no_grad()
    def make(self, n: int) -> Batch:
        """n samples in random order."""
        photos = round(n * self.photo_share)
        if n == 1 and 0 < self.photo_share < 1:
            photos = int(bool(self._draw.chance(1, share=self.photo_share)))
        parts = []
        if photos:
            parts.append(self._photographs(photos))
        if n - photos:
            parts.append(self._clips(n - photos))
        order = torch.randperm(n, device=self.material.device, generator=self._draw.generator)
        frames, times = (torch.cat([p[k] for p in parts])[order] for k in (0, 1))
        frames = self._foregrounds(frames, times)
        frames = jitter_colours(frames, times, self._draw)
        return Batch(frames * 2 - 1, self.holes.draw(times, self.phase.size, self._draw))

    def _photographs(self, n: int) -> tuple[Tensor, Tensor]:
        draw, material, size = self._draw, self.material, self.phase.size
        span = torch.full((n,), float(self.phase.local), device=material.device)
        reach = float(self.data.reference_reach)
        times = self._times(span, -reach * torch.ones_like(span), span - 1 + reach)
        chosen = draw.below(torch.full((n,), float(len(material.photos)), device=material.device))
        source = (material.photos.shape[-2], material.photos.shape[-1])
        path = camera_paths(n, draw, source, size, moving=True)
        grid = path.grid(times, doubled(size), relief_maps(n, draw, doubled(size)))
        return sample_photographs(material.photos[chosen].float() / 255, grid), times

    def _clips(self, n: int) -> tuple[Tensor, Tensor]:
        draw, material, size = self._draw, self.material, self.phase.size
        windows = self._windows(n)
        stored = material.frames
        indices = windows.indices.flatten().to(stored.device)
        frames = stored[indices].to(material.device, non_blocking=True)
        frames = frames.unflatten(0, windows.indices.shape).float() / 255
        source = (stored.shape[-2], stored.shape[-1])
        path = camera_paths(n, draw, source, size, moving=False)
        return sample_clips(frames, path.grid(windows.times, doubled(size))), windows.times

    def _windows(self, n: int) -> _Windows:
        """Random windows of random clips, played at random speed, half of them backwards."""
        draw, material, local = self._draw, self.material, self.phase.local
        clip = draw.choice(material.clip_weight, n)
        length = material.length[clip]
        steps = max(local - 1, 1)
        fastest = ((length - 1) // steps).clamp(1, self.data.max_stride)
        stride = 1 + draw.below(fastest.float())
        # A clip shorter than the window repeats its last frame (the clamp below).
        span = torch.minimum((local - 1) * stride, length - 1)
        start = draw.below((length - span).float())
        # Backwards, a window begins at its last frame, and what comes before it in time lies after it in the clip.
        backwards = draw.chance(n, share=0.5)
        anchor = torch.where(backwards, start + span, start)
        direction = torch.where(backwards, -1, 1)
        behind = torch.where(backwards, length - 1 - anchor, anchor) / stride
        ahead = torch.where(backwards, anchor, length - 1 - anchor) / stride
        reach = float(self.data.reference_reach)
        times = self._times(
            (span / stride).round() + 1, -behind.clamp_max(reach), ahead.clamp_max(reach + self.phase.local - 1)
        )
        inside = (anchor[:, None] + direction[:, None] * times * stride[:, None]).round().long()
        inside = torch.minimum(inside.clamp_min(0), length[:, None] - 1)
        return _Windows(material.first[clip][:, None] + inside, times)

    def _times(self, local_span: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """(n, T): 0..l-1, then times of references outside the local ones, between low and high (n,) (inside, if there is no outside)."""
        local, reference = self.phase.local, self.phase.reference
        n, device = local_span.shape[0], local_span.device
        own = torch.arange(local, device=device, dtype=torch.float32).expand(n, local)
        if not reference:
            return own
        before = (-low).clamp_min(0).floor()[:, None]
        after = (high - (local_span - 1)).clamp_min(0).floor()[:, None]
        pick = self._draw.uniform(n, reference) * (before + after)
        outside = torch.where(pick < before, -1 - pick.floor(), local_span[:, None] + (pick - before).floor())
        nowhere = (before + after) < 1
        inside = self._draw.below(local_span[:, None].expand(n, reference).contiguous()).float()
        return torch.cat((own, torch.where(nowhere, inside, outside)), dim=1)

    def _foregrounds(self, frames: Tensor, times: Tensor) -> Tensor:
        """Photographs cut to an outline, moving in front of some of the samples. frames: (n, T, 3, h, w) in [0, 1]."""
        draw, material, size = self._draw, self.material, self.phase.size
        if not len(material.photos) or self.data.foreground_share <= 0:
            return frames
        n = frames.shape[0]
        field, _ = self.holes.outlines(n, draw)
        never = torch.zeros(n, dtype=torch.bool, device=material.device)
        placement = place(
            field, draw, size=size, area=FOREGROUND_AREA, max_speed=FOREGROUND_SPEED, still=never, wide=never
        )
        coordinates = placement.local_coordinates(times, doubled(size))
        # The texture is glued to the outline: both are read through the same coordinates.
        zoom, shift = draw.uniform(n, 1, 1, 1, 1, low=0.15, high=0.5), draw.uniform(n, 1, 1, 1, 2, low=-0.5, high=0.5)
        chosen = draw.below(torch.full((n,), float(len(material.photos)), device=material.device))
        texture = sample_photographs(material.photos[chosen].float() / 255, coordinates * zoom + shift)
        alpha = sample_field(field, coordinates).flatten(0, 1)
        alpha = torch.nn.functional.avg_pool2d(alpha, 2).unflatten(0, times.shape)
        alpha = alpha * draw.chance(n, 1, 1, 1, 1, share=self.data.foreground_share)
        return frames + alpha * (texture - frames)
