"""A clip as its viewer sees it, and the part of its frames that is meant: by number, by time, by a box."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from .. import masks
from ..comparison.layout import eight_bits
from ..errors import InputError, UsageError
from ..masks.options import parse_box
from ..types import Frame, VideoInfo
from ..video.reading import probe

_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)(s?)")


@dataclass(frozen=True)
class Moment:
    """A frame's number, or a time in seconds from the first frame."""

    frame: int | None = None
    time: Fraction | None = None

    def reached(self, frame: Frame) -> bool:
        """Whether `frame` is at it or after it."""
        return frame.index >= self.frame if self.frame is not None else frame.time >= (self.time or 0)

    def passed(self, frame: Frame) -> bool:
        """Whether `frame` is after it."""
        return frame.index > self.frame if self.frame is not None else frame.time > (self.time or 0)


@dataclass(frozen=True)
class Span:
    """From one moment to another, both with it; None: the clip's own start or end."""

    start: Moment | None = None
    end: Moment | None = None

    def holds(self, frame: Frame) -> bool:
        """Whether `frame` lies in it."""
        after = self.start is None or self.start.reached(frame)
        return after and not (self.end is not None and self.end.passed(frame))


@dataclass(frozen=True)
class Region:
    """A box in pixels of the clip as displayed."""

    x: int
    y: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


def parse_moment(text: str, option: str) -> Moment:
    """From a frame's number ("120"), or a time ("4.5s", "1:04", "0:01:04.2"). Raises `UsageError`."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{option} {text!r} is neither a frame (120) nor a time (4.5s or 1:04)")
    hours, minutes, seconds, unit = match.groups()
    if minutes is None and not unit:
        if "." in seconds:
            raise UsageError(f"{option} {text!r} is no whole frame; for seconds write {text}s")
        return Moment(frame=int(seconds))
    return Moment(time=Fraction(seconds) + 60 * int(minutes or 0) + 3600 * int(hours or 0))


def parse_region(text: str) -> Region:
    """From "x,y,w,h". Raises `UsageError`."""
    if "@" in text:
        raise UsageError(f"--region {text!r} is a box without frames; give those to --from and --to")
    box = parse_box(text, "--region")
    return Region(round(box.x), round(box.y), max(round(box.width), 1), max(round(box.height), 1))


def region_in(region: Region | None, info: VideoInfo) -> Region:
    """The part of a region that lies in the frame; without one, the frame. Raises `InputError` if nothing does."""
    height, width = info.display_size
    if region is None:
        return Region(0, 0, width, height)
    left, top = max(region.x, 0), max(region.y, 0)
    right, bottom = min(region.x + region.width, width), min(region.y + region.height, height)
    if right <= left or bottom <= top:
        box = f"{region.x},{region.y},{region.width},{region.height}"
        raise InputError(f"--region {box} lies outside the frame, which is {width}x{height}")
    return Region(left, top, right - left, bottom - top)


def displayed(frame: Frame, info: VideoInfo) -> NDArray[np.uint8]:
    """The frame (H, W, 3) in 8 bits, turned as a player shows it."""
    return np.ascontiguousarray(masks.turn_to_display(eight_bits(frame.rgb), info.rotation))


def mask_names(info: VideoInfo, count: int) -> list[str]:
    """Names of the masks of `count` frames: the frames' own for a folder, numbers from 000000 otherwise."""
    if info.is_folder:
        files = probe.image_list(info.path)
        if len(files) == count:  # else pages of one file
            return [f"{file.stem}.png" for file in files]
    return [f"{index:06d}.png" for index in range(count)]
