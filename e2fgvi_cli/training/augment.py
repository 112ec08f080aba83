"""What a camera and a codec do to a recording, for all samples at once: gain, noise, compression. Frames are (n, T, 3,
h, w) in [0, 1]."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .config import AugmentConfig
from .shapes import Draw

BLOCK = 8
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""JPEG's table of quantisation for brightness (ITU-T T.81, annex K), at quality 50."""
COLOUR_COARSER = 1.6
"""Colours are quantised by the same table times this: coarser, as JPEG's second table is."""
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def record(frames: Tensor, times: Tensor, config: AugmentConfig, draw: Draw) -> Tensor:
    """All of `config` that is of the picture alone (not of the camera's path), in the order of a camera. times: (n,
    T)."""
    if config.exposure > 0:
        frames = expose(frames, times, draw, config.exposure)
    if config.noise > 0:
        frames = add_noise(frames, draw, config.noise)
    if config.compression > 0:
        n = len(frames)
        quality = draw.uniform(n, low=35.0, high=90.0)
        chosen = draw.chance(n, 1, 1, 1, 1, share=config.compression)
        frames = torch.where(chosen, compress(frames, quality), frames)
    return frames


def expose(frames: Tensor, times: Tensor, draw: Draw, share: float) -> Tensor:
    """A gain that swings slowly, jumps at one time, or runs down the picture in bands; each a third of `share` of the
    samples."""
    n, h = len(frames), frames.shape[-2]

    def drawn(low: float, high: float) -> Tensor:
        return draw.uniform(n, 1, 1, low=low, high=high)

    t = times[:, :, None]
    y = (torch.arange(h, device=frames.device) + 0.5).view(1, 1, h) / h
    swing = drawn(-0.15, 0.15) * torch.sin(drawn(0.05, 0.4) * t + drawn(0, 2 * math.pi))
    jump = drawn(-0.15, 0.15) * torch.sigmoid((t - drawn(0, 10)) * drawn(0.7, 4.0))
    bands = drawn(-0.05, 0.05) * torch.sin(drawn(3, 15) * y + drawn(0, 2 * math.pi) * t)
    kind = draw.uniform(n, 1, 1) * 3 / max(share, 1e-6)
    stops = torch.where(kind < 1, swing, torch.where(kind < 2, jump, torch.where(kind < 3, bands, torch.zeros_like(t))))
    return (frames * torch.exp(stops.expand(-1, -1, h))[:, :, None, :, None]).clamp(0, 1)


def add_noise(frames: Tensor, draw: Draw, share: float) -> Tensor:
    """Noise that is another in every frame, 0.5 to 6 of 255 levels, more of it in the brightness; half of it in grains
    of two pixels."""
    n, t, _, h, w = frames.shape
    strength = draw.log_uniform(n, 1, 1, 1, 1, low=0.5 / 255, high=6 / 255) * draw.chance(n, 1, 1, 1, 1, share=share)
    grain = F.interpolate(draw.normal(n * t, 1, -(-h // 2), -(-w // 2)), scale_factor=2, mode="nearest")
    fine = draw.normal(n, t, 3, h, w)
    coarse = draw.chance(n, 1, 1, 1, 1, share=0.5)
    noise = torch.where(coarse, grain[:, :, :h, :w].unflatten(0, (n, t)), fine)
    return (frames + strength * noise).clamp(0, 1)


def compress(frames: Tensor, quality: Tensor) -> Tensor:
    """Frames as JPEG keeps them at `quality` (n,), 1 to 100: blocks of 8 x 8, their frequencies rounded. Colours are
    not halved in size."""
    n, t, _, h, w = frames.shape
    device = frames.device
    to_ycc = torch.tensor(TO_YCC, device=device)
    dct = _cosines(device)
    levels = torch.einsum("cd,ntdhw->ntchw", to_ycc, frames * 255 - 128)
    padded = F.pad(levels.flatten(0, 1), (0, -w % BLOCK, 0, -h % BLOCK), mode="replicate")
    blocks = padded.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).transpose(3, 4)  # (nT, 3, rows, columns, 8, 8)
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50).clamp_min(0.01)
    table = torch.tensor(LUMINANCE, device=device, dtype=torch.float32) * scale[:, None, None]
    step = torch.stack((table, table * COLOUR_COARSER, table * COLOUR_COARSER), 1).clamp_min(1)
    step = step[:, None].expand(n, t, 3, BLOCK, BLOCK).flatten(0, 1)[:, :, None, None]
    kept = ((dct @ blocks @ dct.T) / step).round() * step
    out = (dct.T @ kept @ dct).transpose(3, 4).flatten(2, 3).flatten(3, 4)[..., :h, :w].unflatten(0, (n, t))
    return ((torch.einsum("cd,ntdhw->ntchw", torch.linalg.inv(to_ycc), out) + 128) / 255).clamp(0, 1)


def _cosines(device: torch.device) -> Tensor:
    """The orthonormal cosine transform of a block's side: (8, 8), frequencies by positions."""
    k = torch.arange(BLOCK, device=device, dtype=torch.float32)
    waves = torch.cos(math.pi / BLOCK * k[:, None] * (k[None] + 0.5)) * (2 / BLOCK) ** 0.5
    waves[0] /= 2**0.5
    return waves
