"""Stages 4 and 6, and the feed-forward part of stage 5: overlapping patches as tokens ("soft split / soft composition",
FuseFormer, ICCV 2021).

The definition is unfold + Linear and Linear + fold. Both are written here as the convolutions they are: a Linear over
unfolded 7x7 patches *is* a 7x7 convolution with stride 3, a Linear followed by fold *is* its transposed convolution.
The weights keep the published (Linear) shape and are viewed as kernels, so nothing 49 times the size of the
feature map is ever written.

Shape legend: n frames, c channels of the map, d token dimension, h w feature grid, th tw token grid.
"""

from __future__ import annotations

from types import ModuleType
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import E2FGVIConfig
from .tables import table


def _output_padding(size: int, tokens: int, config: E2FGVIConfig) -> int:
    return size - ((tokens - 1) * config.split_stride - 2 * config.split_padding + config.split_kernel)


def compose_patches(
    tokens: Tensor, weight: Tensor, bias: Tensor, size: tuple[int, int], config: E2FGVIConfig
) -> Tensor:
    """Linear then fold (overlaps summed), as one transposed convolution.

    tokens: (n, d, th, tw). weight: (c * k * k, d), bias: (c * k * k,), the Linear's. Returns (n, c, h, w), `size` = (h,
    w).
    """
    k = config.split_kernel
    grid = (tokens.shape[-2], tokens.shape[-1])
    padding = tuple(_output_padding(s, t, config) for s, t in zip(size, grid, strict=True))

    def fold(x: Tensor, kernel: Tensor) -> Tensor:
        return F.conv_transpose2d(
            x, kernel, stride=config.split_stride, padding=config.split_padding, output_padding=padding
        )

    # The bias of the Linear is added once for every patch that covers a pixel: a map that depends on the size only.
    ones = tokens.new_ones(1, 1, *grid)
    return fold(tokens, weight.t().reshape(-1, weight.shape[0] // k**2, k, k)) + fold(ones, bias.view(1, -1, k, k))


def split_patches(x: Tensor, weight: Tensor, bias: Tensor, config: E2FGVIConfig) -> Tensor:
    """Unfold then Linear, as one strided convolution. x: (n, c, h, w), weight: (d, c * k * k). Returns (n, d, th,
    tw)."""
    k = config.split_kernel
    kernel = weight.view(weight.shape[0], -1, k, k)
    return F.conv2d(x, kernel, bias, stride=config.split_stride, padding=config.split_padding)


@table
def _coverage(size: tuple[int, int], config: E2FGVIConfig, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(1, 1, h, w): how many patches cover each feature pixel."""
    k = config.split_kernel
    grid = config.token_grid(size)
    with torch.inference_mode(False):  # cached: it must also serve a later training step
        patches = torch.ones(1, k * k, grid[0] * grid[1], dtype=dtype, device=device)
        return F.fold(patches, size, k, stride=config.split_stride, padding=config.split_padding)


class SoftSplit(nn.Module):
    """Stage 4: (n, c, h, w) -> tokens (n, th, tw, d)."""

    def __init__(self, config: E2FGVIConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(config.channels * config.split_kernel**2, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        return split_patches(x, self.embedding.weight, self.embedding.bias, self.config).permute(0, 2, 3, 1)


class SoftComposition(nn.Module):
    """Stage 6: tokens (n, th, tw, d) -> (n, c, h, w)."""

    def __init__(self, config: E2FGVIConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(config.embed_dim, config.channels * config.split_kernel**2)
        self.bias_conv = nn.Conv2d(config.channels, config.channels, 3, padding=1)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        x = tokens.permute(0, 3, 1, 2)
        folded = compose_patches(x, self.embedding.weight, self.embedding.bias, size, self.config)
        out: Tensor = self.bias_conv(folded)
        return out


class FusionFeedForward(nn.Module):
    """The feed-forward network of a focal block, in which overlapping patches exchange what they know.

    Linear, fold with division by the coverage, unfold, GELU, Linear. GELU acts on single values and maps the zero
    padding to zero, so it may come before the unfold: again one transposed and one strided convolution.
    """

    def __init__(self, config: E2FGVIConfig) -> None:
        super().__init__()
        self.config = config
        # Index 0 and 1 of a Sequential: the key names of the published checkpoint.
        self.conv1 = nn.Sequential(nn.Linear(config.embed_dim, config.mlp_dim))
        self.conv2 = nn.Sequential(nn.GELU(), nn.Linear(config.mlp_dim, config.embed_dim))
        self._fused: tuple[ModuleType, Tensor, Tensor, Tensor] | None = None

    @property
    def _first(self) -> nn.Linear:
        return cast(nn.Linear, self.conv1[0])

    @property
    def _second(self) -> nn.Linear:
        return cast(nn.Linear, self.conv2[1])

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """tokens: (n, th, tw, d); `size`: (h, w) of the feature grid. Same shape back."""
        if self._fused is not None:
            return self._fused_forward(self._fused, tokens, size)
        folded = compose_patches(tokens.permute(0, 3, 1, 2), self._first.weight, self._first.bias, size, self.config)
        mixed = F.gelu(folded / _coverage(size, self.config, folded.dtype, folded.device))
        return split_patches(mixed, self._second.weight, self._second.bias, self.config).permute(0, 2, 3, 1)

    def use_kernels(self, kernels: ModuleType | None) -> None:
        """Run on the fused `kernels` (the module `model.kernels`) from now on, with today's weights; None: not any
        more.

        They want the taps before the channels; matrix products on tensor cores are then faster than the convolutions.
        """
        self._fused = None
        if kernels is not None:
            d, taps = self.config.embed_dim, self.config.split_kernel**2
            with torch.no_grad():
                first = self._first.weight.view(-1, taps, d).transpose(0, 1).reshape(-1, d)
                bias = self._first.bias.view(-1, taps).t().reshape(-1)
                second = self._second.weight.view(d, -1, taps).transpose(1, 2).reshape(d, -1)
            self._fused = (kernels, first, bias, second)

    def _fused_forward(
        self, fused: tuple[ModuleType, Tensor, Tensor, Tensor], tokens: Tensor, size: tuple[int, int]
    ) -> Tensor:
        kernels, first, bias, second = fused
        n, th, tw, d = tokens.shape
        c = self.config
        patches = F.linear(tokens.reshape(n, th * tw, d), first, bias)
        mixed = kernels.mix_patches(patches, size, (th, tw), c.split_kernel, c.split_stride, c.split_padding)
        return F.linear(mixed, second, self._second.bias).view(n, th, tw, d)
