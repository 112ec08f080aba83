"""Outlines and how they move: what holes and foregrounds are made of. All samples at once, a few kernels each.

An outline is a field (n, 1, S, S) with values above 0.5 inside. A `Placement` says where it lies in the frame at any
time. Frame coordinates run from -1 to 1 in both directions, edge to edge; time counts frames.
Shape legend: n samples, T times, h w pixels, S = FIELD.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .sampling import pixel_times

FIELD = 128
"""Side of an outline's field in pixels."""

BLOB_LOBES, BLOB_HARMONICS = 3, 4
STROKE_POINTS = 7


class Draw:
    """Random numbers of one device from one generator, so that a run can be resumed to the bit."""

    def __init__(self, device: torch.device, generator: torch.Generator) -> None:
        self.device, self.generator = device, generator

    def uniform(self, *size: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform in [low, high)."""
        return low + (high - low) * torch.rand(size, device=self.device, generator=self.generator)

    def log_uniform(self, *size: int, low: float, high: float) -> Tensor:
        """Logarithm uniform: as often between 1 and 2 as between 2 and 4."""
        return torch.exp(self.uniform(*size, low=math.log(low), high=math.log(high)))

    def normal(self, *size: int) -> Tensor:
        """Standard normal."""
        return torch.randn(size, device=self.device, generator=self.generator)

    def chance(self, *size: int, share: float) -> Tensor:
        """True with probability `share`."""
        return self.uniform(*size) < share

    def below(self, bound: Tensor) -> Tensor:
        """Whole numbers in [0, bound), elementwise; 0 where bound is 0."""
        return (torch.rand(bound.shape, device=self.device, generator=self.generator) * bound).long().clamp_min(0)

    def choice(self, weights: Tensor, n: int) -> Tensor:
        """n indices with probabilities in proportion to `weights` (on this device)."""
        return torch.multinomial(weights, n, replacement=True, generator=self.generator)


def _field_grid(device: torch.device) -> tuple[Tensor, Tensor]:
    """x and y, each (1, S, S), of the centres of a field's pixels."""
    axis = (torch.arange(FIELD, device=device) + 0.5) * (2 / FIELD) - 1
    return axis.view(1, 1, -1).expand(1, FIELD, FIELD), axis.view(1, -1, 1).expand(1, FIELD, FIELD)


def blobs(n: int, draw: Draw) -> Tensor:
    """Smooth outlines: one to three overlapping lobes, each a circle whose radius swings with the angle."""
    x, y = _field_grid(draw.device)
    centre = draw.uniform(n, BLOB_LOBES, 2, 1, 1, low=-0.4, high=0.4)
    dx, dy = x[:, None] - centre[:, :, 0], y[:, None] - centre[:, :, 1]
    angle, distance = torch.atan2(dy, dx), torch.hypot(dx, dy)
    order = torch.arange(1, BLOB_HARMONICS + 1, device=draw.device).view(1, 1, -1, 1, 1)
    swing = draw.uniform(n, BLOB_LOBES, BLOB_HARMONICS, 1, 1, low=-0.25, high=0.25) / order
    phase = draw.uniform(n, BLOB_LOBES, BLOB_HARMONICS, 1, 1, high=2 * math.pi)
    radius = draw.uniform(n, BLOB_LOBES, 1, 1, low=0.3, high=0.55)
    radius = radius * (1 + (swing * torch.cos(order * angle[:, :, None] + phase)).sum(2))
    # A lobe that is not there has no radius; the first one always is.
    there = draw.chance(n, BLOB_LOBES, 1, 1, share=0.5)
    there[:, 0] = True
    return _edge((torch.where(there, radius, -1.0) - distance).amax(1, keepdim=True))


def strokes(n: int, draw: Draw) -> Tensor:
    """Brush strokes: a random walk of straight segments with round ends and one width."""
    x, y = _field_grid(draw.device)
    heading = draw.uniform(n, 1, high=2 * math.pi) + draw.uniform(n, STROKE_POINTS - 1, low=-1.1, high=1.1).cumsum(1)
    step = draw.uniform(n, STROKE_POINTS - 1, low=0.2, high=0.5)
    walk = torch.stack((step * heading.cos(), step * heading.sin()), -1).cumsum(1)
    points = torch.cat((torch.zeros_like(walk[:, :1]), walk), 1)
    low, high = points.amin(1, keepdim=True), points.amax(1, keepdim=True)
    points = (points - (low + high) / 2) / ((high - low).amax(2, keepdim=True) / 1.6)
    start, end = points[:, :-1, :, None, None], points[:, 1:, :, None, None]
    along = end - start
    px, py = x[:, None] - start[:, :, 0], y[:, None] - start[:, :, 1]
    length = along.square().sum(2).clamp_min(1e-6)
    at = ((px * along[:, :, 0] + py * along[:, :, 1]) / length).clamp(0, 1)
    distance = torch.hypot(px - at * along[:, :, 0], py - at * along[:, :, 1]).amin(1, keepdim=True)
    return _edge(draw.uniform(n, 1, 1, 1, low=0.06, high=0.18) - distance)


def boxes(n: int, draw: Draw) -> Tensor:
    """One rectangle that fills the field, or two overlapping ones."""
    x, y = _field_grid(draw.device)
    half = draw.uniform(n, 2, 2, 1, 1, low=0.35, high=0.75)
    centre = draw.uniform(n, 2, 2, 1, 1, low=-0.25, high=0.25)
    single = draw.chance(n, 1, 1, 1, 1, share=0.6)
    half, centre = torch.where(single, 0.95, half), torch.where(single, 0.0, centre)
    inside = torch.minimum(
        half[:, :, 0] - (x[:, None] - centre[:, :, 0]).abs(), half[:, :, 1] - (y[:, None] - centre[:, :, 1]).abs()
    )
    return _edge(inside.amax(1, keepdim=True))


def _edge(inside: Tensor) -> Tensor:
    """A signed distance (positive inside, field units) as a field whose edge is two field pixels wide."""
    return (0.5 + inside * FIELD / 4).clamp(0, 1)


@dataclass(frozen=True)
class Placement:
    """Where an outline lies over time; every tensor is (n,) and speaks of a frame from -1 to 1.

    half_x, half_y: half of the field's size. speed_x, speed_y: a frame. turn: radians a frame around `angle`; swell:
    relative change of size a frame (it swings, it does not run away).
    """

    x: Tensor
    y: Tensor
    half_x: Tensor
    half_y: Tensor
    speed_x: Tensor
    speed_y: Tensor
    angle: Tensor
    turn: Tensor
    swell: Tensor
    rhythm: Tensor

    def local_coordinates(self, times: Tensor, size: tuple[int, int], shutter: Tensor | None = None) -> Tensor:
        """Every frame pixel in the outline's own coordinates, as a sampling grid (n, T, h, w, 2). times: (n, T).

        shutter: (n,), as `sampling.pixel_times` takes it; `size` is a supersampled one then.
        """
        h, w = size
        aspect = w / h

        def at(value: Tensor) -> Tensor:
            return value[:, None, None, None]

        t = pixel_times(times, size, shutter)
        px = ((torch.arange(w, device=times.device) + 0.5) * (2 / w) - 1).view(1, 1, 1, w)
        py = ((torch.arange(h, device=times.device) + 0.5) * (2 / h) - 1).view(1, 1, h, 1)
        # The centre bounces between the borders.
        dx = (px - bounce(at(self.x) + at(self.speed_x) * t)) * aspect
        dy = py - bounce(at(self.y) + at(self.speed_y) * t)
        swing = torch.sin(at(self.rhythm) * t)
        angle = at(self.angle) + at(self.turn) * swing / at(self.rhythm)
        size_now = torch.exp(at(self.swell) * swing / at(self.rhythm))
        cos, sin = torch.cos(angle), torch.sin(angle)
        u = (cos * dx + sin * dy) / (at(self.half_x) * aspect * size_now)
        v = (cos * dy - sin * dx) / (at(self.half_y) * size_now)
        return torch.stack((u, v), dim=-1)


def bounce(position: Tensor, border: float = 0.9) -> Tensor:
    """A position that runs on, folded back into [-border, border] as a ball between walls."""
    folded = torch.remainder(position + border, 4 * border)
    return torch.where(folded < 2 * border, folded, 4 * border - folded) - border


def sample_field(field: Tensor, coordinates: Tensor) -> Tensor:
    """Fields (n, 1, S, S) at `coordinates` (n, T, h, w, 2), 0 outside: (n, T, 1, h, w)."""
    n, t, h, w, _ = coordinates.shape
    sampled = F.grid_sample(field, coordinates.reshape(n, t * h, w, 2), padding_mode="zeros", align_corners=False)
    return sampled.view(n, t, 1, h, w)


def place(
    field: Tensor,
    draw: Draw,
    *,
    size: tuple[int, int],
    area: tuple[float, float],
    max_speed: float,
    still: Tensor,
    wide: Tensor,
) -> Placement:
    """Random placements for outlines.

    area: smallest and largest part of the frame to cover. max_speed: pixels a frame at a height of 240. still: (n,)
    bool, does not move at all. wide: (n,) bool, a line of text: wide, level, near the upper or lower border.
    """
    n, (h, w) = field.shape[0], size
    coverage = field.mean(dim=(1, 2, 3)).clamp_min(0.02)
    wanted = draw.log_uniform(n, low=area[0], high=area[1]) / coverage
    ratio = torch.where(wide, draw.uniform(n, low=4.0, high=9.0), draw.log_uniform(n, low=0.6, high=1.7))
    ratio = ratio * (h / w)  # width over height, in frame units
    half_x, half_y = (wanted * ratio).sqrt().clamp(max=0.95), (wanted / ratio).sqrt().clamp(max=0.95)
    side = torch.where(draw.chance(n, share=0.75), 1.0, -1.0)
    y = torch.where(wide, side * draw.uniform(n, low=0.6, high=0.85), draw.uniform(n, low=-0.85, high=0.85))
    moving = (~still).float()
    # As fast in a small picture as in a large one, in parts of the frame.
    speed = draw.log_uniform(n, low=0.2, high=max(max_speed, 0.21)) * (2 / 240) * moving
    direction = draw.uniform(n, high=2 * math.pi)
    return Placement(
        x=draw.uniform(n, low=-0.85, high=0.85),
        y=y,
        half_x=half_x,
        half_y=half_y,
        speed_x=speed * direction.cos() * (h / w),
        speed_y=speed * direction.sin(),
        angle=torch.where(wide, 0.0, draw.uniform(n, low=-0.5, high=0.5)),
        turn=draw.uniform(n, low=-0.03, high=0.03) * moving,
        swell=draw.uniform(n, low=-0.03, high=0.03) * moving,
        rhythm=draw.uniform(n, low=0.05, high=0.3),
    )
