"""Stage 1 and stage 7 of E2FGVI-HQ: the frame encoder (RGB to features at a quarter of the size) and the decoder.

Shape legend: n frames (any batch of pictures), c channels, H W pixels, h w = H/4 W/4.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.2

# (in, out, stride, groups) of the nine 3x3 convolutions.
ENCODER_LAYERS = (
    (3, 64, 2, 1),
    (64, 64, 1, 1),
    (64, 128, 2, 1),
    (128, 256, 1, 1),
    (256, 384, 1, 1),
    (640, 512, 1, 2),
    (768, 384, 1, 4),
    (640, 256, 1, 8),
    (512, 128, 1, 1),
)
SKIP_AFTER = 3
"""The output of this convolution is fed again to every one that follows the next."""


def _interleave_groups(skip: Tensor, current: Tensor, groups: int) -> Tensor:
    """Concatenate two maps group by group, so that every group of a grouped convolution sees a part of both."""
    n, _, h, w = skip.shape
    parts = (skip.view(n, groups, -1, h, w), current.reshape(n, groups, -1, h, w))
    return torch.cat(parts, dim=2).view(n, -1, h, w)


class Encoder(nn.Module):
    """(n, 3, H, W) in [-1, 1], holes 0 -> (n, 128, H/4, W/4)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for in_channels, out_channels, stride, groups in ENCODER_LAYERS:
            layers.append(nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, groups=groups))
            layers.append(nn.LeakyReLU(LEAK, inplace=True))
        self.layers = nn.ModuleList(layers)

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return next(self.parameters()).dtype

    def forward(self, frames: Tensor) -> Tensor:
        x = skip = frames
        for i, (*_, groups) in enumerate(ENCODER_LAYERS):
            if i > SKIP_AFTER + 1:
                x = _interleave_groups(skip, x, groups)
            x = self.layers[2 * i + 1](self.layers[2 * i](x))
            if i == SKIP_AFTER:
                skip = x
        return x


class _UpsampleConv(nn.Module):
    """Twice the size (bilinear), then a 3x3 convolution under the key `conv`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))
        return out


class Decoder(nn.Sequential):
    """(n, 128, h, w) -> (n, 3, 4h, 4w), before the final tanh."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            _UpsampleConv(channels, 128),
            nn.LeakyReLU(LEAK, inplace=True),
            nn.Conv2d(128, 64, 3, padding=1),
            nn.LeakyReLU(LEAK, inplace=True),
            _UpsampleConv(64, 64),
            nn.LeakyReLU(LEAK, inplace=True),
            nn.Conv2d(64, 3, 3, padding=1),
        )
