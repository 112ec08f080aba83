"""Frames of a folder or a video file, in presentation order, decoded by a thread a few frames ahead."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import av
import cv2
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from ..threads.ahead import ReadAhead
from ..types import Frame, VideoInfo
from . import images, native, probe

DECODE_AHEAD_FRAMES = 4
_TICKS_WITHOUT_TIME_BASE = Fraction(1, 90_000)


class FrameReader(Protocol):
    """A context manager: `info` is known on entry, iterating yields every `Frame` once, `notices` grow meanwhile."""

    info: VideoInfo
    notices: list[str]

    def __enter__(self) -> FrameReader: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def __iter__(self) -> Iterator[Frame]: ...


def open_reader(path: Path, *, size: tuple[int, int] | None = None) -> FrameReader:
    """A reader for a folder of images, one image, or a video file; `size` (height, width) resizes every frame.

    Raises `InputError` for whatever cannot be read; a video that ends early or has damaged frames is read as far as it
    goes and says so in `notices`.
    """
    info = source_info(Path(path), size)
    return FolderReader(info) if info.is_folder else VideoReader(info)


def source_info(path: Path, size: tuple[int, int] | None) -> VideoInfo:
    """`probe`, with the size (height, width) the frames will have if another one is asked for."""
    info = probe.probe(path)
    if size is not None and size != (info.height, info.width):
        info = _resized_info(info, size)
    return info


def _resized_info(info: VideoInfo, size: tuple[int, int]) -> VideoInfo:
    """The same picture on other pixels: their aspect changes so that the display shape stays."""
    height, width = size
    aspect = info.sample_aspect_ratio
    if aspect:
        aspect = aspect * Fraction(info.width, width) / Fraction(info.height, height)
    stored = (info.height, info.width)
    return replace(info, height=height, width=width, stored_size=stored, sample_aspect_ratio=aspect)


class _AheadReader(ABC):
    """What both readers share: the worker's life, and that a reader is read once."""

    def __init__(self, info: VideoInfo) -> None:
        self.info = info
        self.notices: list[str] = []
        self._ahead: ReadAhead[Frame] | None = None

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ahead is not None:
            self._ahead.close()

    def __iter__(self) -> Iterator[Frame]:
        assert self._ahead is None, "a reader is read once"
        self._ahead = ReadAhead(self._frames, DECODE_AHEAD_FRAMES, "decode-ahead")
        return iter(self._ahead)

    @abstractmethod
    def _frames(self) -> Iterator[Frame]:
        """Decode the clip, in the worker's thread."""


class FolderReader(_AheadReader):
    """Image files in natural order; frame i is at i / `DEFAULT_FOLDER_RATE` seconds, for a folder has no times."""

    def __init__(self, info: VideoInfo) -> None:
        super().__init__(info)
        self.files = probe.image_list(info.path)

    def _frames(self) -> Iterator[Frame]:
        for index in range(len(self.files)):
            yield self.read(index)

    def read(self, index: int) -> Frame:
        """Frame `index`, decoded now. Raises `InputError` if the image is unreadable or of another size."""
        file = self.files[index]
        samples = images.read_image(file)
        expected = self.info.stored_size or (self.info.height, self.info.width)
        if samples.shape[:2] != expected:
            raise probe.mixed_sizes(self.files[0], expected, file, (samples.shape[0], samples.shape[1]))
        if self.info.stored_size is not None:
            samples = _resize_samples(samples, (self.info.height, self.info.width))
        return Frame(index, images.to_rgb(samples), index / DEFAULT_FOLDER_RATE, file.name, images.ImageNative(samples))


# The rate of a source that has none: that of the published program's --savefps.
DEFAULT_FOLDER_RATE = Fraction(24)


def _resize_samples(samples: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    height, width = size
    smaller = height * width < samples.shape[0] * samples.shape[1]
    return cv2.resize(samples, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


class VideoReader(_AheadReader):
    """Frames of a video file through PyAV; `Frame.native` is the decoded picture in a viewable pixel format."""

    def _frames(self) -> Iterator[Frame]:
        clock = FrameClock(self.info)
        damaged = 0
        with probe.open_container(self.info.path) as container:
            stream = probe.main_video_stream(container, self.info.path)
            stream.thread_type = "AUTO"
            pictures = decode_stream(container, stream)
            for picture in pictures:
                if picture is None:
                    damaged += 1
                    continue
                index, time = clock.tick(picture)
                yield make_frame(picture, index, time, self.info)
        self._report_damage(clock, damaged)

    def _report_damage(self, clock: FrameClock, damaged: int) -> None:
        if damaged:
            self.notices.append(
                f"{damaged} damaged {'packet was' if damaged == 1 else 'packets were'} skipped in {self.info.path.name}"
            )
        if clock.repaired:
            self.notices.append(
                f"{clock.repaired} time stamps of {self.info.path.name} did not increase and were repaired"
            )
        claimed = self.info.frame_count
        if clock.ends_early() and claimed is not None and clock.count < claimed:
            self.notices.append(f"the file ends early: {clock.count} of {claimed} frames decoded")


def decode_stream(container: Any, stream: Any) -> Iterator[av.VideoFrame | None]:
    """Decoded pictures in presentation order; None stands for a packet that could not be decoded."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:  # the container itself breaks off; the clock sees that the end is missing
            return
        try:
            pictures = packet.decode()
        except av.FFmpegError:
            yield None
            continue
        yield from pictures


class FrameClock:
    """Frame numbers and times of decoded pictures: whole ticks of the source's time base, strictly increasing."""

    def __init__(self, info: VideoInfo) -> None:
        self._time_base = info.time_base or _TICKS_WITHOUT_TIME_BASE
        self._rate = info.frame_rate or DEFAULT_FOLDER_RATE
        self._claimed_duration = info.duration
        self._first = 0
        self._last = 0
        self.count = 0
        self.repaired = 0

    def tick(self, picture: av.VideoFrame) -> tuple[int, Fraction]:
        """(index, seconds since the first frame) of the next picture, whose `pts` is set if it was unusable."""
        pts = picture.pts
        if self.count == 0:
            self._first = pts if pts is not None else 0
            picture.pts = self._first
        elif pts is None or pts <= self._last:
            step = max(1, round(1 / (self._rate * self._time_base)))
            picture.pts = self._last + step
            self.repaired += pts is not None
        self._last = picture.pts if picture.pts is not None else 0
        picture.time_base = self._time_base
        self.count += 1
        return self.count - 1, (self._last - self._first) * self._time_base

    def ends_early(self) -> bool:
        """Whether the last frame lies more than one and a half frames before the end the container claims."""
        if self._claimed_duration is None:
            return True  # then only the claimed count can tell
        end = (self._last - self._first) * self._time_base + 1 / self._rate
        return self._claimed_duration - end > Fraction(3, 2) / self._rate


def make_frame(picture: av.VideoFrame, index: int, time: Fraction, info: VideoInfo) -> Frame:
    """A `Frame` whose `native` is `picture` in a viewable format, at the size of `info`."""
    name = native.viewable_format(picture.format)
    resized = (picture.height, picture.width) != (info.height, info.width)
    if name != picture.format.name or resized:
        smaller = info.height * info.width < picture.height * picture.width
        converted = picture.reformat(
            width=info.width,
            height=info.height,
            format=name,
            interpolation=Interpolation.AREA if smaller else Interpolation.BICUBIC,
        )
        if converted is not picture:
            native.copy_tags(picture, converted)
        picture = converted
    return Frame(index, native.to_rgb(picture), time, "", picture)
