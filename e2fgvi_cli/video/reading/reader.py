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

from ...errors import InputError
from ...threads.ahead import ReadAhead
from ...types import Frame, VideoInfo
from .. import images, native
from ..images.headers import Kind
from ..images.stills import Picture, Stills, mixed_sizes
from ..span import Span
from . import cutting, decoding, picture_times, probe
from .clock import DEFAULT_FOLDER_RATE, FrameClock

DECODE_AHEAD_FRAMES = 4


class FrameReader(Protocol):
    """A context manager: `info` is known on entry, iterating yields every `Frame` once, `notices` grow meanwhile."""

    info: VideoInfo
    notices: list[str]

    def __enter__(self) -> FrameReader: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def __iter__(self) -> Iterator[Frame]: ...


def open_reader(path: Path, *, size: tuple[int, int] | None = None, span: Span = Span()) -> FrameReader:
    """A reader for a folder of images, one image, or a video file; `size` (height, width) resizes every frame, `span`
    leaves out all others.

    Raises `InputError` for whatever cannot be read; a video that ends early or has damaged frames is read as far as it
    goes and says so in `notices`.
    """
    return reader_of(source_info(Path(path), size, span))


def reader_of(info: VideoInfo) -> FrameReader:
    """A reader of what `info` describes."""
    return FolderReader(info) if info.is_folder else VideoReader(info)


def source_info(path: Path, size: tuple[int, int] | None, span: Span = Span()) -> VideoInfo:
    """`probe`, with the size (height, width) the frames will have if another one is asked for, and of the part
    `span`."""
    info = cutting.cut(probe.probe(path), span)
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
    """Images in natural order, all of the kind of `info`; frame i is at i frames of their rate (else
    `DEFAULT_FOLDER_RATE`)."""

    def __init__(self, info: VideoInfo) -> None:
        super().__init__(info)
        self.stills = Stills(info.path)
        self._kind = Kind(info.pixel_format != "gray", info.has_alpha, info.bit_depth)
        if len(set(self.stills.durations)) > 1:
            self.notices.append(
                f"the pictures of {info.path.name} last differently: their mean of "
                f"{float(info.frame_rate or 0):.4g} a second is used"
            )

    def _frames(self) -> Iterator[Frame]:
        for index in range(self.info.frame_count or 0):
            yield self.read(index)

    def _say(self, sentence: str) -> None:
        if sentence not in self.notices:
            self.notices.append(sentence)

    def read(self, index: int) -> Frame:
        """Frame `index`. Raises `InputError` if the image is unreadable, of another size or of no kind `info` holds."""
        place = index + (0 if self.info.cut is None else self.info.cut.first)
        picture = self.stills.pictures[place]
        samples = self.stills.read(place, self._say)
        expected = self.info.stored_size or (self.info.height, self.info.width)
        if samples.shape[:2] != expected:
            raise mixed_sizes(self.stills.pictures[0], expected, picture, samples.shape[:2])
        samples = self._of_one_kind(samples, picture)
        if self.info.stored_size is not None:
            samples = _resize_samples(samples, (self.info.height, self.info.width))
        name = "" if picture.page is not None else picture.path.name
        time = index / (self.info.frame_rate or DEFAULT_FOLDER_RATE)
        return Frame(index, images.to_rgb(samples), time, name, images.ImageNative(samples))

    def _of_one_kind(self, samples: NDArray[Any], picture: Picture) -> NDArray[Any]:
        kind = images.kind_of(samples)
        wanted = replace(self._kind, depth=32) if kind.depth == 32 else self._kind
        if wanted | kind != wanted:  # where a header did not tell the truth
            raise InputError(
                f"the frames differ in kind: {picture} is {kind.pixel_format} of {kind.depth} bits, those before "
                "are not; export them in one format"
            )
        return images.widen(samples, wanted)


def _resize_samples(samples: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    height, width = size
    smaller = height * width < samples.shape[0] * samples.shape[1]
    return cv2.resize(samples, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


class VideoReader(_AheadReader):
    """Frames of a video file through PyAV; `Frame.native` is the decoded picture in a viewable pixel format."""

    def _frames(self) -> Iterator[Frame]:
        lost = broken = 0
        with probe.open_container(self.info.path) as container:
            stream = probe.main_video_stream(container, self.info.path)
            part = self.info.cut is not None
            unknown = part or picture_times.lack_order(container, stream)
            clock = FrameClock(self.info, None if unknown else probe.stated_start(container, stream))
            if decoding.lost_alpha(stream):
                self.notices.append(
                    f"the transparency of {self.info.path.name} is left out: this PyAV has no libvpx to decode it"
                )
            found = (
                cutting.pictures_of_part(container, self.info)
                if part
                else picture_times.with_lengths(decoding.pictures(container, stream), self.info)
            )
            for picture in found:
                if picture is None:
                    lost += 1
                    continue
                broken += picture.is_corrupt
                self._say_change(picture)
                index, time = clock.tick(picture)
                yield make_frame(picture, index, time, self.info)
        self._report_damage(clock, lost, broken)

    def _say_change(self, picture: av.VideoFrame) -> None:
        stored = self.info.stored_size or (self.info.height, self.info.width)
        size = (picture.height, picture.width)
        notice = ""
        if size != stored:
            notice = (
                f"{self.info.path.name} changes its size from {stored[1]}x{stored[0]} to {size[1]}x{size[0]}: "
                "frames are scaled to the first one's"
            )
        elif picture.format.name != self.info.pixel_format:
            notice = (
                f"{self.info.path.name} changes its pixels from {self.info.pixel_format} to {picture.format.name}: "
                "frames are converted to the first one's"
            )
        if notice and notice not in self.notices:
            self.notices.append(notice)

    def _report_damage(self, clock: FrameClock, lost: int, broken: int) -> None:
        name = self.info.path.name
        if lost:
            self.notices.append(f"{lost} damaged {'packet was' if lost == 1 else 'packets were'} skipped in {name}")
        if broken:
            self.notices.append(f"{broken} {'picture' if broken == 1 else 'pictures'} of {name} decoded only in part")
        if clock.repaired:
            self.notices.append(f"{clock.repaired} time stamps of {name} did not increase and were repaired")
        if clock.late_start():
            self.notices.append(
                f"the first {float(clock.late_start()):.2f} s of {name} cannot be decoded: it was cut inside a "
                "group of pictures"
            )
        for gap in clock.gaps():
            self.notices.append(f"{name} has no picture for {gap}: it is damaged there, or was paused")
        claimed = self.info.frame_count
        if clock.ends_early() and claimed is not None and clock.count < claimed:
            self.notices.append(f"the file ends early: {clock.count} of {claimed} frames decoded")


def make_frame(picture: av.VideoFrame, index: int, time: Fraction, info: VideoInfo) -> Frame:
    """A `Frame` whose `native` is `picture` in the viewable format of the clip's first picture, at the size of
    `info`."""
    name = native.viewable_format(av.VideoFormat(info.pixel_format))
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
