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

AlphaArray = NDArray[np.float32] | NDArray[np.uint8]
"""(H, W) in [0, 1]: how much of the filled picture to take. 1 in the hole; between, where it is feathered. Where
nothing is, the hole
itself: a quarter of the memory, and nothing to make."""
Box = tuple[int, int, int, int]
"""top, left, bottom, right; bottom and right are not included."""


@dataclass(frozen=True)
class Cut:
    """Where a part of the clip `source` lies: it begins with frame number `first`, `start` seconds after the clip's
    first frame.

    `begin` and `end` are the times of its first frame and of the first one after it (None: there is none), in ticks of
    the file's own clock; of a folder, numbers. `seekable`: the frame at a time can be jumped to.
    """

    source: VideoInfo
    first: int
    begin: int
    end: int | None
    start: Fraction
    seekable: bool

    @property
    def clock(self) -> tuple[Fraction, Fraction | None]:
        """`begin` and `end` in seconds of the file's own clock."""
        base = self.source.time_base or Fraction(1)
        return self.begin * base, None if self.end is None else self.end * base


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a clip before it is decoded.

    `height`, `width` are the size of the frames the reader yields: as stored, before any display rotation, unless the
    caller asked for another size (then `stored_size` keeps the original). `frame_count` is exact for a folder and the
    container's claim (or None) for a file. `frame_rate` is None where the source has none (a folder), and the average
    where it varies. `rotation` is counter-clockwise degrees to turn for display (0, 90, 180, 270, or another whole
    number). `time_base` is the unit of the source's time stamps in seconds, `duration` the container's claim in
    seconds. `display_matrix` holds the nine integers of FFmpeg's display matrix; `color` is (range, matrix, primaries,
    transfer) in the code points of ITU-T H.273 (2 = unspecified; range 0 unspecified, 1 limited, 2 full). `hdr_static`
    is the mastering display and the content light level in x265's notation ("" = none). `cut`: only a part of the clip
    is read; `frame_count` and `duration` are the part's, and its frames are counted and timed from its first one.
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
    stored_size: tuple[int, int] | None = None
    time_base: Fraction | None = None
    duration: Fraction | None = None
    bit_rate: int | None = None
    sample_aspect_ratio: Fraction | None = None
    color: tuple[int, int, int, int] = (0, 2, 2, 2)
    display_matrix: tuple[int, ...] | None = None
    audio_streams: int = 0
    subtitle_streams: int = 0
    has_alpha: bool = False
    hdr_static: tuple[str, str] = ("", "")
    cut: Cut | None = None

    @property
    def display_size(self) -> tuple[int, int]:
        """(height, width) of the frames as a player shows them: swapped for quarter turns, pixels not stretched."""
        return (self.width, self.height) if self.rotation % 180 == 90 else (self.height, self.width)


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


@dataclass(frozen=True)
class Progress:
    """How far a run is. `total` is None while the source does not say how long it is.

    share: 0 to 1, of the expected time; it grows from the first second, while `done` counts finished frames.
    """

    done: int
    total: int | None
    share: float | None = None


@dataclass(frozen=True)
class Summary:
    """What a finished run did. Seconds are wall clock and include decoding and encoding; `filled` counts frames with a
    hole."""

    output: str
    frames: int
    filled: int
    seconds: float
    peak_memory: int
    peak_memory_of: str
    device: str
    deform_backend: str
    weights: str
    size: tuple[int, int]
    precision: str = ""
    notices: tuple[str, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def seconds_per_frame(self) -> float:
        """Wall clock a frame of the clip, filled or not."""
        return self.seconds / max(self.frames, 1)
