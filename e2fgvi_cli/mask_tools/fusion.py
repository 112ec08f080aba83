"""One mask out of two: what a walk forwards and a walk backwards say of the same frame."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from ..types import HoleArray, PixelArray
from .follower import LIKELY, Follower, GradedFollower, Soft
from .tracking import overlap

_LEAST = 1e-3  # weight of a mask whose confidence is 0: it counts where the other walk sees nothing


@dataclass(frozen=True)
class Look:
    """What a follower says of a frame: the (H, W) mask in {0, 1}, its confidence, and how likely each pixel is the
    object's, (H, W) in 0..1."""

    mask: HoleArray
    confidence: float
    likely: Soft


def look(follower: Follower, rgb: PixelArray) -> Look:
    """The follower's next step."""
    mask, confidence = follower.step(rgb)
    graded = isinstance(follower, GradedFollower) and mask.any()
    return Look(mask, confidence, follower.likely() if graded else mask.astype(np.float32))  # type: ignore[attr-defined]


@dataclass(frozen=True)
class PackedLook:
    """A `Look` in a few kilobytes: likelihoods are kept as 256 levels, which are 0 over most of a picture."""

    shape: tuple[int, ...]
    confidence: float
    levels: bytes
    bits: bytes

    @classmethod
    def of(cls, one: Look) -> PackedLook:
        levels = np.rint(one.likely * 255).astype(np.uint8)
        bits = np.packbits(one.mask).tobytes()
        return cls(one.mask.shape, one.confidence, zlib.compress(levels.tobytes(), 1), zlib.compress(bits, 1))

    def unpacked(self) -> Look:
        levels = np.frombuffer(zlib.decompress(self.levels), np.uint8).reshape(self.shape)
        bits = np.unpackbits(np.frombuffer(zlib.decompress(self.bits), np.uint8), count=levels.size)
        return Look(bits.reshape(self.shape), self.confidence, levels.astype(np.float32) / np.float32(255))


def fused(forwards: Look, backwards: Look, share: float) -> tuple[HoleArray, float]:
    """The (H, W) mask and its confidence of a frame between two marked ones, `share` (0 to 1) of the way to the later.

    Each walk weighs as its confidence times its nearness to the mark it comes from. The confidence is the mean of both,
    each times the overlap of its mask with the fused one.
    """
    weights = [
        max(one.confidence, _LEAST if one.mask.any() else 0.0) * near
        for one, near in ((forwards, 1 - share), (backwards, share))
    ]
    total = sum(weights)
    if not total:
        return np.zeros_like(forwards.mask), 0.0
    first, second = (np.float32(weight / total) for weight in weights)
    mask = (first * forwards.likely + second * backwards.likely > LIKELY).astype(np.uint8)
    if not mask.any():
        return mask, 0.0
    sure = first * overlap(mask, forwards.mask) * forwards.confidence
    return mask, float(sure + second * overlap(mask, backwards.mask) * backwards.confidence)
