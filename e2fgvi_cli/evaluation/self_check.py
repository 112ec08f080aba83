"""Whether this machine measures what others measure: frames made of integers, and the numbers they must give."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .scores import ClipFigures

Picture = NDArray[np.uint8]

SIZE, FRAMES, PAN = (96, 144), 5, 3
EXPECTED = {
    "psnr": 26.24528,
    "ssim": 0.9053758,
    "hole_psnr": 18.147353,
    "hole_ssim": 0.51173651,
    "e_warp": 0.40625815,
    "e_warp_hole": 1.5450373,
    "flicker": 27.933218,
    "flicker_excess": 7.9051001,
    "seam": 14.339315,
}
"""What version 1 of the frames gives."""
OF_FLOW = ("e_warp", "e_warp_hole", "flicker_excess")
EXACT, LOOSE = 1e-5, 0.05
"""Share by which a figure may be off: rounding; and where it depends on OpenCV's flow, whose versions differ."""


@dataclass(frozen=True)
class Checked:
    """A figure and what it must be."""

    name: str
    found: float
    expected: float

    @property
    def right(self) -> bool:
        """Whether it is within what is allowed."""
        allowed = LOOSE if self.name in OF_FLOW else EXACT
        return abs(self.found - self.expected) <= allowed * abs(self.expected)


def self_check() -> list[Checked]:
    """Measure the stored clip. Takes a second."""
    score = ClipFigures()
    for result, truth, hole in check_frames():
        score.add(result, truth, hole)
    figures = score.figures()
    return [Checked(name, float(figures[name] or 0.0), value) for name, value in EXPECTED.items()]


def check_frames() -> Iterator[tuple[Picture, Picture, NDArray[np.uint8]]]:
    """(result, truth, hole) of each frame: a texture that pans, with a hole that was filled unsteadily."""
    height, width = SIZE
    wide = _texture(height, width + FRAMES * PAN)
    hole = np.zeros(SIZE, np.uint8)
    hole[30:66, 40:100] = 1
    for number in range(FRAMES):
        truth = wide[:, PAN * number : PAN * number + width]
        blurred = _boxed(truth.astype(np.int64), 4)
        off = 10 + 6 * (number % 3)
        filled = np.clip(blurred + off, 0, 255).astype(np.uint8)
        yield np.where(hole[..., None] != 0, filled, truth).astype(np.uint8), np.ascontiguousarray(truth), hole


def _texture(height: int, width: int) -> Picture:
    """Bytes of SHA-256 as blocks of 4 pixels, smoothed: nothing but integers."""
    rows, columns = -(-height // 4), -(-width // 4)
    count = rows * columns * 3
    stream = b"".join(hashlib.sha256(f"e2fgvi-check-1/{k}".encode()).digest() for k in range(-(-count // 32)))
    blocks = np.frombuffer(stream, np.uint8)[:count].reshape(rows, columns, 3)
    large = blocks.repeat(4, axis=0).repeat(4, axis=1)[:height, :width].astype(np.int64)
    return _boxed(large, 2).astype(np.uint8)


def _boxed(values: NDArray[np.int64], radius: int) -> NDArray[np.int64]:
    """The mean over a square, rounded down; the edge is repeated."""
    size = 2 * radius + 1
    padded = np.pad(values, ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    height, width = values.shape[:2]
    total = sum(padded[y : y + height, x : x + width] for y in range(size) for x in range(size))
    return np.asarray(total // (size * size), np.int64)
