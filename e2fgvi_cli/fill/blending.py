"""Merging overlapping predictions of a frame and pasting them into its hole. numpy only.

Predictions cover the bounding box of what will be pasted. Shape legend: H W the frame, y x the box.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..types import Box, PixelArray

Pixels = TypeVar("Pixels")
"""What an engine's predictions are made of: (y, x, 3) float32 in [0, 1] for `WeightedBlender`, whatever its own blender
takes else."""


@dataclass(frozen=True)
class Prediction(Generic[Pixels]):
    """What one window says about one frame, for the pixels of `box`."""

    box: Box
    rgb: Pixels


class Blender(Protocol):
    """Where the predictions of a shot are merged."""

    def to_numpy(self, rgb: Any) -> NDArray[np.float32]:
        """A prediction's pixels as (y, x, 3) in [0, 1]."""
        ...

    def add(
        self, index: int, box: Box, prediction: Prediction[Any], weight: float, ramp: NDArray[np.float32] | None = None
    ) -> None: ...

    def finish(self, index: int, dtype: np.dtype[Any]) -> Callable[[], PixelArray]:
        """What gives the merged pixels (y, x, 3) of frame `index`'s box as 8 or 16-bit integers; to be called once, in
        any thread."""
        ...


@dataclass
class _Sum:
    """total (y, x, 3) and weights, (y, x, 1) or one for all pixels, of a frame's box."""

    box: Box
    total: NDArray[np.float32]
    weights: NDArray[np.float32] | float


class WeightedBlender:
    """The weighted mean of all predictions of a frame: it does not depend on their order, and is rounded once, at the
    end."""

    def __init__(self) -> None:
        self._sums: dict[int, _Sum] = {}

    def to_numpy(self, rgb: NDArray[np.float32]) -> NDArray[np.float32]:
        """They are."""
        return rgb

    def add(
        self,
        index: int,
        box: Box,
        prediction: Prediction[NDArray[np.float32]],
        weight: float,
        ramp: NDArray[np.float32] | None = None,
    ) -> None:
        """Take in one prediction for a part of frame `index`, whose fill has `box`; `weight` > 0, times `ramp` (y, x)
        where given."""
        whole = prediction.box == box and ramp is None
        if index not in self._sums:
            shape = (box[2] - box[0], box[3] - box[1])
            weights: NDArray[np.float32] | float = 0.0 if whole else np.zeros((*shape, 1), np.float32)
            self._sums[index] = _Sum(box, np.zeros((*shape, 3), np.float32), weights)
        known = self._sums[index]
        assert known.box == box, "the box belongs to the frame, it does not change"
        if whole:
            known.total += prediction.rgb * np.float32(weight)
            known.weights += weight
            return
        if not isinstance(known.weights, np.ndarray):
            known.weights = np.full((*known.total.shape[:2], 1), known.weights, np.float32)
        share = np.full((*prediction.rgb.shape[:2], 1), weight, np.float32)
        if ramp is not None:
            share *= ramp[:, :, None]
        top, left = prediction.box[0] - box[0], prediction.box[1] - box[1]
        here = (slice(top, top + share.shape[0]), slice(left, left + share.shape[1]))
        known.total[here] += prediction.rgb * share
        known.weights[here] += share

    def finish(self, index: int, dtype: np.dtype[Any]) -> Callable[[], PixelArray]:
        """As `Blender.finish`: the mean, rounded."""
        known = self._sums.pop(index)
        peak = float(np.iinfo(dtype).max)

        def merge() -> PixelArray:
            if isinstance(known.weights, np.ndarray):
                scale = np.float32(peak) / np.maximum(known.weights, np.float32(1e-12))
            else:
                scale = np.asarray(peak / known.weights, np.float32)
            return np.clip(np.rint(known.total * scale), 0, peak).astype(dtype)

        return merge


class PublishedBlender:
    """The published merge: predictions truncated to 8 bits, each new one averaged half and half with what is there.

    The outcome depends on the order of the windows and is about half a level darker than a mean; kept to reproduce
    numbers.
    """

    def __init__(self, to_numpy: Callable[[Any], NDArray[np.float32]] = lambda rgb: rgb) -> None:
        self.to_numpy = to_numpy
        self._merged: dict[int, tuple[Box, NDArray[np.float32]]] = {}

    def add(
        self, index: int, box: Box, prediction: Prediction[Any], weight: float, ramp: NDArray[np.float32] | None = None
    ) -> None:
        """Take in one prediction for the whole `box` of frame `index`; the weight does not count."""
        assert prediction.box == box, "the published program knows no crops"
        assert ramp is None, "the published program knows no tiles"
        truncated = np.floor(self.to_numpy(prediction.rgb) * np.float32(255))
        if index in self._merged:
            old = self._merged[index][1]
            truncated = 0.5 * old + 0.5 * truncated
        self._merged[index] = (prediction.box, truncated)

    def finish(self, index: int, dtype: np.dtype[Any]) -> Callable[[], PixelArray]:
        """As `Blender.finish`; depths above 8 bits are scaled up from the 8-bit result."""
        _, merged = self._merged.pop(index)
        scale = np.iinfo(dtype).max // 255
        return lambda: (np.floor(merged) * scale).astype(dtype)
