"""Temporal PatchGAN (Chang et al., "Free-form Video Inpainting with 3D Gated Convolution and Temporal PatchGAN", ICCV
2019).

Written from the paper's description: six 3-D convolutions of 3 x 5 x 5 with stride 1 x 2 x 2 under spectral
normalisation, the last without an activation. Every value of the last feature map is a verdict over its receptive field
in space and time, so no single verdict sees the whole clip.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

CHANNELS = (64, 128, 256, 256, 256, 256)
KERNEL = (3, 5, 5)
STRIDE = (1, 2, 2)
PADDING = (1, 2, 2)
LEAK = 0.2


class TemporalPatchGAN(nn.Module):
    """(b, t, 3, H, W) in [-1, 1] -> verdicts (b, 256, t, H/64, W/64) (rounded up), unbounded."""

    def __init__(self, channels: tuple[int, ...] = CHANNELS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((3, *channels)):
            convolution = nn.Conv3d(inputs, outputs, KERNEL, STRIDE, PADDING)
            nn.init.kaiming_normal_(convolution.weight, a=LEAK, nonlinearity="leaky_relu")
            layers += [spectral_norm(convolution), nn.LeakyReLU(LEAK)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, clip: Tensor) -> Tensor:
        out: Tensor = self.layers(clip.transpose(1, 2))
        return out
