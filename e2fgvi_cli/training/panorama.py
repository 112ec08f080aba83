"""A camera that turns and zooms inside a panorama: the motion that a tripod's head gives, exact, and without end.

Panoramas are equirectangular: their width is 360 degrees, their height 180, the horizon in the middle. Rays have x to
the right, y down, z ahead. Shape legend: n samples, T times, h w pixels of the frame, H W of the panorama.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .sampling import SUPERSAMPLE, pixel_times
from .shapes import Draw

NARROWEST, WIDEST = math.radians(35), math.radians(95)
"""Horizontal angles of view."""
FINEST = 0.75
"""A frame shows at least so many pixels of a panorama for each of its own, across."""


@dataclass(frozen=True)
class PanoramaPath:
    """Where a camera at a panorama's centre looks; every tensor is (n,), angles are radians, time counts frames.

    half: tangent of half the horizontal angle of view, negative if the frame is mirrored. yaw to the right, pitch
    upwards, roll clockwise, at time 0 but for their swings. turn: change of yaw a frame. *_sway: amplitudes of the
    swings. closer: change of the logarithm of `half` a frame (it swings).
    """

    half: Tensor
    yaw: Tensor
    pitch: Tensor
    turn: Tensor
    yaw_sway: Tensor
    pitch_sway: Tensor
    roll_sway: Tensor
    closer: Tensor
    rhythm: Tensor
    phase: Tensor

    def grid(self, times: Tensor, size: tuple[int, int], shutter: Tensor | None = None) -> Tensor:
        """Where every frame pixel looks in the panorama, from -1 to 1, edge to edge: (n, T, h, w, 2). times: (n, T).

        shutter: (n,), as `sampling.pixel_times` takes it.
        """
        h, w = size

        def at(value: Tensor) -> Tensor:
            return value[:, None, None, None]

        t = pixel_times(times, size, shutter)
        swing, other = torch.sin(at(self.rhythm) * t + at(self.phase)), torch.cos(at(self.rhythm) * t)
        half = at(self.half) * torch.exp(at(self.closer) * swing / at(self.rhythm))
        x = ((torch.arange(w, device=times.device) + 0.5) * (2 / w) - 1).view(1, 1, 1, w) * half
        y = ((torch.arange(h, device=times.device) + 0.5) * (2 / h) - 1).view(1, 1, h, 1) * half.abs() * (h / w)
        roll, pitch = at(self.roll_sway) * swing, at(self.pitch) + at(self.pitch_sway) * other
        yaw = at(self.yaw) + at(self.turn) * t + at(self.yaw_sway) * swing
        x, y = roll.cos() * x - roll.sin() * y, roll.sin() * x + roll.cos() * y
        y, z = pitch.cos() * y - pitch.sin(), pitch.sin() * y + pitch.cos()
        longitude = yaw + torch.atan2(x, z)
        latitude = torch.atan2(y, torch.hypot(x, z))
        around = torch.remainder(longitude / math.pi + 1, 2) - 1
        return torch.stack((around, latitude * (2 / math.pi)), dim=-1)


def panorama_paths(
    n: int, draw: Draw, detail: Tensor, frame: tuple[int, int], *, zooming: Tensor | None = None
) -> PanoramaPath:
    """Random paths of a frame of size `frame` (height, width). detail: (n,), the panoramas' true widths in pixels.

    zooming: (n,) bool, up to five times as fast as the others.
    """
    finest = (FINEST * frame[1] * 2 * math.pi / detail).clamp(NARROWEST, WIDEST)
    angle = finest + draw.uniform(n) * (WIDEST - finest)
    # As fast as `camera_paths` moves over a photograph: 0.1 to 8 pixels a frame at a width of 432, slow ones more
    # often.
    turn = draw.log_uniform(n, low=0.00025, high=0.0185) * angle * (2 * draw.chance(n, share=0.5).float() - 1)
    fast = 1.0 if zooming is None else 1 + 4 * zooming.float()
    return PanoramaPath(
        half=torch.tan(angle / 2) * (2 * draw.chance(n, share=0.5).float() - 1),
        yaw=draw.uniform(n, low=-math.pi, high=math.pi),
        # Near the horizon: the zenith is sky, at the nadir stands whoever holds the camera.
        pitch=draw.uniform(n, low=-0.3, high=0.2),
        turn=turn,
        yaw_sway=draw.uniform(n, low=-0.01, high=0.01) * angle,
        pitch_sway=draw.uniform(n, low=-0.05, high=0.05) * angle,
        roll_sway=draw.uniform(n, low=-0.04, high=0.04),
        closer=draw.uniform(n, low=-0.012, high=0.012) * fast,
        rhythm=draw.uniform(n, low=0.08, high=0.35),
        phase=draw.uniform(n, high=2 * math.pi),
    )


def sample_panoramas(panoramas: Tensor, grid: Tensor) -> Tensor:
    """Panoramas (n, 3, H, W) float under grids (n, T, 2h, 2w, 2) -> (n, T, 3, h, w). Left and right edge are one."""
    n, t, h, w, _ = grid.shape
    width = panoramas.shape[-1]
    # A column of the other side on each, so that between the last and the first pixel there is no edge.
    around = F.pad(panoramas, (1, 1, 0, 0), mode="circular")
    inner = grid * torch.tensor([width / (width + 2), 1.0], device=grid.device)
    sampled = F.grid_sample(around, inner.reshape(n, t * h, w, 2), padding_mode="border", align_corners=False)
    return F.avg_pool2d(sampled.view(n, 3, t, h, w).transpose(1, 2).flatten(0, 1), SUPERSAMPLE).unflatten(0, (n, t))
