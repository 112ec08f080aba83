"""Holes drawn from a seed, bit for bit the same on every machine: integers and SHA-256 only, no library's generator.

Version 1. A number below n is the first 8 bytes (big-endian) of SHA-256("e2fgvi-masks-1/SEED/CLIP/KIND/K") modulo n,
K counting the draws from 0. Lengths are in sixteenths of a pixel. A disc holds the pixels whose centre is nearer than
its radius; whole frames are never covered. Kinds:

* still: 6 to 9 discs about one place, the same in every frame.
* moving: the same shape going to and fro over the frame in straight lines.
* object: a standing figure of discs (head, trunk, two swinging legs) that walks across the frame during the clip.
* caption: one or two lines of words in the lower third, for spans of 12 to 48 frames with gaps of 4 to 16 between.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError

VERSION = 1
KINDS = ("still", "moving", "object", "caption")
UNIT = 16
"""Lengths inside here are so many to a pixel."""

Hole = NDArray[np.uint8]
Disc = tuple[int, int, int]
"""Centre's x and y and the radius, in units."""


@dataclass(frozen=True)
class SeededMasks:
    """`seed:2026` or `seed:2026:still+object` as the command line says it."""

    seed: int
    kinds: tuple[str, ...] = KINDS

    @classmethod
    def parse(cls, text: str) -> SeededMasks:
        """Raises `UsageError`."""
        _, seed, *rest = text.split(":")
        kinds = tuple(dict.fromkeys(rest[0].split("+"))) if rest else KINDS
        if not (seed.isascii() and seed.isdecimal()) or len(rest) > 1 or not set(kinds) <= set(KINDS):
            known = ", ".join(KINDS)
            raise UsageError(
                f"--masks {text!r} is no seed: write seed:2026, or seed:2026:still+moving with kinds of {known}"
            )
        return cls(int(seed), kinds)

    @property
    def generator(self) -> str:
        """What to write in a report."""
        return f"e2fgvi-masks-{VERSION}, seed {self.seed}"

    def holes(self, clip: str, kind: str, size: tuple[int, int], frames: int) -> Iterator[Hole]:
        """(H, W) uint8 in {0, 1}, one a frame of the clip of this name."""
        draw = _Draw(f"e2fgvi-masks-{VERSION}/{self.seed}/{clip}/{kind}")
        return {"still": _still, "moving": _moving, "object": _figure, "caption": _caption}[kind](draw, size, frames)


def fingerprint(hole: Hole) -> str:
    """SHA-256 of a hole: of "HxW", a line feed and its pixels as bytes 0 and 1, row by row."""
    height, width = hole.shape
    pixels = np.ascontiguousarray(hole != 0).astype(np.uint8).tobytes()
    return hashlib.sha256(f"{height}x{width}\n".encode() + pixels).hexdigest()


@dataclass
class _Draw:
    name: str
    _count: int = field(default=0)

    def below(self, limit: int) -> int:
        """0..limit-1."""
        digest = hashlib.sha256(f"{self.name}/{self._count}".encode()).digest()
        self._count += 1
        return int.from_bytes(digest[:8], "big") % max(limit, 1)

    def between(self, low: int, high: int) -> int:
        """low..high."""
        return low + self.below(high - low + 1)


def _still(draw: _Draw, size: tuple[int, int], frames: int) -> Iterator[Hole]:
    shape, reach = _shape(draw, size)
    x, y = _place(draw, size, reach)
    hole = _painted(size, [(x + dx, y + dy, r) for dx, dy, r in shape])
    for _ in range(frames):
        yield hole.copy()


def _moving(draw: _Draw, size: tuple[int, int], frames: int) -> Iterator[Hole]:
    shape, reach = _shape(draw, size)
    x, y = _place(draw, size, reach)
    height, width = (side * UNIT for side in size)
    # 1 to 3 hundredths of the frame's shorter side a frame.
    step = max(min(height, width) // 100, 1)
    dx, dy = ((1 if draw.below(2) else -1) * draw.between(step, 3 * step) for _ in range(2))
    for number in range(frames):
        here = (_folded(x + number * dx, reach, width - reach), _folded(y + number * dy, reach, height - reach))
        yield _painted(size, [(here[0] + ox, here[1] + oy, r) for ox, oy, r in shape])


def _figure(draw: _Draw, size: tuple[int, int], frames: int) -> Iterator[Hole]:
    height, width = (side * UNIT for side in size)
    tall = draw.between(height * 4 // 10, height * 6 // 10)
    foot = draw.between(height * 8 // 10, height * 95 // 100)
    rightwards, swing, period = draw.below(2) == 1, tall // 8, draw.between(10, 16)
    for number in range(frames):
        along = width * (number + 1) // (frames + 1)
        x = along if rightwards else width - along
        phase = _folded(number * 4 * swing // period, -swing, swing)
        discs = [(x, foot - tall * 9 // 10, tall // 10)]
        discs += [(x, foot - tall * part // 20, tall // 7) for part in (15, 13, 11, 9)]
        for sign in (-1, 1):
            discs += [(x + sign * phase * part // 6, foot - tall * (7 - part) // 16, tall // 14) for part in range(7)]
        yield _painted(size, discs)


def _caption(draw: _Draw, size: tuple[int, int], frames: int) -> Iterator[Hole]:
    height, width = size
    begin = draw.below(8)
    number = 0
    while number < frames:
        for _ in range(min(begin, frames - number)):
            yield np.zeros(size, np.uint8)
        number += min(begin, frames - number)
        hole = np.zeros(size, np.uint8)
        line = max(height // 12, 2)
        for row in range(draw.between(1, 2)):
            bottom = height - height // 16 - row * (line + max(line // 3, 1))
            left = draw.between(width // 10, width // 4)
            while left < width - width // 8:
                word = draw.between(line, 4 * line)
                hole[bottom - line : bottom, left : min(left + word, width - width // 10)] = 1
                left += word + max(line // 3, 1)
        shown = min(draw.between(12, 48), frames - number)
        for _ in range(shown):
            yield hole.copy()
        number += shown
        begin = draw.between(4, 16)


def _shape(draw: _Draw, size: tuple[int, int]) -> tuple[list[Disc], int]:
    """Discs about (0, 0), and how far they reach."""
    short = min(size) * UNIT
    radius = draw.between(short // 8, short // 5)
    discs = [(0, 0, radius)]
    for _ in range(draw.between(5, 8)):
        x, y = (draw.between(-radius, radius) for _ in range(2))
        discs.append((x, y, draw.between(radius // 3, radius * 2 // 3)))
    return discs, radius * 2


def _place(draw: _Draw, size: tuple[int, int], reach: int) -> tuple[int, int]:
    """x and y, at least `reach` from the border."""
    height, width = (side * UNIT for side in size)
    return draw.between(reach, max(width - reach, reach)), draw.between(reach, max(height - reach, reach))


def _folded(value: int, low: int, high: int) -> int:
    """Between low and high, thrown back at both."""
    span = max(high - low, 1)
    place = (value - low) % (2 * span)
    return low + (place if place <= span else 2 * span - place)


def _painted(size: tuple[int, int], discs: list[Disc]) -> Hole:
    height, width = size
    y = np.arange(height, dtype=np.int64)[:, None] * UNIT + UNIT // 2
    x = np.arange(width, dtype=np.int64)[None, :] * UNIT + UNIT // 2
    hole = np.zeros(size, np.uint8)
    for cx, cy, radius in discs:
        hole[(x - cx) ** 2 + (y - cy) ** 2 < radius * radius] = 1
    return hole
