"""What says where an object is: points, boxes and whole masks, each on a frame and of an object. Standard library only.

Positions are pixels of the clip as displayed, from the left and the top edge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError

MOST_OBJECTS = 64
"""The highest number of an object: what a reader of id masks takes for numbers, not for levels of gray."""


@dataclass(frozen=True)
class PointMark:
    """A point on the object (`inside`) or one that is not on it."""

    frame: int
    x: float
    y: float
    inside: bool = True
    object: int = 1


@dataclass(frozen=True)
class BoxMark:
    """A box around the object."""

    frame: int
    x: float
    y: float
    width: float
    height: float
    object: int = 1


@dataclass(frozen=True)
class KeyframeMark:
    """The object's mask in a frame: an image file as --mask reads it."""

    frame: int
    path: Path
    object: int = 1


Mark = PointMark | BoxMark | KeyframeMark


@dataclass
class FrameMarks:
    """What is said of one object in one frame."""

    frame: int
    keyframe: KeyframeMark | None = None
    box: BoxMark | None = None
    points: list[PointMark] = field(default_factory=list)


def by_object(marks: Iterable[Mark]) -> dict[int, dict[int, FrameMarks]]:
    """The marks of each object, and of each of its frames, both rising.

    Raises `UsageError` where there are none, where a frame has two masks or boxes of one object, and where the first
    marked frame of an object only says what is not the object.
    """
    found: dict[int, dict[int, FrameMarks]] = {}
    for mark in marks:
        frame = found.setdefault(_numbered(mark), {}).setdefault(mark.frame, FrameMarks(mark.frame))
        if isinstance(mark, PointMark):
            frame.points.append(mark)
            continue
        if frame.box is not None or frame.keyframe is not None:
            raise UsageError(f"frame {mark.frame} has two masks to start from; give one box or keyframe a frame")
        if isinstance(mark, BoxMark):
            frame.box = mark
        else:
            frame.keyframe = mark
    if not found:
        raise UsageError(
            "there is nothing to follow; give --point x,y@frame, --box x,y,width,height@frame or --keyframe N=mask.png"
        )
    for number, frames in found.items():
        first = frames[min(frames)]
        if first.box is None and first.keyframe is None and not any(point.inside for point in first.points):
            raise UsageError(
                f"the points of frame {first.frame} only say what object {number} is not; add one on it, such as "
                f"--point +x,y@{first.frame}"
            )
    return {number: dict(sorted(found[number].items())) for number in sorted(found)}


def require_frames(objects: dict[int, dict[int, FrameMarks]], count: int) -> None:
    """Raise `UsageError` for a mark on a frame that a clip of `count` frames does not have."""
    for frames in objects.values():
        for number in frames:
            if not 0 <= number < count:
                raise UsageError(f"frame {number} is not in the clip, which has frames 0 to {count - 1}")


def _numbered(mark: Mark) -> int:
    if not 1 <= mark.object <= MOST_OBJECTS:
        raise UsageError(f"object {mark.object} is no number from 1 to {MOST_OBJECTS}; number the objects from 1")
    return mark.object


def parse_point(text: str) -> PointMark:
    """A point from "[object:][+|-]x,y[@frame]": "-" is not on the object; object 1 and frame 0 unless said.

    Raises `UsageError`.
    """
    number, rest = _object(text)
    shape, at, frame = rest.partition("@")
    inside = not shape.startswith("-")
    parts = shape[shape[:1] in ("+", "-") :].split(",")
    if (at and not _is_count(frame)) or len(parts) != 2 or not all(_is_decimal(part) for part in parts):
        raise UsageError(
            f"--point {text!r} is no point; write +x,y@frame for one on the object, -x,y@frame for one that is not, "
            "such as +120,80@0"
        )
    return PointMark(int(frame) if at else 0, float(parts[0]), float(parts[1]), inside, number)


def parse_box_mark(text: str) -> BoxMark:
    """A box from "[object:]x,y,width,height[@frame]"; object 1 and frame 0 unless said. Raises `UsageError`."""
    from ..masks import parse_box

    number, rest = _object(text)
    shape, at, frame = rest.partition("@")
    if at and not _is_count(frame):
        raise UsageError(f"--box {text!r}: {frame!r} is no frame number; write x,y,width,height@frame")
    box = parse_box(shape, "--box")
    return BoxMark(int(frame) if at else 0, box.x, box.y, box.width, box.height, number)


def parse_keyframe(text: str) -> KeyframeMark:
    """A keyframe from "[object:]N=mask.png". Raises `UsageError`."""
    marked, equals, path = text.partition("=")
    number, frame = _object(marked)
    if not equals or not path or not _is_count(frame):
        raise UsageError(f"--keyframe {text!r} is no keyframe; write the frame number and a mask, such as 24=mask.png")
    return KeyframeMark(int(frame), Path(path), number)


def _object(text: str) -> tuple[int, str]:
    number, colon, rest = text.partition(":")
    return (int(number), rest) if colon and _is_count(number) else (1, text)


def _is_count(text: str) -> bool:
    return text.strip().isascii() and text.strip().isdecimal()


def _is_decimal(text: str) -> bool:
    whole, _, part = text.strip().partition(".")
    return _is_count(whole) and (not part or _is_count(part))
