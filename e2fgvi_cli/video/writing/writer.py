"""Finished frames to a video file: everything that was not filled as the source had it, published only when
complete."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation
from numpy.typing import NDArray

from ...errors import InputError, UsageError
from ...system.paths import is_pipe
from ...system.pipes import StandardOutput
from ...system.publication import Publication
from ...types import AlphaArray, Box, Frame, PixelArray, VideoInfo
from .. import colour, images, local, native
from ..options import OutputOptions
from ..reading import probe
from . import cut_streams, stream_copy, target, trial_mux
from .codecs import Encoding, choose
from .folder_writer import FolderWriter
from .output_times import OutputTimes, PacketLengths

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_RGB_TAGS = (1, 1, 1, 1)  # limited range, BT.709 matrix, primaries and transfer: for RGB sources written as Y'CbCr
_CONVERSION = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP


class FrameWriter(Protocol):
    """A context manager that publishes its target on a clean exit and leaves nothing behind on any other."""

    notices: list[str]

    def __enter__(self) -> FrameWriter: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def write(self, frame: Frame, filled: PixelArray | None, alpha: AlphaArray | None, box: Box | None = None) -> None:
        """Append `frame`; where `alpha` (H, W; 0..1) is above 0, `filled` (H, W, 3; dtype of `frame.rgb`) is mixed in.

        `filled` None passes the source's picture through untouched. With a `box`, which has to bound `alpha`, `filled`
        is only that part of the frame (y, x, 3)."""


def open_writer(
    path: Path, info: VideoInfo, options: OutputOptions, publication: Publication | None = None
) -> FrameWriter:
    """A writer for a video file or a folder of PNG frames, by the target's name and `options`.

    publication: publishes the target, when that is left; None: leaving the writer does.
    Raises what `check_output` raises. `info` is that of the reader the frames come from.
    """
    path = Path(path)
    target.check_output(path, info, options)
    encoding = choose(path, info, options)
    if encoding.container is None:
        return FolderWriter(path, info, options.overwrite, publication)
    return VideoWriter(path, info, options, encoding, publication)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """A full disk while writing `path`, as an `InputError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise InputError(
                f"no space left for the output {path}; free some, or choose another folder or --codec"
            ) from error
        raise


class VideoWriter:
    """Encodes frames, copies the other streams beside them, and lets the file be published when all of it is
    written."""

    def __init__(
        self,
        path: Path,
        info: VideoInfo,
        options: OutputOptions,
        encoding: Encoding,
        publication: Publication | None = None,
    ) -> None:
        self.notices: list[str] = list(encoding.notices)
        self._path, self._info, self._options, self._encoding = path, info, options, encoding
        self._times = _output_times(info, options, encoding)
        self._lengths = PacketLengths()
        self._own_publication = publication is None
        self._publication = publication or Publication()
        self._pipe = StandardOutput() if is_pipe(path) else None
        self._container: Any = None
        self._copy: stream_copy.StreamCopy | None = None

    def __enter__(self) -> VideoWriter:
        if self._pipe is None:
            self._temporary = self._publication.temporary(self._path, overwrite=self._options.overwrite)
        try:
            with disk_errors(self._path):
                self._open()
        except BaseException:
            self._abandon()
            raise
        return self

    def _open(self) -> None:
        os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder talks to standard error otherwise; 1 = errors
        try:
            self._start(copies=not self._info.is_folder and self._pipe is None)
        except trial_mux.REFUSALS as error:
            if self._copy is None or getattr(error, "errno", None) in _DISK_FULL:
                raise
            self._close_quietly()  # each stream fits alone, and not with the others: the picture comes first
            self._copy = None
            self._start(copies=False)
            self.notices.append(
                f"{self._encoding.container} does not take the source's other streams together: left out"
            )

    def _start(self, *, copies: bool) -> None:
        """Open the file and write its header."""
        options = stream_copy.muxer_options(self._info, self._encoding, self._times.time_base)
        if self._pipe is not None:
            options = {"strict": "-1"}  # more than 8 bits are no part of the format's first description
            self._container = av.open(self._pipe, "w", format=self._encoding.container, container_options=options)
        else:
            self._container = local.open_local(
                self._temporary, "w", format=self._encoding.container, container_options=options
            )
        self._stream = self._add_video_stream()
        self._open_encoder()
        if copies:
            self._copy = stream_copy.StreamCopy(self._info, self._container, self._encoding, self._options)
            self._copy.notices[:0] = self.notices
            self.notices = self._copy.notices
            self._copy.copy_descriptions(self._stream, self._times.rate, options)
        self._container.start_encoding()

    def _open_encoder(self) -> None:
        try:
            self._stream.codec_context.open()
        except trial_mux.REFUSALS as error:
            info = self._info
            raise UsageError(
                f"{self._encoding.codec} cannot encode frames of {info.width}x{info.height} with these options "
                f"({getattr(error, 'strerror', None) or error}); choose another --codec"
            ) from error

    def _add_video_stream(self) -> Any:
        info, encoding = self._info, self._encoding
        stream = self._container.add_stream(encoding.encoder, rate=self._times.rate, options=dict(encoding.options))
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = info.width, info.height, encoding.pixel_format
        context.time_base = self._times.time_base
        context.thread_type = "AUTO"
        if encoding.bit_rate is not None:
            context.bit_rate = encoding.bit_rate
        if info.sample_aspect_ratio:
            context.sample_aspect_ratio = info.sample_aspect_ratio
        self._tags = self._output_tags()
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = self._tags
        if info.display_matrix is not None:
            stream.set_display_matrix(info.display_matrix)
        return stream

    def _output_tags(self) -> tuple[int, int, int, int]:
        """Colour tags of the encoded stream: the source's, or for RGB made into Y'CbCr the ones it is made by."""
        layout = native.require_layout(self._encoding.pixel_format)
        was_rgb = self._info.is_folder or self._info.color[1] == colour.MATRIX_RGB
        if layout.kind == "yuv" and was_rgb and self._pipe is not None:  # it has no tag: what readers take it for
            unknown = 2
            usual = colour.matrix_or_default(unknown, self._info.height, self._info.width)
            return (_RGB_TAGS[0], usual, unknown, unknown)
        if layout.kind == "yuv" and was_rgb:
            return _RGB_TAGS if self._info.is_folder else (*_RGB_TAGS[:2], *self._info.color[2:])
        if layout.kind in ("gbr", "packed"):
            return (colour.RANGE_FULL, colour.MATRIX_RGB, *self._info.color[2:])
        if layout.kind == "gray" and self._info.is_folder:
            return (colour.RANGE_FULL, *self._info.color[1:])
        return self._info.color

    def write(self, frame: Frame, filled: PixelArray | None, alpha: AlphaArray | None, box: Box | None = None) -> None:
        """See `FrameWriter.write`. Frames must come in order."""
        picture = self._for_encoder(blended_picture(frame, filled, alpha, box))
        seconds = self._times.seconds(frame.index, picture.pts)
        picture.pts, picture.duration = self._times.ticks(seconds), self._times.duration(picture.duration)
        picture.time_base = self._times.time_base
        picture.pict_type = 0  # the source's frame types are not the encoder's business
        with disk_errors(self._path):
            if self._copy is not None:
                self._copy.advance(seconds)
            self._lengths.show(picture.pts, picture.duration)
            self._mux(self._stream.encode(picture))

    def _mux(self, packets: list[Any], *, end: bool = False) -> None:
        for number, packet in enumerate(packets, start=1):
            decoded, length = packet.dts, self._lengths.take(packet.pts, packet.dts)
            if end and number == len(packets) and self._encoding.container in ("mp4", "mov"):
                decoded, length = self._lengths.stretch_last(packet.pts, decoded, length)
            if length:
                packet.dts, packet.duration = decoded, length
            self._container.mux(packet)

    def _for_encoder(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture in the encoder's pixel format, tagged as the stream is; unchanged samples if the formats
        agree."""
        wanted = self._encoding.pixel_format
        name = picture.format.name
        if name != wanted and name.replace("yuvj", "yuv") == wanted:
            picture = native.copy_picture(picture, wanted)
        elif name != wanted:
            picture = self._converted(picture)
        picture.color_range, picture.colorspace, picture.color_primaries, picture.color_trc = self._tags
        return picture

    def _converted(self, picture: av.VideoFrame) -> av.VideoFrame:
        source = native.require_layout(picture.format.name)
        result = native.require_layout(self._encoding.pixel_format)
        source_range = (
            ColorRange.JPEG if native.is_full_range(picture, source) or source.kind != "yuv" else ColorRange.MPEG
        )
        result_range = source_range if result.kind == source.kind == "yuv" else None
        if result_range is None:
            result_range = ColorRange.MPEG if result.kind == "yuv" else ColorRange.JPEG
        tagged = int(picture.colorspace) if source.kind == "yuv" else self._tags[1]
        matrix = colour.swscale_matrix(colour.matrix_or_default(tagged, picture.height, picture.width))
        converted = picture.reformat(
            format=self._encoding.pixel_format,
            interpolation=_CONVERSION,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=source_range,
            dst_color_range=result_range,
        )
        converted.pts, converted.duration = picture.pts, picture.duration
        return converted

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            with disk_errors(self._path):
                self._mux(self._stream.encode(None), end=True)
                if self._copy is not None:
                    self._copy.finish()
                self.notices += self._times.notices()
                self._container.close()
        except BaseException:
            self._abandon()
            raise
        if self._copy is not None:
            self._copy.close()
        if self._own_publication:
            self._publication.publish()

    def _abandon(self) -> None:
        """Close what is open, whatever state it is in, and remove the unfinished file."""
        self._close_quietly()
        if self._pipe is None:
            self._publication.withdraw(self._temporary)

    def _close_quietly(self) -> None:
        for open_thing in (self._copy, self._container):
            try:
                if open_thing is not None:
                    open_thing.close()
            except (OSError, ValueError, RuntimeError):
                continue  # the file is thrown away


def _output_times(info: VideoInfo, options: OutputOptions, encoding: Encoding) -> OutputTimes:
    assert encoding.container is not None
    if info.is_folder:
        return OutputTimes(info, options, encoding.container)
    if info.cut is not None:
        return OutputTimes(info, options, encoding.container, cut_streams.origin_of_part(info))
    with probe.open_container(info.path) as source:
        return OutputTimes(info, options, encoding.container, trial_mux.origin_of(source, encoding.container))


def blended_picture(
    frame: Frame, filled: PixelArray | None, alpha: AlphaArray | None, box: Box | None = None
) -> av.VideoFrame:
    """The frame as a picture in the source's pixel format, with `filled` mixed in by `alpha` (see
    `FrameWriter.write`)."""
    source = frame.native
    if isinstance(source, av.VideoFrame):
        return source if filled is None or alpha is None else native.blend(source, filled, alpha, box)
    samples = source.samples if isinstance(source, images.ImageNative) else frame.rgb
    if filled is not None and alpha is not None:
        samples = images.blend(samples, filled, alpha, box)
    return picture_of_samples(samples)


def picture_of_samples(samples: NDArray[Any]) -> av.VideoFrame:
    """An RGB, RGBA or gray array as a frame; float32 (EXR) as 16-bit sRGB."""
    if samples.dtype == np.float32:
        samples = images.to_rgb(samples)
    deep = samples.dtype == np.uint16
    if samples.ndim == 2:
        name = "gray16le" if deep else "gray"
    elif samples.shape[2] == 4:
        name = "rgba64le" if deep else "rgba"
    else:
        name = "rgb48le" if deep else "rgb24"
    picture = av.VideoFrame(samples.shape[1], samples.shape[0], name)
    view = native.plane_view(picture, 0, native.require_layout(name))
    view[...] = samples
    picture.color_range = colour.RANGE_FULL
    return picture
