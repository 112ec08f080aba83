"""Single frames of a clip by number, out of order, without holding the clip: for references far from the window."""

from __future__ import annotations

import bisect
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av

from ...errors import InputError
from ...types import Frame, VideoInfo
from ..span import Span
from . import decoding, probe
from .clock import FrameClock
from .reader import FolderReader, make_frame, source_info


class RandomAccess:
    """Context manager; `frame(i)` and `frames(indices)` decode on demand and keep the last `keep` frames.

    Frame numbers are those of a reader of the same clip: a video is decoded once to know them. `exact` False counts
    packets instead, which is quick, and right where there are as many as the reader found frames.
    """

    def __init__(self, info: VideoInfo, keep: int = 8, *, exact: bool = True) -> None:
        self.info = info
        self._keep = keep
        self._recent: OrderedDict[int, Frame] = OrderedDict()
        self._folder = FolderReader(info) if info.is_folder else None
        self._video = None if info.is_folder else _SeekableVideo(info, exact)
        self._offset, self._start = (0, Fraction(0)) if info.cut is None else (info.cut.first, info.cut.start)

    def __enter__(self) -> RandomAccess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._video is not None:
            self._video.close()

    def __len__(self) -> int:
        if self._folder is not None or self.info.cut is not None:
            return self.info.frame_count or 0
        return len(self._require_video().times)

    def frame(self, index: int) -> Frame:
        """Frame `index`. Raises `InputError` if there is none of that number or it cannot be decoded."""
        if not 0 <= index < len(self):
            raise InputError(f"frame {index} of {self.info.path} does not exist: it has {len(self)}")
        if index in self._recent:
            self._recent.move_to_end(index)
            return self._recent[index]
        frame = self._folder.read(index) if self._folder is not None else self._read_video(index)
        self._recent[index] = frame
        while len(self._recent) > self._keep:
            self._recent.popitem(last=False)
        return frame

    def frames(self, indices: Iterable[int]) -> Iterator[Frame]:
        """The frames of these numbers, ascending, each once: the order in which they cost least."""
        for index in sorted(set(indices)):
            yield self.frame(index)

    def _read_video(self, index: int) -> Frame:
        frame = self._require_video().read(index + self._offset)
        return replace(frame, index=index, time=frame.time - self._start)

    def _require_video(self) -> _SeekableVideo:
        assert self._video is not None
        return self._video


def open_random_access(
    path: Path, *, size: tuple[int, int] | None = None, span: Span = Span(), keep: int = 8, exact: bool = True
) -> RandomAccess:
    """Random access to what `open_reader(path, size=size, span=span)` reads in order; `exact` as in `RandomAccess`.
    Raises `InputError`."""
    return RandomAccess(source_info(Path(path), size, span), keep, exact=exact)


class _SeekableVideo:
    """A decoder that goes on where it is if that is nearer than the key frame before the wanted frame.

    A file whose times do not say where a frame is (none, not ascending, not to be sought for) is decoded from its
    start.
    """

    def __init__(self, info: VideoInfo, exact: bool) -> None:
        self._info = info
        self.times, self._keys = _decoded_times(info.path) if exact else _packet_times(info.path)
        self._exact = exact
        self._by_time = all(earlier < later for earlier, later in itertools.pairwise(self.times))
        self._open()

    def _open(self) -> None:
        self._container = probe.open_container(self._info.path)
        self._stream = probe.main_video_stream(self._container, self._info.path)
        self._pictures: Iterator[av.VideoFrame | None] | None = None
        self._clock = FrameClock(self._info)
        self._next = 0

    def read(self, index: int) -> Frame:
        """Frame `index`, counted in presentation order."""
        found = self._read_by_time(index) if self._by_time else None
        if found is None and self._exact:
            if self._by_time:
                self._by_time = False
                self.close()
                self._open()
            found = self._read_by_count(index)
        if found is None:
            raise InputError(f"frame {index} of {self._info.path} cannot be decoded; the file is damaged there")
        return found

    def _read_by_time(self, index: int) -> Frame | None:
        wanted = self.times[index]
        key = bisect.bisect_right(self._keys, wanted) - 1
        key_index = bisect.bisect_left(self.times, self._keys[key]) if key >= 0 else 0
        if self._pictures is None or self._next > index or key_index > self._next:
            try:
                self._seek(self._keys[max(key, 0)] if self._keys else wanted)
            except av.FFmpegError:  # an index that is lost or damaged
                return None
        assert self._pictures is not None
        for picture in self._pictures:
            if picture is None or picture.pts is None or picture.pts < wanted:
                continue
            self._next = bisect.bisect_left(self.times, picture.pts) + 1
            if picture.pts > wanted:
                break
            time_base = self._info.time_base or Fraction(1)
            return make_frame(picture, index, (picture.pts - self.times[0]) * time_base, self._info)
        self._pictures = None
        return None

    def _read_by_count(self, index: int) -> Frame | None:
        if self._next > index:
            self.close()
            self._open()
        if self._pictures is None:
            self._pictures = decoding.pictures(self._container, self._stream)
        for picture in self._pictures:
            if picture is None:
                continue
            found, time = self._clock.tick(picture)
            self._next = found + 1
            if found == index:
                return make_frame(picture, index, time, self._info)
        return None

    def _seek(self, ticks: int) -> None:
        self._container.seek(ticks, stream=self._stream, backward=True)
        self._pictures = decoding.pictures(self._container, self._stream)
        self._next = 0

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def _decoded_times(path: Path) -> tuple[list[int], list[int]]:
    """Times of all pictures that decode, in order (one after the other where there are none), and of the key frames."""
    times: list[int] = []
    with probe.open_container(path) as container:
        stream = probe.main_video_stream(container, path)
        for picture in decoding.pictures(container, stream):
            if picture is not None:
                times.append(times[-1] if picture.pts is None and times else picture.pts or 0)
    if not times:
        raise InputError(f"no frame of {path} can be decoded; the file is damaged or its codec is not supported")
    return times, _packet_times(path)[1]


def _packet_times(path: Path) -> tuple[list[int], list[int]]:
    """Presentation times of all packets, and of the key frames among them, both ascending, without decoding."""
    times: list[int] = []
    keys: list[int] = []
    with probe.open_container(path) as container:
        stream: Any = probe.main_video_stream(container, path)
        try:
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None and not packet.is_discard:
                    times.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
        except av.FFmpegError:
            pass  # a file that breaks off: the frames before are there
    return sorted(times), sorted(keys)
