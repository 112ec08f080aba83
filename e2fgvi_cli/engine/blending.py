"""The merge of `fill.blending.WeightedBlender` on the device that made the predictions: only finished pixels, as
integers, cross the bus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..fill.blending import Prediction
from ..types import Box, PixelArray


@dataclass
class _Sum:
    """total (3, y, x) and weights, (y, x) or one for all pixels, of a frame's box."""

    box: Box
    total: Tensor
    weights: Tensor | float


class DeviceBlender:
    """As `fill.blending.WeightedBlender`, for predictions that are tensors (3, y, x) in [-1, 1] on `device`, or what
    `to_numpy` makes of them."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sums: dict[int, _Sum] = {}

    def to_numpy(self, rgb: Tensor | NDArray[np.float32]) -> NDArray[np.float32]:
        """(3, y, x) in [-1, 1] -> (y, x, 3) in [0, 1]."""
        if isinstance(rgb, np.ndarray):
            return rgb
        return np.ascontiguousarray(((rgb.permute(1, 2, 0).float() + 1) / 2).cpu().numpy())

    def add(
        self,
        index: int,
        box: Box,
        prediction: Prediction[Tensor | NDArray[np.float32]],
        weight: float,
        ramp: NDArray[np.float32] | None = None,
    ) -> None:
        """As `WeightedBlender.add`."""
        rgb = prediction.rgb
        if isinstance(rgb, np.ndarray):
            rgb = torch.from_numpy(rgb).to(self._device).permute(2, 0, 1) * 2 - 1
        whole = prediction.box == box and ramp is None
        if index not in self._sums:
            shape = (box[2] - box[0], box[3] - box[1])
            total = torch.zeros(3, *shape, device=self._device)
            self._sums[index] = _Sum(box, total, 0.0 if whole else torch.zeros(shape, device=self._device))
        known = self._sums[index]
        if not whole and not isinstance(known.weights, Tensor):
            known.weights = torch.full_like(known.total[0], known.weights)
        if whole:
            known.total.add_(rgb, alpha=weight)
            known.weights += weight
            return
        top, left = prediction.box[0] - box[0], prediction.box[1] - box[1]
        height, width = rgb.shape[-2:]
        here = (slice(top, top + height), slice(left, left + width))
        share = torch.full((height, width), weight, device=self._device)
        if ramp is not None:
            share *= torch.from_numpy(ramp).to(self._device)
        assert isinstance(known.weights, Tensor)
        known.total[:, here[0], here[1]] += rgb * share
        known.weights[here] += share

    def finish(self, index: int, dtype: np.dtype[Any]) -> Callable[[], PixelArray]:
        """As `WeightedBlender.finish`; the copy to the host is under way when this returns, calling the result waits
        for it."""
        known = self._sums.pop(index)
        peak = int(np.iinfo(dtype).max)
        weights = known.weights.clamp_min(1e-12) if isinstance(known.weights, Tensor) else known.weights
        levels = ((known.total / weights + 1) * (peak / 2)).round_().clamp_(0, peak)
        pixels = levels.permute(1, 2, 0).to(torch.uint8 if peak == 255 else torch.int32).contiguous()
        if pixels.device.type != "cuda":
            return lambda: pixels.cpu().numpy().astype(dtype, copy=False)
        host = torch.empty(pixels.shape, dtype=pixels.dtype, pin_memory=True)
        host.copy_(pixels, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record(torch.cuda.current_stream(pixels.device))

        def wait() -> PixelArray:
            copied.synchronize()
            return host.numpy().astype(dtype)  # a copy: pinned memory is scarce

        return wait
