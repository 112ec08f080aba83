"""A clip in pieces: which frames a piece needs around it, filling it alone, and storing it until the clip is joined.

A frame's fill depends on the windows that contain it, on the references of those, and on nothing else; so a piece
computed alone, over a stream that begins and ends where those do, is bit for bit what the whole run computes.
"""

from __future__ import annotations

import errno
import io
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import numpy as np

from .. import video
from ..errors import InputError
from ..fill.pieces import fill_range
from ..fill.stream import WindowEngine
from ..frames.stages import FinishedFrame, HoledFrame
from ..options import InpaintOptions
from ..threads.later import Later
from ..types import Frame, PixelArray
from .model import ClipPlan, Segment

_NPY_HEADER_BYTES = 4096
"""More than NumPy writes before an array's values."""


def segment_grid(plan: ClipPlan, frames: int, hop: int) -> tuple[Segment, ...]:
    """The clip cut at shots and at every `frames` frames of a shot (rounded up to a multiple of `hop`); holes or
    not."""
    length = -(-frames // hop) * hop
    return tuple(
        Segment(start, min(start + length, last + 1), first)
        for first, last in plan.shots
        for start in range(first, last + 1, length)
    )


class ClipSource:
    """Frames first..last of a clip with their holes. Context manager; `read` may be called once."""

    def __init__(self, options: InpaintOptions, plan: ClipPlan | None = None) -> None:
        self._options, self._plan = options, plan
        self._stack = ExitStack()

    def __enter__(self) -> ClipSource:
        options = self._options
        self.reader = self._stack.enter_context(video.open_reader(options.video, size=options.size, span=options.span))
        self._holes = self._stack.enter_context(video.open_holes(options.mask, self.reader.info, options.masking))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def read(self, first: int = 0, end: int | None = None) -> Iterator[HoledFrame]:
        """Frames first..end-1 (end None: to the last)."""
        for frame in self._frames(first, end):
            hole = self._holes.hole_at(frame)
            yield HoledFrame.masked(frame, hole, self._options.masking.feather)

    @property
    def notices(self) -> tuple[str, ...]:
        """What reader and masks assumed so far."""
        return (*self.reader.notices, *self._holes.notices)

    def _frames(self, first: int, end: int | None) -> Iterator[Frame]:
        if first > 0 and end is not None and self._plan is not None and self._plan.seekable:
            access = self._stack.enter_context(
                video.open_random_access(
                    self._options.video, size=self._options.size, span=self._options.span, exact=False
                )
            )
            yield from access.frames(range(first, end))
            return
        for frame in self.reader:
            if end is not None and frame.index >= end:
                return
            if frame.index >= first:
                yield frame


def fill_part(
    options: InpaintOptions,
    plan: ClipPlan,
    segments: tuple[Segment, ...],
    engine: WindowEngine,
    on_read: Callable[[float], None] = lambda share: None,
) -> Iterator[FinishedFrame]:
    """The finished frames of consecutive `segments` of one shot, each frame exactly as in a run over the whole clip.

    on_read: called after each frame that was read, with the share read so far of all that these segments need.
    """
    shot = segments[0].shot
    with ClipSource(options, plan) as source:

        def read(first: int, end: int) -> Iterator[HoledFrame]:
            for number, item in enumerate(source.read(shot + first, shot + end), 1):
                on_read(number / (end - first))
                yield item

        start, stop = segments[0].start - shot, segments[-1].stop - shot
        yield from fill_range(read, shot_frames(plan, shot), start, stop, engine, options.windows)


def shot_frames(plan: ClipPlan, shot: int) -> int:
    """Number of frames of the shot that begins at frame `shot`."""
    return next(last for first, last in plan.shots if first == shot) + 1 - shot


class SegmentWriter:
    """Writes one segment's fills losslessly; the file has its name only when it is complete and on the disk.

    A zip with one entry a filled frame, "INDEX_TOP_LEFT.npy": the pixels of the fill's box. Zip checks each entry's CRC
    when read.
    """

    def __init__(self, folder: Path, segment: Segment) -> None:
        self._target = segment_path(folder, segment)
        self._temporary = folder / f".{self._target.name}.{os.getpid()}.partial"

    def __enter__(self) -> SegmentWriter:
        self._target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = self._temporary.open("wb")
            self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        except BaseException:  # an interrupt too
            self._temporary.unlink(missing_ok=True)
            raise
        return self

    def add(self, finished: FinishedFrame) -> None:
        """Store the fill of one frame; frames without a hole need nothing."""
        box = finished.source.box
        if finished.inside is None or box is None:
            return
        top, left, _, _ = box
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(finished.inside.get()), allow_pickle=False)
        self._zip.writestr(f"{finished.source.frame.index}_{top}_{left}.npy", buffer.getvalue())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._zip.close()
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
                os.replace(self._temporary, self._target)
                return
        finally:
            with suppress(OSError, ValueError):
                self._zip.close()
            with suppress(OSError, ValueError):
                self._file.close()
            with suppress(OSError):
                self._temporary.unlink(missing_ok=True)


def segment_path(folder: Path, segment: Segment) -> Path:
    """Where a segment's fills lie."""
    return folder / f"{segment.start:08d}-{segment.stop:08d}.zip"


def is_stored(folder: Path, segment: Segment, plan: ClipPlan) -> bool:
    """Whether nothing is left to compute for this segment: its file is there, or it has no hole."""
    return not plan.has_hole(segment.start, segment.stop) or segment_path(folder, segment).is_file()


class StoredFills:
    """Reads fills back, frame after frame in ascending order. A damaged file is removed, so that it is computed
    again."""

    def __init__(self, folder: Path, segments: tuple[Segment, ...]) -> None:
        self._folder = folder
        self._segments = iter(segments)
        self._current: Segment | None = None
        self._entries: dict[int, str] = {}
        self._zip: zipfile.ZipFile | None = None

    def __enter__(self) -> StoredFills:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._zip is not None:
            self._zip.close()

    def finish(self, item: HoledFrame) -> FinishedFrame:
        """`item` with its stored fill. Raises `DamagedSegmentError` if that is missing, unreadable or of another
        hole."""
        if item.box is None:
            return FinishedFrame(item, None)
        index = item.frame.index
        while self._current is None or index >= self._current.stop:
            self._open(next(self._segments))
        pixels = self._pixels(index, item)
        return FinishedFrame(item, Later(lambda: pixels))

    def _open(self, segment: Segment) -> None:
        if self._zip is not None:
            self._zip.close()
        self._current, self._zip, self._entries = segment, None, {}
        path = segment_path(self._folder, segment)
        if path.is_file():
            with _RemoveDamaged(path):
                self._zip = zipfile.ZipFile(path)
                self._entries = {int(name.split("_")[0]): name for name in self._zip.namelist()}

    def _pixels(self, index: int, item: HoledFrame) -> PixelArray:
        assert self._current is not None
        assert item.box is not None
        path = segment_path(self._folder, self._current)
        with _RemoveDamaged(path):
            if self._zip is None or index not in self._entries:
                raise KeyError(index)
            name = self._entries[index]
            top, left, bottom, right = item.box
            shape, kind = (bottom - top, right - left, 3), item.frame.rgb.dtype
            if self._zip.getinfo(name).file_size > math.prod(shape) * kind.itemsize + _NPY_HEADER_BYTES:
                raise KeyError(index)
            pixels: PixelArray = np.load(io.BytesIO(self._zip.read(name)), allow_pickle=False)
            if name != f"{index}_{top}_{left}.npy" or pixels.shape != shape or pixels.dtype != kind:
                raise KeyError(index)
        return pixels


class DamagedSegmentError(InputError):
    """A stored segment that cannot be used; it has been removed, and computing it again mends the job."""


class _RemoveDamaged:
    """Turns whatever a damaged file raises into `DamagedSegmentError`, once the file is gone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Flipped bits ask for other compressions, encryption or places outside the file, each of which raises something
        # else.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            return  # the disk's trouble, not the file's
        if isinstance(error, Exception):
            self._path.unlink(missing_ok=True)
            raise DamagedSegmentError(
                f"the stored segment {self._path} is damaged: it was removed, run the batch again"
            ) from error
