"""How a sample is photographed: a moving camera over a picture or a clip, and foregrounds that move on their own in
front of it.

Everything is one sampling grid a sample, so all of a batch is one `grid_sample` call for each of: clips, photographs,
foregrounds. Source and frame coordinates run from -1 to 1, edge to edge. Shape legend: n samples, T times, h w pixels
of the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .sampling import SUPERSAMPLE, pixel_times
from .shapes import Draw


@dataclass(frozen=True)
class CameraPath:
    """A camera's motion over a source; tensors are (n,) or (n, 2) in source units, time counts frames.

    zoom: half of the source that the frame shows, by direction. drift: motion of the centre a frame; sway: amplitude of
    its swing. closer: change of the zoom's logarithm a frame; turn: radians a frame; tilt: perspective of the swing.
    """

    zoom: Tensor
    centre: Tensor
    drift: Tensor
    sway: Tensor
    closer: Tensor
    turn: Tensor
    tilt: Tensor
    rhythm: Tensor
    phase: Tensor

    def grid(
        self, times: Tensor, size: tuple[int, int], relief: Tensor | None = None, shutter: Tensor | None = None
    ) -> Tensor:
        """Where every frame pixel looks in the source: (n, T, h, w, 2). times: (n, T).

        relief: (n, 1, h, w) around 0, how near things are: the near ones move more, which no flat picture does.
        shutter: (n,), as `sampling.pixel_times` takes it.
        """
        h, w = size

        def at(value: Tensor) -> Tensor:
            return value[:, None, None, None]

        t = pixel_times(times, size, shutter)
        x = ((torch.arange(w, device=times.device) + 0.5) * (2 / w) - 1).view(1, 1, 1, w)
        y = ((torch.arange(h, device=times.device) + 0.5) * (2 / h) - 1).view(1, 1, h, 1)
        swing = torch.sin(at(self.rhythm) * t + at(self.phase))
        # Perspective, rotation (in square units), zoom, then the way the camera has come.
        depth = 1 + swing * (at(self.tilt[:, 0]) * x + at(self.tilt[:, 1]) * y)
        aspect = w / h
        angle = at(self.turn) * swing / at(self.rhythm)
        cos, sin = torch.cos(angle), torch.sin(angle)
        rx, ry = (cos * x * aspect - sin * y) / (depth * aspect), (sin * x * aspect + cos * y) / depth
        scale = torch.exp(at(self.closer) * swing / at(self.rhythm))
        way_x = at(self.drift[:, 0]) * t + at(self.sway[:, 0]) * swing
        way_y = at(self.drift[:, 1]) * t + at(self.sway[:, 1]) * torch.cos(at(self.rhythm) * t)
        nearer = 1 if relief is None else 1 + relief
        return torch.stack(
            (
                at(self.centre[:, 0]) + rx * scale * at(self.zoom[:, 0]) + way_x * nearer,
                at(self.centre[:, 1]) + ry * scale * at(self.zoom[:, 1]) + way_y * nearer,
            ),
            dim=-1,
        )


def camera_paths(
    n: int,
    draw: Draw,
    source: tuple[int, int],
    frame: tuple[int, int],
    *,
    moving: Tensor,
    zooming: Tensor | None = None,
) -> CameraPath:
    """Random paths of a frame of size `frame` over sources of size `source` (height, width).

    moving: (n,) bool. True over a photograph, whose motion is all from the camera; False over a clip, which has its
    own: a fixed crop, mirrored half of the time, at times with a little shake. zooming: (n,) bool, up to five times as
    fast as the others.
    """
    own = moving.float()
    (sh, sw), (h, w) = source, frame
    # From a little less than the source's own resolution up to the whole picture, without distorting it.
    native = max(h / sh, w / sw)
    largest = min(1.0, sh / sw * (w / h)), min(1.0, sw / sh * (h / w))  # a frame that fits, by direction
    smallest = min(0.75 * native, 0.9)
    part = smallest + draw.uniform(n) * (torch.where(moving, 0.92, 1.0) - smallest)
    zoom = torch.stack((part * largest[0], part * largest[1]), dim=1)
    room = (1 - zoom).clamp_min(0)
    centre = (2 * draw.uniform(n, 2) - 1) * room
    mirrored = torch.where(draw.chance(n, share=0.5), -1.0, 1.0)
    zoom = torch.stack((zoom[:, 0] * mirrored, zoom[:, 1]), dim=1)
    # Speeds in parts of the frame, slow ones more often: 0.1 to 8 pixels a frame at a width of 432.
    pace = draw.log_uniform(n, 1, low=0.0005, high=0.037) * (2 * draw.uniform(n, 2) - 1)
    shake = (moving | draw.chance(n, share=0.3)).float()
    fast = 1.0 if zooming is None else 1 + 4 * zooming.float()
    size = zoom.abs()
    return CameraPath(
        zoom=zoom,
        centre=centre,
        drift=pace * size * own[:, None],
        sway=draw.uniform(n, 2, low=-0.02, high=0.02) * size * shake[:, None],
        closer=draw.uniform(n, low=-0.012, high=0.012) * fast * shake * torch.where(moving, 1.0, 0.3),
        turn=draw.uniform(n, low=-0.008, high=0.008) * shake,
        tilt=draw.uniform(n, 2, low=-0.04, high=0.04) * own[:, None],
        rhythm=draw.uniform(n, low=0.08, high=0.35),
        phase=draw.uniform(n, high=6.283),
    )


def relief_maps(n: int, draw: Draw, size: tuple[int, int]) -> Tensor:
    """Smooth random nearness (n, 1, h, w), mean 0: half of the samples are flat."""
    coarse = 0.35 * draw.normal(n, 1, 3, 5) * draw.chance(n, 1, 1, 1, share=0.5)
    return F.interpolate(coarse, size=size, mode="bicubic", align_corners=True)


def sample_photographs(photos: Tensor, grid: Tensor) -> Tensor:
    """Pictures (n, 3, Hs, Ws) float under grids (n, T, 2h, 2w, 2) -> (n, T, 3, h, w). Beyond its edge a picture is
    mirrored."""
    n, t, h, w, _ = grid.shape
    # All times of a sample are one tall image: the photograph is not copied for each of them.
    flat = F.grid_sample(photos, grid.reshape(n, t * h, w, 2), padding_mode="reflection", align_corners=False)
    small = F.avg_pool2d(flat, SUPERSAMPLE)
    return small.view(n, 3, t, h // SUPERSAMPLE, w // SUPERSAMPLE).transpose(1, 2)


def sample_clips(frames: Tensor, grid: Tensor) -> Tensor:
    """Frames (n, T, 3, Hs, Ws) float, each under its own grid (n, T, 2h, 2w, 2) -> (n, T, 3, h, w)."""
    n, t = frames.shape[:2]
    sampled = F.grid_sample(frames.flatten(0, 1), grid.flatten(0, 1), padding_mode="reflection", align_corners=False)
    return F.avg_pool2d(sampled, SUPERSAMPLE).unflatten(0, (n, t))


def jitter_colours(frames: Tensor, times: Tensor, draw: Draw) -> Tensor:
    """Colour, contrast and an exposure that drifts with time. frames: (n, T, 3, h, w) in [0, 1], times: (n, T). Same
    back."""
    n = frames.shape[0]

    def per_sample(low: float, high: float, channels: int = 1) -> Tensor:
        return draw.log_uniform(n, 1, channels, 1, 1, low=low, high=high)

    frames = frames.clamp(1e-4, 1) ** per_sample(0.8, 1.25)
    grey = frames.mean(dim=2, keepdim=True)
    frames = grey + (frames - grey) * per_sample(0.7, 1.3)
    exposure = draw.uniform(n, 1, low=-0.03, high=0.03) * torch.sin(draw.uniform(n, 1, low=0.02, high=0.2) * times)
    # Half of the samples keep one exposure.
    exposure = exposure * draw.chance(n, 1, share=0.5)
    return (frames * per_sample(0.9, 1.1, 3) * torch.exp(exposure)[:, :, None, None, None]).clamp(0, 1)
