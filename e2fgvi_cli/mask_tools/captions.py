"""Captions over time: each a box, the frames from which to which it stands, and its strokes smoothed over them."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..types import HoleArray
from .onset import onset
from .shown import Region
from .strokes import Strength, likeness, presence, stroke_strength, strokes
from .text_detection import TextBox

PRESENT = 0.6
"""Presence of a caption's strokes in a frame in which it is taken to stand: at least 0.72 where one does, at most 0.22
elsewhere (`measurements.text_masks` and london_01, over which likeness alone tells little)."""
FADED, ALIKE = 0.15, 0.7
"""Presence, and likeness beside it, in a frame in which it stands faintly: as it is faded in or out."""
SURE = 0.5
"""Confidence of reading below which a box is not text: leaves, windows, railings."""
_PAD = 0.25
"""Of a line's height around its box: outlines, shadows, and letters that reach further than the detector says."""
_HIGH = 0.25
"""Share of the frame's height that letters may have."""
_RECENT = 8
"""Frames that are kept to see how a caption came."""
_LONG = 6
"""Frames for which a caption stands that does not move."""
_COVERED = 0.6
"""Share of a found box that known captions hold, from which it is no new one."""


@dataclass(frozen=True)
class Caption:
    """One text in one place. `first` and `last`: the frames looked at in which it stood; `seen`: how many of those.

    box: padded, in pixels of the clip as displayed. letters: how high they are. What it looks like in a frame, and
    its strokes, are kept packed: some kilobytes a caption, whatever the clip's length.
    """

    box: Region
    letters: int
    first: int
    last: int
    seen: int
    packed: bytes = field(repr=False)
    packed_strokes: bytes = field(repr=False)

    @property
    def strength(self) -> Strength:
        """(height, width, 2) of the box: the mean of how strongly pixels stand out in a frame."""
        return self._unpacked(self.packed)

    @property
    def drawn(self) -> Strength:
        """(height, width, 2) of the box: how strong its strokes are."""
        return self._unpacked(self.packed_strokes)

    def _unpacked(self, packed: bytes) -> Strength:
        levels = np.frombuffer(zlib.decompress(packed), np.uint8)
        return levels.reshape(self.box.height, self.box.width, 2).astype(np.float32)

    def mask(self, shape: str) -> HoleArray:
        """0 and 1 (height, width) of the box: its strokes, or all of it."""
        if shape == "boxes":
            return np.ones((self.box.height, self.box.width), np.uint8)
        return strokes(self.drawn, self.letters, grow=max(2, round(self.letters * 0.06)))


class CaptionFinder:
    """`see` all frames in order, `look` at some of them after that; `finish` gives the captions."""

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._closed: list[Caption] = []
        self._recent: deque[NDArray[np.uint8]] = deque(maxlen=_RECENT)

    def see(self, picture: NDArray[np.uint8]) -> None:
        """The next frame (H, W, 3): what stays in the box of a caption is the caption, what passes is not."""
        self._recent.append(picture)
        for known in self._open:
            known.see(picture)

    def look(self, index: int, picture: NDArray[np.uint8], found: Sequence[TextBox]) -> None:
        """Frame `index` (H, W, 3), the latest seen, and the lines of text a detector found in it.

        A known caption goes on by its strokes, whether the detector saw it again or not; a found line that lies in none
        of those that go on begins a new one.
        """
        going, ended = [], []
        for known in self._open:
            strength = stroke_strength(picture[known.box.slices], known.letters)
            if stands(strength, known.drawn(), known.mean):
                known.take(index, strength)
                going.append(known)
            else:
                ended.append(known.closed())
        self._closed += ended
        held = np.zeros(picture.shape[:2], bool)
        for known in going:
            held[known.box.slices] = True
        for line in found:
            inside = held[max(line.y, 0) : line.y + line.height, max(line.x, 0) : line.x + line.width]
            if not _is_text(line, picture.shape[0]) or not inside.size or inside.mean() >= _COVERED:
                continue
            box, letters = _padded(line, picture.shape[:2]), max(min(line.width, line.height), 4)
            strength = stroke_strength(picture[box.slices], letters)
            boxes = [one[box.slices] for one in self._recent] or [picture[box.slices]]
            came = onset(boxes, strength, ~_held_by(ended, picture.shape[:2])[box.slices])
            stood = boxes[-1:] if came is None else boxes[came.since :]
            total = np.stack(stood).sum(axis=0, dtype=np.float32)
            step = None if came is None else came.step
            going.append(_Open(box, letters, index, index, strength, step, total, len(stood), np.zeros_like(total)))
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
    step: Strength | None
    total: NDArray[np.float32]  # of the box in `count` frames in which it stands
    count: int
    waiting: NDArray[np.float32]  # of the box in `arriving` frames after the latest look
    arriving: int = 0
    seen: int = 1

    def see(self, picture: NDArray[np.uint8]) -> None:
        """One more frame, which counts once the caption is known to stand after it, too."""
        self.waiting += picture[self.box.slices]
        self.arriving += 1

    def take(self, index: int, strength: Strength) -> None:
        self.seen += 1
        self.mean += (strength - self.mean) / self.seen
        self.last = index
        self.total += self.waiting
        self.count += self.arriving
        self.waiting[:], self.arriving = 0, 0

    def drawn(self) -> Strength:
        """Its strokes: what stands out from the mean picture, as far as it came with the caption."""
        picture = np.rint(self.total / self.count).astype(np.uint8)
        found = stroke_strength(picture, self.letters)
        return found if self.step is None else np.minimum(found, self.step)

    def closed(self) -> Caption:
        packed = _packed(self.mean), _packed(self.drawn())
        return Caption(self.box, self.letters, self.first, self.last, self.seen, *packed)


def _packed(strength: Strength) -> bytes:
    return zlib.compress(np.rint(np.clip(strength, 0, 255)).astype(np.uint8).tobytes(), 6)


def _held_by(captions: Sequence[Caption], size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W): where these have strokes; those that stood for long as closely as is known. Of text that moves each was
    limited by the one before, so that what one lacks the next would."""
    held = np.zeros(size, bool)
    for one in captions:
        stood = one.last - one.first >= _LONG
        held[one.box.slices] |= (one.mask("strokes") if stood else strokes(one.strength, one.letters)) > 0
    return held


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
        self._near: list[tuple[Caption, Strength, Strength, HoleArray]] = []

    def mask(self, index: int, picture: NDArray[np.uint8] | None, size: tuple[int, int]) -> HoleArray:
        """0 and 1 (H, W) of frame `index`. Between a caption's first and last frame it stands; for `every` frames
        around those it does where `picture` (H, W, 3) shows its strokes (None: a frame that is not meant)."""
        while self._waiting and self._waiting[0].first - self._every < index:
            caption = self._waiting.pop(0)
            self._near.append((caption, caption.drawn, caption.strength, caption.mask(self._shape)))
        self._near = [one for one in self._near if one[0].last + self._every > index]
        mask = np.zeros(size, np.uint8)
        if picture is None:
            return mask
        for caption, drawn, strength, shape in self._near:
            box = picture[caption.box.slices]
            stood = caption.first <= index <= caption.last
            if stood or stands(stroke_strength(box, caption.letters), drawn, strength):
                mask[caption.box.slices] |= shape
        return mask


def stands(here: Strength, drawn: Strength, strength: Strength) -> bool:
    """Whether a caption with the strokes `drawn` stands in a frame, where `here` stands out; `strength`: the mean of
    what stood out in frames in which it did."""
    present = presence(here, drawn)
    return present >= PRESENT or (present >= FADED and likeness(here, strength) >= ALIKE)
