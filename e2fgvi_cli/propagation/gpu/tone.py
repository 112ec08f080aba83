"""`propagation.tone` for all candidates of a frame at once, in torch's operators.

Shape legend: k candidates, y x the coarse region around a hole.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..tone import EVERY, FIRST_LIMIT, FLOOR, LIMIT, ROUNDS, STIFFNESS


def fit_tones(apart: Tensor, compared: Tensor, levels: float) -> Tensor:
    """As `propagation.tone.fit_tone`, for all candidates: apart (k, 3, y, x), compared (k, y, x) -> (k, 3, 3)."""
    height, width = compared.shape[1:]
    values = apart[:, :, ::EVERY, ::EVERY]
    there = compared[:, ::EVERY, ::EVERY]
    gray = values.mean(dim=1)
    counted = there & (gray.abs() < FIRST_LIMIT * levels)
    for _ in range(ROUNDS):
        middle = (gray * counted).sum((1, 2)) / counted.sum((1, 2)).clamp_min(1)
        counted = there & ((gray - middle[:, None, None]).abs() < LIMIT * levels)
    weight = counted.float()
    rows, columns = (
        torch.arange(n, device=apart.device) * (EVERY / side)
        for n, side in zip(there.shape[1:], (height, width), strict=True)
    )
    number = weight.sum((1, 2))
    some = number.clamp_min(1)[:, None]
    values = values * weight[:, None]
    mean = values.sum((2, 3)) / some
    down, across = weight.sum(2), weight.sum(1)
    y, x = ((line @ place)[:, None] / some for line, place in ((down, rows), (across, columns)))
    dy, dx = rows - y, columns - x  # (k, rows), (k, columns)
    hold = STIFFNESS * number + FLOOR
    yy, xx = ((line * d.square()).sum(1) + hold for line, d in ((down, dy), (across, dx)))
    xy = torch.einsum("kyx,ky,kx->k", weight, dy, dx)
    by_y, by_x = torch.einsum("kcyx,ky->kc", values, dy), torch.einsum("kcyx,kx->kc", values, dx)
    determinant = (xx * yy - xy.square())[:, None]
    slope_x = (yy[:, None] * by_x - xy[:, None] * by_y) / determinant
    slope_y = (xx[:, None] * by_y - xy[:, None] * by_x) / determinant
    return torch.stack((mean - x * slope_x - y * slope_y, slope_x / width, slope_y / height), dim=1)


def tone_at(planes: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """(..., 3): the levels of planes (..., 3, 3) at positions of the region."""
    return planes[..., 0, :] + columns[..., None] * planes[..., 1, :] + rows[..., None] * planes[..., 2, :]
