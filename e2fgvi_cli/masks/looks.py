"""What mask pictures hold, counted before anything is decided: samples, transparency, palette. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .normalise import as_levels, to_eight_bits
from .options import DEFAULT_THRESHOLD

BLACK = 16
"""Largest channel of a colour that passes for black: palettes made by quantising a picture are not exact."""

GRAY_SPREAD = 24
"""How far the channels of a colour may lie apart for it to pass for gray."""


@dataclass(frozen=True)
class Tally:
    """How often each value occurs in a picture: `values` ascending, int64; `counts` pixels, all above 0."""

    values: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, samples: NDArray[Any]) -> Tally:
        """Of uint8 or uint16 samples of any shape."""
        counts = np.bincount(samples.ravel())
        values = np.flatnonzero(counts)
        return cls(values, counts[values])

    def share(self, chosen: NDArray[np.bool_]) -> float:
        """Which part (0..1) of the pixels has one of the `chosen` values."""
        return float(self.counts[chosen].sum() / max(self.counts.sum(), 1))

    def mapped(self, table: NDArray[Any]) -> Tally:
        """The tally of `table[samples]`."""
        new = table[self.values].astype(np.int64)
        values = np.unique(new)
        return Tally(values, np.array([self.counts[new == value].sum() for value in values], np.int64))


@dataclass(frozen=True)
class Look:
    """What one mask picture holds.

    numbers: its samples (of colours the largest channel), or palette indices. deep: they have 16 bits. coloured: its
    channels differ. alpha: of a picture with an alpha channel, 8 bits. colours: (256, 4) RGBA of a palette picture.
    lossless: the file's kind keeps every sample, so that small numbers are no compression noise.
    """

    name: str
    numbers: Tally
    deep: bool = False
    coloured: bool = False
    alpha: Tally | None = None
    colours: NDArray[np.uint8] | None = None
    lossless: bool = True

    @classmethod
    def of(
        cls, picture: NDArray[Any], name: str, *, lossless: bool = True, luma: bool = False, exact: bool = False
    ) -> Look:
        """Of a gray, RGB or RGBA picture, uint8, uint16 or float 0..1. `luma`: of colours their luma, in 8 bits.

        `exact`: channels that differ at all are colour (elsewhere quantisation is forgiven).
        """
        alpha = Tally.of(to_eight_bits(picture[:, :, 3])) if picture.ndim == 3 and picture.shape[2] == 4 else None
        samples = (
            as_levels(picture[:, :, :3] if picture.ndim == 3 else picture, luma=True) if luma else numbers_of(picture)
        )
        coloured = is_coloured(picture, 0 if exact else GRAY_SPREAD)
        return cls(name, Tally.of(samples), samples.dtype == np.uint16, coloured, alpha, None, lossless)

    @classmethod
    def of_palette(cls, indices: NDArray[np.uint8], colours: NDArray[np.uint8], name: str) -> Look:
        """Of (H, W) indices into (256, 4) RGBA colours."""
        return cls(name, Tally.of(indices), colours=colours)

    @property
    def settles(self) -> bool:
        """Whether this picture alone shows what kind of mask it is: it has colours, transparency, or levels near white.
        One of small numbers does not: they may be objects, or noise among masks of which others are white."""
        if self.colours is not None:
            return len(self.numbers.values) > 1
        if self.alpha is not None and len(self.alpha.values) > 1:
            return True
        return bool(self.numbers.values[-1] > DEFAULT_THRESHOLD * (257 if self.deep else 1))

    @property
    def used_colours(self) -> NDArray[np.uint8]:
        """(n, 4) RGBA of the palette entries that occur."""
        assert self.colours is not None
        return self.colours[self.numbers.values]

    def shown(self) -> Look:
        """A palette picture as the gray or RGBA picture that it shows; others as they are."""
        if self.colours is None:
            return self
        alpha = self.numbers.mapped(self.colours[:, 3])
        levels = self.numbers.mapped(self.colours[:, :3].max(axis=1))
        return Look(self.name, levels, alpha=alpha if alpha.values[0] < 255 else None, lossless=self.lossless)


def numbers_of(picture: NDArray[Any]) -> NDArray[Any]:
    """(H, W) samples as stored, uint8 or uint16: of colours the largest channel; float 0..1 becomes 0..255."""
    if picture.dtype.kind == "f":
        picture = to_eight_bits(picture)
    if picture.ndim == 2:
        return picture
    import cv2

    # Not rgb.max(axis=2): numpy reduces three neighbours at a time, 20 times slower.
    red, green, blue = cv2.split(picture)[:3]
    largest: NDArray[Any] = cv2.max(cv2.max(red, green, dst=red), blue, dst=red)
    return largest


def is_coloured(picture: NDArray[Any], spread: int = GRAY_SPREAD) -> bool:
    """Whether the channels of a picture differ anywhere by more than `spread` of 255 levels (0: at all)."""
    if picture.ndim == 2:
        return False
    import cv2

    red, green, blue = cv2.split(picture)[:3]
    white = np.iinfo(picture.dtype).max if picture.dtype.kind == "u" else 1
    allowed = spread * white / 255
    return bool(
        max(cv2.absdiff(red, green).max(), cv2.absdiff(green, blue).max(), cv2.absdiff(red, blue).max()) > allowed
    )
