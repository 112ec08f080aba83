"""When and how densely pixels are sampled. Shape legend: n samples, T times, h w pixels."""

from __future__ import annotations

import torch
from torch import Tensor

SUPERSAMPLE = 2
"""Frames are sampled at twice the size and averaged: bilinear sampling alone flickers where a picture is shrunk."""


def doubled(size: tuple[int, int]) -> tuple[int, int]:
    """The size that frames are sampled at."""
    return size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE


def pixel_times(times: Tensor, size: tuple[int, int], shutter: Tensor | None) -> Tensor:
    """When each pixel of a supersampled frame is seen: (n, T, h, w), or (n, T, 1, 1) if all are at once. times: (n, T).

    shutter: (n,), how much of a frame's time it is open. The pixels that are averaged into one are spread over that
    time, so what moves is blurred along its way at no cost.
    """
    t = times[:, :, None, None]
    if shutter is None:
        return t
    (h, w), side = size, SUPERSAMPLE
    moment = torch.arange(side * side, device=times.device, dtype=times.dtype)
    moment = ((moment + 0.5) / (side * side) - 0.5).view(side, side)
    return t + shutter[:, None, None, None] * moment.repeat(h // side, w // side)
