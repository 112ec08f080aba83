"""What the mask options of the command line mean, parsed into frozen values. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from ..errors import UsageError

_NUMBER = r"[+-]?\d+(?:\.\d+)?"
_RANGE = re.compile(r"^(\d*)(-?)(\d*)$")
_DILATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(px|%)?$")
_ONE_BOX = re.compile(rf"{_NUMBER}(?:\s*,\s*{_NUMBER}){{3}}(?:\s*@\s*(?:\d+(?:-\d*)?|-\d+))?")
_BOXES = re.compile(rf"\s*{_ONE_BOX.pattern}(?:[\s;|]+{_ONE_BOX.pattern})+[\s;|]*")
MAX_DILATION_PIXELS = 10_000
DEFAULT_THRESHOLD = 127
_AUTO_LINES = 480


@dataclass(frozen=True)
class Dilation:
    """How far a hole grows: `amount` in pixels ("px"), in percent of the frame's height ("%"), or "auto": that many
    pixels on frames of up to 480 lines (their shorter side), more on larger ones; "auto" also closes small gaps
    (`growth`).

    `shape` "disc" grows by Euclidean distance; "cross" repeats a 3x3 cross, as the published program does.
    """

    amount: float = 4.0
    unit: Literal["px", "%", "auto"] = "px"
    shape: Literal["disc", "cross"] = "disc"

    @classmethod
    def parse(cls, text: str) -> Dilation:
        """From "4", "4px", "1%" or "auto". Raises `UsageError`."""
        if text.strip() == "auto":
            return cls(unit="auto")
        match = _DILATION.match(text.strip())
        if match is None:
            raise UsageError(
                f"--mask-dilation {text!r} is no size; give pixels such as 4 or 4px, percent such as 1%, or auto"
            )
        amount, unit = float(match[1]), "%" if match[2] == "%" else "px"
        if amount > (100 if unit == "%" else MAX_DILATION_PIXELS):
            raise UsageError(f"--mask-dilation {text!r} is larger than any frame; give at most 100% or 10000px")
        return cls(amount, "%" if unit == "%" else "px")

    @property
    def text(self) -> str:
        """As `parse` reads it."""
        return "auto" if self.unit == "auto" else f"{self.amount:g}{self.unit}"

    def pixels(self, height: int, width: int | None = None) -> int:
        """Radius in whole pixels for a frame of this size; a percentage above 0 is at least one pixel."""
        if self.unit == "px":
            return round(self.amount)
        if self.unit == "auto":
            return round(self.amount * max(min(height, width or height) / _AUTO_LINES, 1))
        return max(round(self.amount / 100 * height), 1) if self.amount > 0 else 0


@dataclass(frozen=True)
class FrameRange:
    """Frames `start` to `end`, both included; `end` None = to the last."""

    start: int = 0
    end: int | None = None

    def __contains__(self, index: int) -> bool:
        return index >= self.start and (self.end is None or index <= self.end)

    def __str__(self) -> str:
        """The suffix of a shape on the command line; nothing for all frames."""
        if self.end == self.start:
            return f"@{self.start}"
        return "" if self == FrameRange() else f"@{self.start}-{'' if self.end is None else self.end}"


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the frame as displayed: left, top, width, height."""

    x: float
    y: float
    width: float
    height: float
    frames: FrameRange = field(default_factory=FrameRange)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.x, self.y, self.x + self.width, self.y + self.height

    def __str__(self) -> str:
        """As it is written on the command line."""
        return f"--mask-box {self.x:g},{self.y:g},{self.width:g},{self.height:g}{self.frames}"


@dataclass(frozen=True)
class Polygon:
    """Corner points (x, y) in pixels of the frame as displayed, at least three."""

    points: tuple[tuple[float, float], ...]
    frames: FrameRange = field(default_factory=FrameRange)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        columns, rows = zip(*self.points, strict=True)
        return min(columns), min(rows), max(columns), max(rows)

    def __str__(self) -> str:
        """As it is written on the command line."""
        return f"--mask-polygon {' '.join(f'{x:g},{y:g}' for x, y in self.points)}{self.frames}"


def _split_range(text: str, option: str) -> tuple[str, FrameRange]:
    """ "SHAPE@start-end" into the shape's text and the frames; without "@" every frame."""
    shape, at, span = text.strip().partition("@")
    if not at:
        return shape, FrameRange()
    match = _RANGE.match(span.strip())
    if match is None or not (match[1] or match[3]):
        raise UsageError(f"{option} {text!r}: {span!r} is no frame range; write @10, @10-50, @10- or @-50")
    start = int(match[1] or 0)
    end = int(match[3]) if match[3] else (None if match[2] else start)
    if end is not None and end < start:
        raise UsageError(f"{option} {text!r}: the frame range ends before it starts; write the smaller number first")
    return shape, FrameRange(start, end)


def _numbers(text: str, option: str, whole: str) -> list[float]:
    parts = [part for part in re.split(r"[\s,;]+", text.strip()) if part]
    if not all(re.fullmatch(_NUMBER, part) for part in parts):
        wrong = next(part for part in parts if not re.fullmatch(_NUMBER, part))
        raise UsageError(f"{option} {whole!r}: {wrong!r} is no number of pixels; use plain numbers")
    return [float(part) for part in parts]


def parse_box(text: str, option: str = "--mask-box") -> Box:
    """From "x,y,w,h", "x,y,w,h@start-end", "...@start-" or "...@frame". Raises `UsageError`, which names `option`."""
    shape, frames = _split_range(text, option)
    numbers = _numbers(shape, option, text)
    if len(numbers) != 4:
        raise UsageError(f"{option} {text!r} has {len(numbers)} numbers; write x,y,width,height, such as 20,30,100,40")
    x, y, width, height = numbers
    if width <= 0 or height <= 0:
        raise UsageError(f"{option} {text!r}: width and height must be above 0")
    return Box(x, y, width, height, frames)


def parse_boxes(text: str) -> tuple[Box, ...]:
    """One or several boxes as `parse_box` takes them, with spaces, semicolons, bars or line ends between, as in a cell
    of a
    table: "0,0,9,9@-20; 50,60,9,9@21-". Raises `UsageError`."""
    if _BOXES.fullmatch(text) is None:
        return (parse_box(text),)
    return tuple(parse_box(match[0]) for match in _ONE_BOX.finditer(text))


def parse_polygons(text: str) -> tuple[Polygon, ...]:
    """One or several polygons as `parse_polygon` takes them, with bars or line ends between. Raises `UsageError`."""
    parts = [part for part in re.split(r"[|\n]+", text) if part.strip()]
    return tuple(parse_polygon(part) for part in parts or [text])


def parse_polygon(text: str) -> Polygon:
    """From "x,y x,y x,y[@start-end]" (commas, semicolons and spaces all separate). Raises `UsageError`."""
    shape, frames = _split_range(text, "--mask-polygon")
    numbers = _numbers(shape, "--mask-polygon", text)
    if len(numbers) < 6 or len(numbers) % 2:
        raise UsageError(
            f"--mask-polygon {text!r} has {len(numbers)} numbers; write at least three points, such as 10,10 "
            "60,10 35,50"
        )
    return Polygon(tuple(zip(numbers[::2], numbers[1::2], strict=True)), frames)


def parse_ids(text: str) -> frozenset[int]:
    """From "1,3" (0..65535, 0 being the background of most tools). Raises `UsageError`."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and int(part) <= 65535 for part in parts):
        raise UsageError(f"--mask-ids {text!r} is no list of object numbers; write them with commas, such as 1,3")
    return frozenset(int(part) for part in parts)


@dataclass(frozen=True)
class MaskOptions:
    """How masks become holes. The order is: ids or threshold, invert, gaps, boxes and polygons, union, resize,
    dilation.

    `threshold` 0..255 (a pixel above it is hole), `feather` pixels outside the hole over which the fill fades out,
    `union` N = a frame's hole is that of N frames before to N after together, `ids` object numbers of palette or id
    images (None = threshold, or for coloured palettes every object), `grow_gaps` = frames without a mask get one
    between those before and after, `any_value` = levels are read as the published program reads them.
    """

    threshold: int = DEFAULT_THRESHOLD
    dilation: Dilation = field(default_factory=lambda: Dilation(unit="auto"))
    invert: bool = False
    feather: float = 0.0
    union: int = 0
    ids: frozenset[int] | None = None
    boxes: tuple[Box, ...] = ()
    polygons: tuple[Polygon, ...] = ()
    any_value: bool = False
    grow_gaps: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 254:
            raise UsageError(f"--mask-threshold {self.threshold} leaves nothing; give a level from 0 to 254")
        if not 0 <= self.feather <= 1000:
            raise UsageError(f"--mask-feather {self.feather} is out of range; give 0 to 1000 pixels")
        if not 0 <= self.union <= 1000:
            raise UsageError(f"--mask-union {self.union} is out of range; give 0 to 1000 frames")

    def shapes_at(self, index: int) -> tuple[Box | Polygon, ...]:
        """The boxes and polygons that cover frame `index`."""
        shapes: tuple[Box | Polygon, ...] = (*self.boxes, *self.polygons)
        return tuple(shape for shape in shapes if index in shape.frames)

    @classmethod
    def published(cls) -> MaskOptions:
        """As the published program: any gray value above 0, resized nearest, a 3x3 cross dilated four times."""
        return cls(threshold=0, dilation=Dilation(4, "px", "cross"), any_value=True)
