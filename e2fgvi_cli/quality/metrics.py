"""How close a filled clip is to a reference, frame by frame, in constant memory.

Pictures are (H, W, 3) RGB, uint8 0..255 or uint16 0..65535, both of a pair alike; holes are (H, W), non-zero = was
filled. Decibels are relative to full scale (255 or 65535) and end at `PSNR_LIMIT`, so that an exact match has a number.

Two conventions live side by side:

* **Inside the hole** (this project's own). `hole_psnr` is the PSNR of the mean squared error, averaged over the frames
  that have a hole, each frame counting the same whatever the size of its hole. The mean is taken before the logarithm,
  so one frame gone wrong costs what the eye would charge for it. `hole_ssim` is the mean of the SSIM map over the
  hole's pixels.
* **The field's** (STTN, FuseFormer, E2FGVI: design note users.md C1). The fill is pasted into the reference and the
whole
  frame compared: PSNR, and SSIM with a flat 65-pixel window; decibels a frame, then the mean over frames. It rises when
  the hole is small, so it compares methods on the same holes and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..types import PixelArray

PSNR_LIMIT = 100.0
"""Decibels given to an exact match. The smallest error 8 bits can hold in a 432x240 frame is 103 dB."""

GAUSSIAN_WINDOW = 11
GAUSSIAN_SIGMA = 1.5
PUBLISHED_WINDOW = 65

FloatMap = NDArray[np.float64]
HoleMap = NDArray[np.generic]


# -- one frame ---------------------------------------------------------------------------------------------------------


def full_scale(result: PixelArray, reference: PixelArray) -> float:
    """255.0 or 65535.0. Raises InputError unless both are (H, W, 3) of one size and one of the two integer types."""
    if result.shape != reference.shape or result.ndim != 3 or result.shape[2] != 3:
        raise InputError(
            f"The result is {_size(result)} and the reference {_size(reference)}: "
            "give colour pictures of the same size, the reference without scaling."
        )
    if result.dtype != reference.dtype or result.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"The result is {result.dtype} and the reference {reference.dtype}: give both with 8 or both with 16 bits."
        )
    return float(np.iinfo(result.dtype).max)


def psnr_from_mse(mean_squared_error: float, scale: float) -> float:
    """Peak signal to noise ratio in dB, at most `PSNR_LIMIT`. `scale` is the value of full white."""
    if mean_squared_error <= 0.0:
        return PSNR_LIMIT
    return float(min(PSNR_LIMIT, 10.0 * np.log10(scale * scale / mean_squared_error)))


def composite(result: PixelArray, reference: PixelArray, hole: HoleMap) -> PixelArray:
    """The result inside the hole, the reference outside: (H, W, 3), the type of `reference`. What gets scored."""
    return np.where(_inside(hole, reference)[..., None], result, reference)


def hole_mse(result: PixelArray, reference: PixelArray, hole: HoleMap) -> float | None:
    """Mean squared error over the hole's pixels and the three channels, in squared levels; None without a hole."""
    full_scale(result, reference)
    inside = _inside(hole, reference)
    if not inside.any():
        return None
    return float(np.mean((result[inside].astype(np.float64) - reference[inside]) ** 2))


def hole_psnr(result: PixelArray, reference: PixelArray, hole: HoleMap) -> float | None:
    """PSNR in dB over the hole of one frame, 0..`PSNR_LIMIT`; None without a hole."""
    mse = hole_mse(result, reference, hole)
    return None if mse is None else psnr_from_mse(mse, full_scale(result, reference))


def composite_psnr(result: PixelArray, reference: PixelArray, hole: HoleMap) -> float:
    """PSNR in dB over the whole frame, the fill pasted into the reference (the field's protocol)."""
    mse = hole_mse(result, reference, hole)
    covered = float(np.mean(_inside(hole, reference)))
    return psnr_from_mse((mse or 0.0) * covered, full_scale(result, reference))


def ssim_map(result: PixelArray, reference: PixelArray) -> FloatMap:
    """Structural similarity a pixel, (H, W), -1..1, mean over the colour channels.

    Wang, Bovik, Sheikh and Simoncelli 2004: Gaussian window of 11 pixels and sigma 1.5, K1 = 0.01, K2 = 0.03,
    population covariance. Borders are mirrored, edge pixel included, so that every pixel has a value.
    """
    scale = full_scale(result, reference)
    window = (GAUSSIAN_WINDOW, GAUSSIAN_WINDOW)

    def smooth(values: FloatMap) -> FloatMap:
        return np.asarray(cv2.GaussianBlur(values, window, GAUSSIAN_SIGMA, borderType=cv2.BORDER_REFLECT), np.float64)

    return _similarity(result, reference, scale, smooth, covariance_factor=1.0)


def hole_ssim(result: PixelArray, reference: PixelArray, hole: HoleMap) -> float | None:
    """Mean of `ssim_map` over the hole's pixels, the fill pasted into the reference; -1..1, None without a hole.

    Only the neighbourhood of the hole is computed; the value is that of the whole map.
    """
    full_scale(result, reference)
    inside = _inside(hole, reference)
    if not inside.any():
        return None
    box = _bounding_box(inside, margin=GAUSSIAN_WINDOW)
    similarity = ssim_map(composite(result[box], reference[box], inside[box]), reference[box])
    return float(similarity[inside[box]].mean())


def published_ssim(result: PixelArray, reference: PixelArray) -> float | None:
    """SSIM of two whole frames as the field publishes it, -1..1; None where the frame is smaller than the window.

    Flat window of 65 pixels, sample covariance, mean over the colour channels and over the pixels whose window lies
    inside the frame: `skimage.metrics.structural_similarity(..., win_size=65, channel_axis=-1)`.
    """
    scale = full_scale(result, reference)
    if min(result.shape[:2]) < PUBLISHED_WINDOW:
        return None
    samples = PUBLISHED_WINDOW * PUBLISHED_WINDOW

    def smooth(values: FloatMap) -> FloatMap:
        blurred = cv2.boxFilter(values, cv2.CV_64F, (PUBLISHED_WINDOW, PUBLISHED_WINDOW), borderType=cv2.BORDER_REFLECT)
        return np.asarray(blurred, np.float64)

    similarity = _similarity(result, reference, scale, smooth, covariance_factor=samples / (samples - 1))
    border = PUBLISHED_WINDOW // 2
    return float(similarity[border : result.shape[0] - border, border : result.shape[1] - border].mean())


# -- one clip ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClipSummary:
    """Means over a clip. None where nothing could be measured: no hole anywhere, or frames smaller than 65 pixels.

    `hole_psnr` (dB) and `hole_ssim` are this project's figures, `composite_psnr` (dB) and `composite_ssim` the field's;
    `flicker` is in levels of 255 (see `ClipScore`). `frames` were compared, `hole_frames` of them had a hole.
    """

    frames: int
    hole_frames: int
    hole_psnr: float | None
    hole_psnr_frame_mean: float | None
    hole_ssim: float | None
    composite_psnr: float | None
    composite_ssim: float | None
    flicker: float | None

    def as_dict(self) -> dict[str, float | int | None]:
        """For JSON: the fields above under the same names."""
        return dict(vars(self))


@dataclass
class ClipScore:
    """Takes the frames of one clip in order and keeps sums, and the last frame's error for the flicker.

    Flicker: with e = result - reference, the mean of |e(t) - e(t-1)| over the pixels that lie in the hole of both
    frames, all channels, averaged over the pairs that have such pixels, in levels of 255. It is 0 when the fill changes
    in time exactly as the reference does, whatever constant error it carries; a frozen fill over a moving scene pays
    for not moving. It needs consecutive frames: with `every` > 1 pairs are still neighbours in the clip, since all
    frames are added and only each `every`-th is measured for PSNR and SSIM.

    `every`: measure frames 0, every, 2*every, ... (the project's eval table uses 5). At least 1.
    """

    every: int = 1
    _added: int = 0
    _frames: int = 0
    _scale: float = 255.0
    _means: dict[str, _Mean] = field(default_factory=dict)
    _last: tuple[NDArray[np.int32], NDArray[np.bool_]] | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"Every {self.every}th frame cannot be measured: give 1 or more.")

    def add(self, result: PixelArray, reference: PixelArray, hole: HoleMap) -> None:
        """Measure the next frame. Raises InputError if the three do not fit together or differ from earlier frames."""
        scale = full_scale(result, reference)
        inside = _inside(hole, reference)
        if self._last is not None and (self._last[0].shape != result.shape or scale != self._scale):
            raise InputError(
                f"Frame {self._added} is {_size(result)} {result.dtype}, unlike the frames before it: "
                "score one clip at a time."
            )
        self._scale = scale
        if self._added % self.every == 0:
            self._measure(result, reference, inside)
        self._follow(result, reference, inside)
        self._added += 1

    def summary(self) -> ClipSummary:
        """The means so far."""
        squared = self._value("hole_mse")
        return ClipSummary(
            frames=self._frames,
            hole_frames=self._means["hole_mse"].count if "hole_mse" in self._means else 0,
            hole_psnr=None if squared is None else psnr_from_mse(squared, self._scale),
            hole_psnr_frame_mean=self._value("hole_psnr"),
            hole_ssim=self._value("hole_ssim"),
            composite_psnr=self._value("composite_psnr"),
            composite_ssim=self._value("composite_ssim"),
            flicker=self._value("flicker"),
        )

    def _measure(self, result: PixelArray, reference: PixelArray, inside: NDArray[np.bool_]) -> None:
        self._frames += 1
        self._put("hole_mse", hole_mse(result, reference, inside))
        self._put("hole_psnr", hole_psnr(result, reference, inside))
        self._put("hole_ssim", hole_ssim(result, reference, inside))
        self._put("composite_psnr", composite_psnr(result, reference, inside))
        self._put("composite_ssim", published_ssim(composite(result, reference, inside), reference))

    def _follow(self, result: PixelArray, reference: PixelArray, inside: NDArray[np.bool_]) -> None:
        error = result.astype(np.int32) - reference
        if self._last is not None:
            both = inside & self._last[1]
            if both.any():
                change = np.abs(error[both] - self._last[0][both])
                self._put("flicker", float(change.mean()) * 255.0 / self._scale)
        self._last = (error, inside)

    def _put(self, name: str, value: float | None) -> None:
        if value is not None:
            self._means.setdefault(name, _Mean()).add(value)

    def _value(self, name: str) -> float | None:
        return self._means[name].value if name in self._means else None


def score_clip(
    results: Iterable[PixelArray], frames: Iterable[PixelArray], holes: Iterable[HoleMap], *, every: int = 1
) -> ClipSummary:
    """Score a filled clip against its true frames. All three are read once, in step; none may end before another.

    `every`: PSNR and SSIM of each `every`-th frame only. Raises InputError for lengths or sizes that differ.
    """
    score = ClipScore(every=every)
    for index, frame in enumerate(zip_longest(results, frames, holes)):
        result, reference, hole = frame
        if result is None or reference is None or hole is None:
            raise InputError(
                f"Results, true frames and holes differ in number, one of them ends after {index}: "
                "give one of each for every frame."
            )
        score.add(result, reference, hole)
    return score.summary()


# -- helpers -----------------------------------------------------------------------------------------------------------


@dataclass
class _Mean:
    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        self.total += value
        self.count += 1

    @property
    def value(self) -> float:
        return self.total / self.count


def _similarity(
    result: PixelArray, reference: PixelArray, scale: float, smooth: Any, *, covariance_factor: float
) -> FloatMap:
    """SSIM from local means, variances and covariance; `smooth` is the window's weighted mean. (H, W), channel mean."""
    x, y = result.astype(np.float64), reference.astype(np.float64)
    mean_x, mean_y = smooth(x), smooth(y)
    variance_x = covariance_factor * (smooth(x * x) - mean_x * mean_x)
    variance_y = covariance_factor * (smooth(y * y) - mean_y * mean_y)
    covariance = covariance_factor * (smooth(x * y) - mean_x * mean_y)
    c1, c2 = (0.01 * scale) ** 2, (0.03 * scale) ** 2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x * mean_x + mean_y * mean_y + c1) * (variance_x + variance_y + c2)
    )
    return np.asarray(similarity.mean(axis=-1))


def _inside(hole: HoleMap, reference: PixelArray) -> NDArray[np.bool_]:
    if hole.shape != reference.shape[:2]:
        raise InputError(
            f"The hole is {_size(hole)} and the picture {_size(reference)}: give one hole pixel for each pixel."
        )
    return np.asarray(hole != 0)


def _bounding_box(inside: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + margin + 1),
    )


def _size(picture: NDArray[Any]) -> str:
    if picture.ndim < 2:
        return f"an array of shape {picture.shape}"
    channels = f" with {picture.shape[2]} channels" if picture.ndim == 3 and picture.shape[2] != 3 else ""
    return f"{picture.shape[1]}x{picture.shape[0]}{channels}"
