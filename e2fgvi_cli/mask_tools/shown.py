"""A clip as its viewer sees it, and the part of its frames that is meant: by number, by time, by a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import masks
from ..comparison.layout import eight_bits
from ..errors import InputError, UsageError
from ..masks.options import parse_box
from ..types import Frame, VideoInfo
from ..video.reading import probe


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
