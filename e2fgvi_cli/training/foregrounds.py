"""Things that move in front of a sample's scene: photographs cut to an outline, some of which change their shape or
pass behind the hole.

Shape legend: n samples, T times, h w pixels of the frame, S = shapes.FIELD.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .camera import sample_photographs
from .sampling import SUPERSAMPLE, doubled
from .shapes import Draw, Placement, place, sample_field


@dataclass(frozen=True)
class Foregrounds:
    """How foregrounds are drawn: area in parts of the frame, speed in pixels a frame at a height of 240.

    pliant: how far an outline's points swing, in parts of half its size. behind_hole: they pass behind the sample's
    hole at one of its local frames; else they are anywhere.
    """

    share: float
    area: tuple[float, float]
    max_speed: float
    pliant: float = 0.0
    behind_hole: bool = False

    def paint(
        self,
        frames: Tensor,
        times: Tensor,
        holes: Tensor,
        local: int,
        field: Tensor,
        texture: Tensor,
        draw: Draw,
        shutter: Tensor | None = None,
    ) -> Tensor:
        """`frames` (n, T, 3, h, w) in [0, 1] with `share` of the samples behind a foreground.

        times: (n, T). holes: (n, T, 1, h, w), the first `local` of them of the local frames. field: (n, 1, S, S),
        outlines.
        texture: (n, 3, Hp, Wp) in [0, 1], a photograph for each. shutter: (n,), as `sampling.pixel_times` takes it.
        """
        n, size = len(frames), (frames.shape[-2], frames.shape[-1])
        never = torch.zeros(n, dtype=torch.bool, device=frames.device)
        placement = place(field, draw, size=size, area=self.area, max_speed=self.max_speed, still=never, wide=never)
        if self.behind_hole:
            placement = aimed(placement, holes[:, :local], times[:, :local], draw)
        coordinates = placement.local_coordinates(times, doubled(size), shutter)
        if self.pliant > 0:
            coordinates = swayed(coordinates, times, self.pliant, draw)
        # The texture is glued to the outline: both are read through the same coordinates.
        zoom, shift = draw.uniform(n, 1, 1, 1, 1, low=0.15, high=0.5), draw.uniform(n, 1, 1, 1, 2, low=-0.5, high=0.5)
        seen = sample_photographs(texture, coordinates * zoom + shift)
        alpha = F.avg_pool2d(sample_field(field, coordinates).flatten(0, 1), SUPERSAMPLE).unflatten(0, times.shape)
        return frames + alpha * draw.chance(n, 1, 1, 1, 1, share=self.share) * (seen - frames)


def aimed(placement: Placement, holes: Tensor, times: Tensor, draw: Draw) -> Placement:
    """`placement` with its centre near that of the hole at one of `times` (n, T). holes: (n, T, 1, h, w) in {0, 1}."""
    n, t, _, h, w = holes.shape
    moment = draw.below(torch.full((n,), float(t), device=holes.device))
    row = torch.arange(n, device=holes.device)
    hole, time = holes[row, moment, 0], times[row, moment]
    x = ((torch.arange(w, device=holes.device) + 0.5) * (2 / w) - 1).view(1, 1, w)
    y = ((torch.arange(h, device=holes.device) + 0.5) * (2 / h) - 1).view(1, h, 1)
    area = hole.sum((1, 2)).clamp_min(1)
    aside = draw.uniform(n, 2, low=-0.15, high=0.15)
    # The centre has passed `speed * time` since time 0; walls that it bounces off lie at 0.9.
    centre_x = ((hole * x).sum((1, 2)) / area + aside[:, 0]).clamp(-0.85, 0.85)
    centre_y = ((hole * y).sum((1, 2)) / area + aside[:, 1]).clamp(-0.85, 0.85)
    return replace(placement, x=centre_x - placement.speed_x * time, y=centre_y - placement.speed_y * time)


def swayed(coordinates: Tensor, times: Tensor, most: float, draw: Draw) -> Tensor:
    """`coordinates` (n, T, h, w, 2) bent by a wave that runs through them, another one in each direction. times: (n,
    T).

    most: largest amplitude. Short waves are low ones, so that nothing folds over itself.
    """
    n = len(coordinates)
    wave = draw.uniform(n, 1, 1, 1, 2, 2, low=-3.0, high=3.0)
    rhythm, phase = draw.uniform(n, 1, 1, 1, 2, low=0.1, high=0.6), draw.uniform(n, 1, 1, 1, 2, high=2 * math.pi)
    amplitude = draw.uniform(n, 1, 1, 1, 2, high=most) / (1 + wave.square().sum(-1)).sqrt()
    angle = (coordinates[..., None, :] * wave).sum(-1) + rhythm * times[:, :, None, None, None] + phase
    return coordinates + amplitude * torch.sin(angle)
