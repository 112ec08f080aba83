"""The figures of one filled clip, taken in frame by frame. What each means and where it is from: docs/measures.md.

No figure is infinite: a frame that equals the truth has no PSNR, is left out of its mean and counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..quality.metrics import composite, hole_mse, hole_ssim, psnr_from_mse, published_ssim
from ..quality.temporal import flicker_excess, motion, seam, warp_errors

Picture = NDArray[np.uint8]
SCALE = 255.0


@dataclass(frozen=True)
class Metric:
    """digits: shown after the point. better: 1 where more is better, -1 where less is, 0 where nearer to 0 is."""

    name: str
    title: str
    unit: str
    digits: int
    better: int

    def merit(self, value: float) -> float:
        """Larger is better."""
        return self.better * value if self.better else -abs(value)


METRICS = (
    Metric("psnr", "PSNR", "dB", 2, 1),
    Metric("ssim", "SSIM", "", 4, 1),
    Metric("hole_psnr", "hole PSNR", "dB", 2, 1),
    Metric("hole_ssim", "hole SSIM", "", 4, 1),
    Metric("e_warp", "E_warp", "10^-3", 3, -1),
    Metric("e_warp_hole", "hole E_warp", "10^-3", 3, -1),
    Metric("flicker", "flicker", "levels", 2, -1),
    Metric("flicker_excess", "flicker excess", "levels", 2, 0),
    Metric("seam", "seam", "levels", 2, 0),
    Metric("lpips", "LPIPS", "", 4, -1),
)
BY_NAME = {metric.name: metric for metric in METRICS}
SERIES = ("hole_psnr", "flicker", "flicker_excess", "seam", "share")
"""What is kept of every frame."""


@dataclass
class ClipFigures:
    """Takes a clip's frames in order. Pictures are (H, W, 3) uint8, holes (H, W), non-zero = was filled.

    frames, hole_frames: taken in, and of those with a hole. exact_frames: those whose composite equals the truth.
    series: a value a frame, None where there is none.
    """

    perceptual: object | None = None
    frames: int = 0
    hole_frames: int = 0
    exact_frames: int = 0
    series: dict[str, list[float | None]] = field(default_factory=lambda: {name: [] for name in SERIES})
    _sums: dict[str, list[float]] = field(default_factory=dict)
    _last: tuple[Picture, Picture, NDArray[np.bool_], NDArray[np.int16]] | None = None

    def add(self, result: Picture, truth: Picture, hole: NDArray[np.uint8]) -> float | None:
        """Measure the next frame; returns its mean squared error in the hole, None without a hole."""
        inside = hole != 0
        pasted = np.asarray(composite(result, truth, hole), np.uint8)
        squared = hole_mse(pasted, truth, hole)
        covered = float(inside.mean())
        if not squared:
            self.exact_frames += 1
        else:
            self._put("psnr", psnr_from_mse(squared * covered, SCALE))
        self._put("ssim", published_ssim(pasted, truth))
        self._put("hole_mse", squared)
        self._put("hole_ssim", hole_ssim(pasted, truth, hole))
        edge = seam(pasted, inside)
        self._put("seam", edge)
        if callable(self.perceptual):
            self._put("lpips", self.perceptual(pasted, truth))
        flicker, excess = self._follow(pasted, truth, inside)
        self.frames += 1
        self.hole_frames += squared is not None
        frame_psnr = psnr_from_mse(squared, SCALE) if squared else None
        for name, value in zip(SERIES, (frame_psnr, flicker, excess, edge, covered), strict=True):
            self.series[name].append(None if value is None else round(value, 4))
        return squared

    def figures(self) -> dict[str, float | None]:
        """The clip's means by the names of `METRICS`; None where nothing could be measured or nothing is wrong."""
        found = {name: float(np.mean(values)) for name, values in self._sums.items()}
        squared = found.pop("hole_mse", None)
        result: dict[str, float | None] = {metric.name: found.get(metric.name) for metric in METRICS}
        # The mean before the logarithm: a frame gone wrong costs what the eye charges for it.
        result["hole_psnr"] = psnr_from_mse(squared, SCALE) if squared else None
        return result

    def counts(self) -> dict[str, int]:
        """How many frames each mean is of."""
        return {"hole_psnr" if n == "hole_mse" else n: len(values) for n, values in self._sums.items()}

    def _follow(self, pasted: Picture, truth: Picture, inside: NDArray[np.bool_]) -> tuple[float | None, float | None]:
        """Flicker against the truth and against the surroundings, of this frame and the one before."""
        error = pasted.astype(np.int16) - truth
        last, self._last = self._last, (pasted, truth, inside, error)
        if last is None:
            return None, None
        before, truth_before, inside_before, error_before = last
        both = inside & inside_before
        flicker = float(np.abs(error[both] - error_before[both]).mean()) if both.any() else None
        self._put("flicker", flicker)
        moved = motion(truth_before, truth)
        if moved is None:
            return flicker, None
        for name, value in zip(("e_warp", "e_warp_hole"), warp_errors(before, pasted, moved, inside), strict=True):
            self._put(name, None if value is None else 1000 * value)
        excess = flicker_excess(before, pasted, moved, inside_before, inside)
        self._put("flicker_excess", excess)
        return flicker, excess

    def _put(self, name: str, value: float | None) -> None:
        if value is not None:
            self._sums.setdefault(name, []).append(value)
