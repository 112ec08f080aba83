"""Plain data that several layers share. Standard library and numpy only, so that every layer may import it.

Sizes are (height, width). Shape legend: H W pixels. Colours are RGB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PixelArray = NDArray[np.uint8] | NDArray[np.uint16]
HoleArray = NDArray[np.uint8]


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a clip before it is decoded.

    `height`, `width` are the coded size as stored, before any display rotation. `frame_count` is exact for a folder
    and the container's claim (or None) for a file. `frame_rate` is None where the source has none (a folder).
    """

    path: Path
    is_folder: bool
    height: int
    width: int
    frame_count: int | None
    frame_rate: Fraction | None
    bit_depth: int = 8
    has_audio: bool = False
    codec: str = ""
    pixel_format: str = ""
    rotation: int = 0


@dataclass(frozen=True)
class Frame:
    """One decoded picture in presentation order.

    `rgb` is (H, W, 3): uint8 0..255 for sources up to 8 bits a channel, else uint16 scaled to 0..65535.
    `time` is the presentation time in seconds from the first frame. `native` is whatever the reader wants handed back
    to the writer with the frame (the decoded `av.VideoFrame`, an image's alpha plane, ...); nobody else looks into it.
    """

    index: int
    rgb: PixelArray
    time: Fraction
    name: str = ""
    native: Any = field(default=None, repr=False, compare=False)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return int(self.rgb.shape[0]), int(self.rgb.shape[1])


@dataclass(frozen=True)
class Window:
    """One pass of the network. `local` frames are filled, `reference` frames are context only; both ascending."""

    center: int
    local: tuple[int, ...]
    reference: tuple[int, ...]

    @property
    def frames(self) -> tuple[int, ...]:
        """Local frames first, then the references: the order the network expects on its time axis."""
        return self.local + self.reference
