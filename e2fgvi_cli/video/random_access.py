"""Single frames of a clip by number, out of order, without holding the clip: for references far from the window."""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av

from ..errors import InputError
from ..types import Frame, VideoInfo
from . import probe
from .reader import FolderReader, decode_stream, make_frame, source_info


class RandomAccess:
    """Context manager; `frame(i)` and `frames(indices)` decode on demand and keep the last `keep` frames.

    Frame numbers are those of a reader of the same path (for a damaged file: of its packets that decode).
    """

    def __init__(self, info: VideoInfo, keep: int = 8) -> None:
        self.info = info
        self._keep = keep
        self._recent: OrderedDict[int, Frame] = OrderedDict()
        self._folder = FolderReader(info) if info.is_folder else None
        self._video = None if info.is_folder else _SeekableVideo(info)

    def __enter__(self) -> RandomAccess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._video is not None:
            self._video.close()

    def __len__(self) -> int:
        return len(self._folder.files) if self._folder is not None else len(self._require_video().times)

    def frame(self, index: int) -> Frame:
        """Frame `index`. Raises `InputError` if there is none of that number or it cannot be decoded."""
        if not 0 <= index < len(self):
            raise InputError(f"frame {index} of {self.info.path} does not exist: it has {len(self)}")
        if index in self._recent:
            self._recent.move_to_end(index)
            return self._recent[index]
        frame = self._folder.read(index) if self._folder is not None else self._require_video().read(index)
        self._recent[index] = frame
        while len(self._recent) > self._keep:
            self._recent.popitem(last=False)
        return frame

    def frames(self, indices: Iterable[int]) -> Iterator[Frame]:
        """The frames of these numbers, ascending, each once: the order in which they cost least."""
        for index in sorted(set(indices)):
            yield self.frame(index)

    def _require_video(self) -> _SeekableVideo:
        assert self._video is not None
        return self._video


def open_random_access(path: Path, *, size: tuple[int, int] | None = None, keep: int = 8) -> RandomAccess:
    """Random access to what `open_reader(path, size=size)` reads in order. Raises `InputError`."""
    return RandomAccess(source_info(Path(path), size), keep)


class _SeekableVideo:
    """A decoder that goes on where it is if that is nearer than the key frame before the wanted frame."""

    def __init__(self, info: VideoInfo) -> None:
        self._info = info
        self._container = probe.open_container(info.path)
        self._stream = probe.main_video_stream(self._container, info.path)
        self._stream.thread_type = "AUTO"
        self.times, self._keys = _scan(info.path)
        self._pictures: Iterator[av.VideoFrame | None] | None = None
        self._next = 0

    def read(self, index: int) -> Frame:
        """Frame `index`, counted in presentation order."""
        wanted = self.times[index]
        key = bisect.bisect_right(self._keys, wanted) - 1
        key_index = bisect.bisect_left(self.times, self._keys[key]) if key >= 0 else 0
        if self._pictures is None or self._next > index or key_index > self._next:
            self._seek(self._keys[max(key, 0)] if self._keys else wanted)
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
        raise InputError(f"frame {index} of {self._info.path} cannot be decoded; the file is damaged there")

    def _seek(self, ticks: int) -> None:
        self._container.seek(ticks, stream=self._stream, backward=True)
        self._pictures = decode_stream(self._container, self._stream)
        self._next = 0

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def _scan(path: Path) -> tuple[list[int], list[int]]:
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
    if not times:
        raise InputError(f"{path} has no time stamps to find single frames by; convert it to mp4 or mkv first")
    return sorted(times), sorted(keys)
