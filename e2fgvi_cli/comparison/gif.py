"""A small looping GIF: few frames, one palette of 255 colours for all of them, ordered dither."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ..system.publication import Publication
from ..video.local import open_local
from .layout import Picture, shrink

_COLOURS = 255
_SAMPLES = 8_000
_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) / 16 - 0.47


class GifLoop:
    """`offer` pictures with their times; one every 1 / `rate` seconds is kept, at most `most` of at most `largest`
    pixels."""

    def __init__(self, *, rate: int = 10, most: int = 60, largest: int = 480) -> None:
        self._rate, self._most, self._largest = rate, most, largest
        self._pictures: list[Picture] = []

    def wants(self, time: Fraction) -> bool:
        """Whether a picture of this time (seconds) would be kept."""
        return len(self._pictures) < self._most and time * self._rate >= len(self._pictures)

    def offer(self, picture: Picture, time: Fraction) -> None:
        """Keep a small copy if it is wanted."""
        if self.wants(time):
            self._pictures.append(shrink(picture, self._largest))

    def save(self, path: Path, publication: Publication, *, overwrite: bool = False) -> bool:
        """Write the loop, which `publication` gives its name; False if there was no picture. Raises OSError."""
        if not self._pictures:
            return False
        partial = publication.temporary(path, overwrite=overwrite)
        palette = _palette(self._pictures)
        table = _nearest_table(palette)
        argb = np.zeros((256, 4), np.uint8)
        argb[:, 0], argb[:_COLOURS, 1:] = 255, palette
        with open_local(partial, "w", format="gif", options={"loop": "0"}) as container:
            stream = container.add_stream("gif", rate=self._rate)
            stream.height, stream.width = self._pictures[0].shape[:2]
            stream.pix_fmt = "pal8"
            for number, picture in enumerate(self._pictures):
                frame = av.VideoFrame.from_ndarray(cast(Any, (_indices(picture, table), argb)), format="pal8")
                frame.pts, frame.time_base = number, Fraction(1, self._rate)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return True


def _palette(pictures: list[Picture]) -> NDArray[np.uint8]:
    """(255, 3) colours: k-means over a fixed sample of all pictures' pixels."""
    generator = np.random.default_rng(0)
    share = max(_SAMPLES // len(pictures), 1)
    samples = np.concatenate([generator.choice(one.reshape(-1, 3), share) for one in pictures]).astype(np.float32)
    samples = np.concatenate([samples, generator.choice(samples, max(_COLOURS - len(samples), 0))])
    cv2.setRNGSeed(0)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 8, 1.0)
    centres = cv2.kmeans(samples, _COLOURS, None, criteria, 1, cv2.KMEANS_RANDOM_CENTERS)[2]  # type: ignore[call-overload]
    return np.rint(centres).astype(np.uint8)


def _nearest_table(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(32, 32, 32) index of the palette colour nearest to each 5-bit colour."""
    levels = np.arange(32) * 8 + 4
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)
    colours = palette.astype(np.float32)
    distance = (colours**2).sum(axis=1)[None] - 2 * grid @ colours.T
    return distance.argmin(axis=1).astype(np.uint8).reshape(32, 32, 32)


def _indices(picture: Picture, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    threshold = np.tile(_BAYER, (-(-height // 4), -(-width // 4)))[:height, :width, None] * 7
    red, green, blue = np.moveaxis(np.clip(picture + threshold, 0, 255).astype(np.uint8) >> 3, 2, 0)
    return table[red, green, blue]
