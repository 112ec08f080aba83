"""The hole of every frame, from whatever the user has: folder, image, video, boxes, polygons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np

from ... import masks
from ...errors import InputError, UsageError
from ...masks import Box, MaskOptions, Polygon
from ...masks.inspection import TOO_MUCH
from ...types import Frame, HoleArray, VideoInfo
from ..images import sequences
from ..images.stills import is_stills
from ..reading import probe
from .files import MaskDecoder
from .gaps import BridgedMasks
from .sources import (
    FolderMasks,
    MaskSource,
    NoMask,
    NumberedSource,
    RawHole,
    StillMask,
    iterate_holes,
    match_folder,
    reach_of,
    video_masks,
)

_LARGER = 64  # times the clip's pixels that a mask image may have
_ALWAYS_ALLOWED = 1 << 24


def open_holes(mask: Path | None, info: VideoInfo, options: MaskOptions, *, inspect: bool = False) -> HoleReader:
    """Masks for the clip `info`: a folder, one image for all frames, a video, or None with boxes or polygons.

    `inspect` also looks for compression noise in the masks, of which `notices` then speaks. Raises `InputError` for
    masks that cannot be read or whose number cannot be explained, `UsageError` for no mask.
    """
    return HoleReader(None if mask is None else Path(mask), info, options, inspect=inspect)


class HoleReader:
    """Context manager; `hole_at` is called with frames in increasing order. `notices` says what was assumed."""

    def __init__(self, mask: Path | None, info: VideoInfo, options: MaskOptions, *, inspect: bool = False) -> None:
        self.notices: list[str] = []
        self._info, self._options = info, options
        self._decoder = MaskDecoder(options, self.notices, inspect=inspect)
        self._decoder.max_pixels = max(_LARGER * info.height * info.width, _ALWAYS_ALLOWED)
        self._check_shapes()
        source = self._open_source(mask)
        self._source: MaskSource = BridgedMasks(source, self._decoder) if options.grow_gaps else source
        self._say_dilation()
        self._cached: tuple[tuple[object, ...], HoleArray] | None = None

    def _open_source(self, mask: Path | None) -> MaskSource:
        if mask is None:
            if not self._options.boxes and not self._options.polygons:
                raise UsageError("there is no mask; give --mask, --mask-box or --mask-polygon")
            return NoMask()
        if mask.is_dir() or sequences.is_pattern(mask):
            return FolderMasks(match_folder(mask, self._info, self._decoder), self._decoder, reach_of(self._options))
        if not mask.exists():
            raise InputError(f"there is no mask {mask}; check the path")
        if is_stills(mask) and probe.count_frames(mask) == 1:
            return StillMask(mask, self._decoder)
        return video_masks(mask, self._info, self._decoder)

    def __enter__(self) -> HoleReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.close()

    def hole_at(self, frame: Frame) -> HoleArray:
        """(H, W) uint8 of 0 and 1 (1 = hole) at the size of `frame`, dilated."""
        if self._info.cut is not None:  # masks and shapes speak of the whole clip's numbers and times
            part = self._info.cut
            frame = replace(frame, index=frame.index + part.first, time=frame.time + part.start)
        raws = list(iterate_holes(self._source, frame, self._options.union))
        shapes = self._options.shapes_at(frame.index)
        key = (frame.size, shapes, *(id(raw) for raw in raws))
        if self._cached is not None and self._cached[0] == key and raws:
            return self._cached[1].copy()
        hole = self._drawn_shapes(frame) if shapes else np.zeros(frame.size, np.uint8)
        for raw in raws:
            hole |= masks.resize_nearest(self._oriented(raw), frame.size)
        hole, closed = masks.grow(hole, self._options.dilation)
        if closed:
            self._decoder.say_once(
                "closed",
                f"small gaps in the hole are closed (in frame {frame.index} {closed} pixels); with --mask-dilation "
                f"{self._options.dilation.pixels(*frame.size)}px they stay",
            )
        self._keep_alive = raws  # so that no id in `key` is given to another object
        self._cached = (key, hole)
        return hole.copy()

    @property
    def tells_objects(self) -> bool:
        """Whether the masks hold several objects by number, of which `numbers_at` speaks."""
        return self._decoder.tells_objects and isinstance(self._source, NumberedSource)

    def numbers_at(self, frame: Frame) -> HoleArray:
        """(H, W) the number of the object in each pixel of a frame's own mask, 0 elsewhere; nothing is grown. For
        frames in order, of masks that `tells_objects`."""
        assert isinstance(self._source, NumberedSource)
        if self._info.cut is not None:
            frame = replace(frame, index=frame.index + self._info.cut.first)
        raw = self._source.numbers(frame)
        if raw is None:
            return np.zeros(frame.size, np.uint8)
        return masks.resize_nearest(self._oriented(raw), frame.size)

    def _say_dilation(self) -> None:
        """The default grows with the frame: say by how much where it is not what small frames get."""
        dilation = self._options.dilation
        pixels = dilation.pixels(self._info.height, self._info.width)
        if dilation.unit == "auto" and pixels != dilation.amount:
            self.notices.append(
                f"the hole grows by {pixels} pixels, for the frames are {self._info.width}x{self._info.height}; "
                f"--mask-dilation {dilation.amount:g}px grows it by {dilation.amount:g}"
            )

    def _check_shapes(self) -> None:
        """Boxes and polygons must touch the frame and speak of frames that are there. Raises `UsageError`."""
        stored = self._info.stored_size or (self._info.height, self._info.width)
        height, width = stored[::-1] if self._info.rotation % 180 == 90 else stored
        shapes: tuple[Box | Polygon, ...] = (*self._options.boxes, *self._options.polygons)
        for shape in shapes:
            left, top, right, bottom = shape.bounds
            if left >= width or top >= height or right <= 0 or bottom <= 0:
                raise UsageError(f"{shape} lies outside the frame, which is {width}x{height}; give pixels in it")
            start, count = shape.frames.start, (part.source if (part := self._info.cut) else self._info).frame_count
            if start > 0 and (count is None or start >= count):
                count = probe.count_frames(self._info.path)
                if start >= count:
                    raise UsageError(f"{shape} is for frames that are not there: the clip has frames 0 to {count - 1}")
            covered = (min(right, width) - max(left, 0)) * (min(bottom, height) - max(top, 0)) / (width * height)
            if isinstance(shape, Box) and covered > TOO_MUCH:
                self.notices.append(f"warning: {shape} covers {covered:.0%} of the frame")

    def _drawn_shapes(self, frame: Frame) -> HoleArray:
        """Boxes and polygons speak of the picture as displayed, at the source's own size."""
        stored = self._info.stored_size or (self._info.height, self._info.width)
        quarter = self._info.rotation % 180 == 90
        drawn_on, target = (stored[::-1], frame.size[::-1]) if quarter else (stored, frame.size)
        return masks.turn_to_stored(
            masks.draw_shapes(self._options, frame.index, drawn_on, target), self._info.rotation
        )

    def _oriented(self, raw: RawHole) -> HoleArray:
        """The hole in the frames' stored orientation, at any size; says so once if it had to guess or resize."""
        stored = self._info.stored_size or (self._info.height, self._info.width)
        rotation = (self._info.rotation - raw.rotation) % 360
        if raw.rotation == 0 and rotation and not self._looks_displayed(raw.hole.shape, stored):
            rotation = 0
        if rotation and raw.rotation == 0:
            self._decoder.say_once(
                "rotation",
                f"the video is shown turned by {360 - self._info.rotation} degrees: the masks are taken to be too",
            )
        hole = masks.turn_to_stored(raw.hole, rotation)
        if hole.shape != stored:
            self._decoder.say_once(
                "resized",
                f"masks of {raw.hole.shape[1]}x{raw.hole.shape[0]} are resized (nearest) to frames of "
                f"{stored[1]}x{stored[0]}",
            )
        return hole

    def _looks_displayed(self, shape: tuple[int, ...], stored: tuple[int, int]) -> bool:
        """Whether a mask fits the picture as players show it, rather than as it is stored (ties: as shown)."""
        if self._info.rotation % 180 != 90:
            return True
        ratio, wanted = shape[1] / shape[0], stored[1] / stored[0]
        return abs(np.log(ratio * wanted)) <= abs(np.log(ratio / wanted))
