"""Optical flow: backward warping, and SPyNet (Ranjan & Black, CVPR 2017) in the six-level form of BasicVSR.

A flow is (dx, dy) in pixels of its own grid and points from the frame it lives on to the frame that is sampled.
Shape legend: b batch, c channels, h w grid.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .tables import table

SPYNET_LEVELS = 6
SPYNET_MULTIPLE = 2 ** (SPYNET_LEVELS - 1)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@table
def _pixel_grid(h: int, w: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(1, 2, h, w): the x and y coordinate of every pixel."""
    with torch.inference_mode(False):  # cached: it must also serve a later training step
        xs = torch.arange(w, dtype=dtype, device=device).expand(h, w)
        ys = torch.arange(h, dtype=dtype, device=device)[:, None].expand(h, w)
        return torch.stack((xs, ys))[None]


def warp(x: Tensor, flow: Tensor, *, padding: Literal["zeros", "border"] = "zeros") -> Tensor:
    """Backward warping: `out(p) = x(p + flow(p))`, bilinear.

    x: (b, c, h, w) any float dtype. flow: (b, 2, h, w), (dx, dy) in pixels of that grid. `padding` is what lies outside
    x. Coordinates are computed in at least float32, whatever the dtype of x. Border padding is done by clamping
    the coordinates, which is the same and also works where `grid_sample` has no border mode (MPS).
    """
    if x.shape[-2:] != flow.shape[-2:]:
        raise ValueError(f"x is {tuple(x.shape[-2:])} but flow is {tuple(flow.shape[-2:])}: they share one grid")
    h, w = x.shape[-2:]
    precise = torch.promote_types(flow.dtype, torch.float32)
    position = _pixel_grid(h, w, precise, x.device) + flow.to(precise)
    px, py = position[:, 0], position[:, 1]
    if padding == "border":
        px, py = px.clamp(0, w - 1), py.clamp(0, h - 1)
    # grid_sample wants [-1, 1] between the centres of the corner pixels (align_corners=True).
    normalised = torch.stack((2 * px / max(w - 1, 1) - 1, 2 * py / max(h - 1, 1) - 1), dim=-1)
    out = F.grid_sample(x.to(precise), normalised, mode="bilinear", padding_mode="zeros", align_corners=True)
    return out.to(x.dtype)


class _ConvReLU(nn.Module):
    """A 7x7 convolution under the key `conv`, as the published checkpoint names it."""

    def __init__(self, in_channels: int, out_channels: int, *, relu: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=7, padding=3)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return F.relu(y) if self.relu else y


class _SPyNetLevel(nn.Module):
    """Five convolutions that turn [first, warped second, flow] (8 channels) into a residual flow (2 channels)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (8, 32, 64, 32, 16, 2)
        last = len(widths) - 2
        self.basic_module = nn.Sequential(
            *(_ConvReLU(a, b, relu=i < last) for i, (a, b) in enumerate(pairwise(widths)))
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.basic_module(x)
        return out


class SPyNet(nn.Module):
    """Coarse-to-fine flow over a six-level pyramid."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.basic_module = nn.ModuleList(_SPyNetLevel() for _ in range(SPYNET_LEVELS))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Flow from `first` to `second`: (b, 2, h, w), (dx, dy) in pixels, living on `first`.

        first, second: (b, 3, h, w), RGB in [0, 1], any size.
        """
        h, w = first.shape[-2:]
        up = tuple(-(-n // SPYNET_MULTIPLE) * SPYNET_MULTIPLE for n in (h, w))
        first, second = (F.interpolate(x, size=up, mode="bilinear", align_corners=False) for x in (first, second))
        flow = F.interpolate(self._pyramid_flow(first, second), size=(h, w), mode="bilinear", align_corners=False)
        # Scaled plane by plane: a tensor of the two factors would be copied from the host at every call.
        return torch.cat((flow[:, :1] * (w / up[1]), flow[:, 1:] * (h / up[0])), dim=1)

    def _pyramid_flow(self, first: Tensor, second: Tensor) -> Tensor:
        firsts, seconds = self._pyramid(first), self._pyramid(second)
        coarsest = firsts[0]
        flow = coarsest.new_zeros(coarsest.shape[0], 2, *coarsest.shape[-2:])
        for level, (a, b) in enumerate(zip(firsts, seconds, strict=True)):
            if level:
                flow = 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
                b = warp(b, flow, padding="border")
            flow = flow + self.basic_module[level](torch.cat((a, b, flow), dim=1))
        return flow

    def _pyramid(self, image: Tensor) -> list[Tensor]:
        """Normalised images, coarsest first."""
        levels = [(image - self.mean) / self.std]
        for _ in range(SPYNET_LEVELS - 1):
            levels.append(F.avg_pool2d(levels[-1], kernel_size=2, stride=2))
        return levels[::-1]
