"""Batches: frames and holes of many samples, made on the device in a fixed, small number of kernels (no loop over
samples).

A sample is a window: local frames at times 0..l-1 and reference frames at other times of the same clip or camera path.
Shape legend: n samples, b batch, T = l + r frames of a window, h w pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .augment import record
from .camera import camera_paths, jitter_colours, relief_maps, sample_clips, sample_photographs
from .config import PhaseConfig, TrainingConfig
from .foregrounds import Foregrounds
from .holes import HoleMaker
from .material import Material
from .mixing import counts_of, shares_of_kinds
from .panorama import panorama_paths, sample_panoramas
from .sampling import doubled
from .shapes import Draw

SCENE_REACH = 3
"""Reference frames of a scene are at most so many pictures away."""


@dataclass(frozen=True)
class Batch:
    """frames: (b, T, 3, h, w) in [-1, 1], whole; holes: (b, T, 1, h, w) in {0, 1}. Local frames first.

    counted: (b, T, 1, h, w) in {0, 1}, the pixels whose truth is known and may be learned from; None: all.
    """

    frames: Tensor
    holes: Tensor
    counted: Tensor | None = None

    def marked(self, local: int) -> tuple[Tensor, Tensor]:
        """(b, l, 1, h, w) of the first `local` frames: what of the holes and of the rest counts."""
        hole = self.holes[:, :local]
        visible = 1 - hole
        if self.counted is None:
            return hole, visible
        return hole * self.counted[:, :local], visible * self.counted[:, :local]

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
        self.augment = config.augment
        self.holes = HoleMaker(config.holes, material.silhouettes, material.device)
        self.per_draw = config.speed.batches_per_draw
        data = config.data
        self.shares = shares_of_kinds(
            {"photos": data.photo_share, "panoramas": data.panorama_share, "scenes": data.scene_share},
            "clips",
            {
                "photos": len(material.photos) > 0,
                "panoramas": len(material.panoramas) > 0,
                "scenes": len(material.scenes) > 0,
                "clips": len(material.first) > 0,
            },
        )
        """The part of the samples that each kind of material gives."""
        self._foregrounds = (
            Foregrounds(config.data.foreground_share, area=(0.02, 0.2), max_speed=8.0),
            Foregrounds(config.augment.behind_hole, area=(0.03, 0.2), max_speed=10.0, pliant=0.35, behind_hole=True),
        )
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
        draw, device = self._draw, self.material.device
        make = {
            "photos": self._photographs,
            "panoramas": self._panoramas,
            "scenes": self._scenes,
            "clips": self._clips,
        }
        blurred = draw.chance(n, share=self.augment.motion_blur)
        shutter = draw.uniform(n, low=0.1, high=self.augment.shutter) * blurred if self.augment.motion_blur else None
        parts, at = [], 0
        for kind, count in counts_of(self.shares, n, float(draw.uniform(1))).items():
            if count:
                parts.append(make[kind](count, None if shutter is None else shutter[at : at + count]))
                at += count
        order = torch.randperm(n, device=device, generator=draw.generator)
        frames, times = (torch.cat([p[k] for p in parts])[order] for k in (0, 1))
        holes = self.holes.draw(times, self.phase.size, draw)
        frames = self._with_foregrounds(frames, times, holes, None if shutter is None else shutter[order])
        frames = jitter_colours(frames, times, draw)
        return Batch(record(frames, times, self.augment, draw) * 2 - 1, holes)

    def _zooming(self, n: int) -> Tensor:
        return self._draw.chance(n, share=self.augment.zoom)

    def _around(self, n: int) -> Tensor:
        """Times (n, T) of a window that nothing but its reach ends."""
        span = torch.full((n,), float(self.phase.local), device=self.material.device)
        reach = float(self.data.reference_reach)
        return self._times(span, -reach * torch.ones_like(span), span - 1 + reach)

    def _photographs(self, n: int, shutter: Tensor | None) -> tuple[Tensor, Tensor]:
        draw, material, size = self._draw, self.material, self.phase.size
        times = self._around(n)
        chosen = draw.choice(material.photo_weight, n)
        source = (material.photos.shape[-2], material.photos.shape[-1])
        always = torch.ones(n, dtype=torch.bool, device=material.device)
        path = camera_paths(n, draw, source, size, moving=always, zooming=self._zooming(n))
        grid = path.grid(times, doubled(size), relief_maps(n, draw, doubled(size)), shutter)
        return sample_photographs(material.photos[chosen].float() / 255, grid), times

    def _panoramas(self, n: int, shutter: Tensor | None) -> tuple[Tensor, Tensor]:
        draw, material, size = self._draw, self.material, self.phase.size
        times = self._around(n)
        chosen = draw.choice(material.panorama_weight, n)
        path = panorama_paths(n, draw, material.panorama_detail[chosen], size, zooming=self._zooming(n))
        grid = path.grid(times, doubled(size), shutter)
        return sample_panoramas(material.panoramas[chosen].float() / 255, grid), times

    def _scenes(self, n: int, shutter: Tensor | None) -> tuple[Tensor, Tensor]:
        """One picture under a moving camera as local frames; its neighbours, at about the same place, as references."""
        draw, material, size, local = self._draw, self.material, self.phase.size, self.phase.local
        times = self._around(n)
        pictures = self._scene_pictures(times)
        source = (material.scenes.shape[-2], material.scenes.shape[-1])
        always = torch.ones(n, dtype=torch.bool, device=material.device)
        path = camera_paths(n, draw, source, size, moving=always, zooming=self._zooming(n))
        # What lies between two pictures is the way to the other one, not more of the way over this one.
        near = times.clamp(0, local - 1)
        frames = material.scenes[pictures].float() / 255
        return sample_clips(frames, path.grid(near, doubled(size), None, shutter)), times

    def _scene_pictures(self, times: Tensor) -> Tensor:
        """Which picture of which scene each frame is: indices (n, T) into the material's pictures. times: (n, T)."""
        draw, material, local = self._draw, self.material, self.phase.local
        n = len(times)
        scene = draw.choice(material.scene_weight, n)
        length = material.scene_length[scene]
        picture = draw.below(length.float())
        before, after = (-times).clamp_min(0), (times - (local - 1)).clamp_min(0)
        away = (torch.maximum(before, after) * SCENE_REACH / max(self.data.reference_reach, 1)).ceil()
        direction = torch.where(draw.chance(n, share=0.5), -1, 1)[:, None] * torch.where(before > 0, -1, 1)
        neighbour = (picture[:, None] + direction * away.long()).clamp_min(0)
        return material.scene_first[scene][:, None] + torch.minimum(neighbour, length[:, None] - 1)

    def _clips(self, n: int, shutter: Tensor | None) -> tuple[Tensor, Tensor]:
        draw, material, size = self._draw, self.material, self.phase.size
        windows = self._windows(n)
        stored = material.frames
        indices = windows.indices.flatten().to(stored.device)
        frames = stored[indices].to(material.device, non_blocking=True)
        frames = frames.unflatten(0, windows.indices.shape).float() / 255
        source = (stored.shape[-2], stored.shape[-1])
        path = camera_paths(
            n, draw, source, size, moving=draw.chance(n, share=self.augment.moving_clips), zooming=self._zooming(n)
        )
        return sample_clips(frames, path.grid(windows.times, doubled(size), None, shutter)), windows.times

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
        """(n, T): 0..l-1, then times of references outside the local ones, between low and high (n,) (inside, if there
        is no outside)."""
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

    def _with_foregrounds(self, frames: Tensor, times: Tensor, holes: Tensor, shutter: Tensor | None) -> Tensor:
        """Photographs cut to an outline, moving in front of some of the samples. frames: (n, T, 3, h, w) in [0, 1]."""
        draw, material, n = self._draw, self.material, len(frames)
        if not len(material.photos):
            return frames
        for kind in self._foregrounds:
            if kind.share > 0:
                field, _ = self.holes.outlines(n, draw)
                texture = material.photos[draw.choice(material.photo_weight, n)].float() / 255
                frames = kind.paint(frames, times, holes, self.phase.local, field, texture, draw, shutter)
        return frames
