"""Captions over time: each a box, the frames from which to which it stands, and its strokes smoothed over them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..types import HoleArray
from .shown import Region
from .strokes import Strength, likeness, stroke_strength, strokes
from .text_detection import TextBox

ALIKE, STILL_ALIKE = 0.6, 0.4
"""Likeness by which a caption is taken to stand in a frame that was looked at, and in one near its first or last."""
SURE = 0.5
"""Confidence of reading below which a box is not text: leaves, windows, railings."""
_PAD = 0.25
"""Of a line's height around its box: outlines, shadows, and letters that reach further than the detector says."""
_HIGH = 0.25
"""Share of the frame's height that letters may have."""
_COVERED = 0.6
"""Share of a found box that known captions hold, from which it is no new one."""


@dataclass(frozen=True)
class Caption:
    """One text in one place. `first` and `last`: the frames looked at in which it stood; `seen`: how many of those.

    box: padded, in pixels of the clip as displayed. letters: how high they are. The strokes' strength is kept packed:
    some kilobytes a caption, whatever the clip's length.
    """

    box: Region
    letters: int
    first: int
    last: int
    seen: int
    packed: bytes = field(repr=False)

    @property
    def strength(self) -> Strength:
        """(height, width, 2) of the box, smoothed over time."""
        levels = np.frombuffer(zlib.decompress(self.packed), np.uint8)
        return levels.reshape(self.box.height, self.box.width, 2).astype(np.float32)

    def mask(self, shape: str) -> HoleArray:
        """0 and 1 (height, width) of the box: its strokes, or all of it."""
        if shape == "boxes":
            return np.ones((self.box.height, self.box.width), np.uint8)
        return strokes(self.strength, self.letters, grow=max(2, round(self.letters * 0.06)))


class CaptionFinder:
    """`look` at frames in order; `finish` gives the captions."""

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._closed: list[Caption] = []

    def look(self, index: int, picture: NDArray[np.uint8], found: Sequence[TextBox]) -> None:
        """Frame `index` (H, W, 3) and the lines of text a detector found in it.

        A known caption goes on by its strokes, whether the detector saw it again or not; a found line that lies in none
        of those that go on begins a new one.
        """
        going = []
        for known in self._open:
            strength = stroke_strength(picture[known.box.slices], known.letters)
            if likeness(strength, known.mean) >= ALIKE:
                known.take(index, strength)
                going.append(known)
            else:
                self._closed.append(known.closed())
        held = np.zeros(picture.shape[:2], bool)
        for known in going:
            held[known.box.slices] = True
        for line in found:
            inside = held[max(line.y, 0) : line.y + line.height, max(line.x, 0) : line.x + line.width]
            if not _is_text(line, picture.shape[0]) or not inside.size or inside.mean() >= _COVERED:
                continue
            box, letters = _padded(line, picture.shape[:2]), max(min(line.width, line.height), 4)
            going.append(_Open(box, letters, index, index, stroke_strength(picture[box.slices], letters)))
        self._open = going

    def finish(self) -> list[Caption]:
        """All captions, by their first frame."""
        self._closed += [known.closed() for known in self._open]
        self._open = []
        return sorted(self._closed, key=lambda caption: (caption.first, caption.box.y, caption.box.x))


@dataclass
class _Open:
    box: Region
    letters: int
    first: int
    last: int
    mean: Strength
    seen: int = 1

    def take(self, index: int, strength: Strength) -> None:
        self.seen += 1
        self.mean += (strength - self.mean) / self.seen
        self.last = index

    def closed(self) -> Caption:
        levels = np.rint(np.clip(self.mean, 0, 255)).astype(np.uint8)
        return Caption(self.box, self.letters, self.first, self.last, self.seen, zlib.compress(levels.tobytes(), 6))


def _is_text(line: TextBox, height: int) -> bool:
    """Single letters are read into windows and posts, and high ones into whole pictures."""
    return line.confidence >= SURE and line.letters > 1 and min(line.width, line.height) <= _HIGH * height


def _padded(line: TextBox, size: tuple[int, int]) -> Region:
    pad = max(round(min(line.width, line.height) * _PAD), 3)
    left, top = max(line.x - pad, 0), max(line.y - pad, 0)
    right, bottom = min(line.x + line.width + pad, size[1]), min(line.y + line.height + pad, size[0])
    return Region(left, top, max(right - left, 1), max(bottom - top, 1))


class CaptionMasks:
    """Masks of frames in order, from captions that are known."""

    def __init__(self, captions: Sequence[Caption], every: int, shape: str) -> None:
        self._waiting = list(captions)
        self._every, self._shape = every, shape
        self._near: list[tuple[Caption, Strength, HoleArray]] = []

    def mask(self, index: int, picture: NDArray[np.uint8] | None, size: tuple[int, int]) -> HoleArray:
        """0 and 1 (H, W) of frame `index`. Between a caption's first and last frame it stands; for `every` frames
        around those it does where `picture` (H, W, 3) shows its strokes (None: a frame that is not meant)."""
        while self._waiting and self._waiting[0].first - self._every < index:
            caption = self._waiting.pop(0)
            self._near.append((caption, caption.strength, caption.mask(self._shape)))
        self._near = [one for one in self._near if one[0].last + self._every > index]
        mask = np.zeros(size, np.uint8)
        if picture is None:
            return mask
        for caption, strength, shape in self._near:
            if caption.first <= index <= caption.last or _stands(caption, strength, picture):
                mask[caption.box.slices] |= shape
        return mask


def _stands(caption: Caption, strength: Strength, picture: NDArray[np.uint8]) -> bool:
    here = stroke_strength(picture[caption.box.slices], caption.letters)
    return likeness(here, strength) >= STILL_ALIKE
