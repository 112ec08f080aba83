"""What a source is, before the work starts: folder or file, size, rate, tags; and why it cannot be used, in one
sentence."""

from __future__ import annotations

import re
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from ...errors import InputError
from ...types import VideoInfo
from .. import local, native
from ..images import sequences
from ..images.stills import Stills, is_stills
from . import decoding
from .clock import FrameClock

# demuxers that accept text or lists of other things and would call a README a video
_NOT_VIDEO_FORMATS = frozenset({"tty", "lrc", "srt", "ass", "webvtt", "concat", "hls", "dash", "ffmetadata", "jacosub"})
_SLOWEST, _FASTEST = Fraction(1, 86_400), Fraction(1_000_000)  # frames a second: a picture a day, a million a second
_DURATION_TAG = re.compile(r"^(\d+):(\d\d):(\d\d(?:\.\d+)?)$")


def open_container(path: Path) -> Any:
    """A local file opened for reading, with the reasons it fails as `InputError`."""
    sequences.require_file(path)
    try:
        container = local.open_local(path)
    except PermissionError as error:
        raise InputError(f"cannot read {path}: permission denied") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{path} is no video file, or its header is damaged ({_reason(error)}); give a video or a folder of images"
        ) from error
    if set(container.format.name.split(",")) & _NOT_VIDEO_FORMATS:
        container.close()
        raise InputError(f"{path} is no video file; give a video or a folder of images")
    return container


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)


def main_video_stream(container: Any, path: Path) -> Any:
    """The first video stream that is no cover picture. Raises `InputError` if there is none."""
    for stream in container.streams.video:
        if not is_cover_picture(stream):
            if stream.codec_context is None:
                raise InputError(f"{path}: no decoder for its video stream; convert it to H.264 first")
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise InputError(f"{path} has no video stream (it holds {kinds}); give a file with a picture")


def is_cover_picture(stream: Any) -> bool:
    """Whether a video stream is a still attached to the file, such as an album cover."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def probe(path: Path) -> VideoInfo:
    """The header and first picture of a video file, or of images (then with the headers of all). Raises
    `InputError`."""
    if is_stills(path):
        return _probe_images(path)
    with open_container(path) as container:
        stream = main_video_stream(container, path)
        return _video_info(path, container, stream, _first_frame(container, stream, path))


def image_list(path: Path) -> list[Path]:
    """The files of a source of images, in order: a page of a file is none of its own. Raises `InputError`."""
    return sequences.image_files(path)


def _probe_images(path: Path) -> VideoInfo:
    source = Stills(path)
    first = source.read(0, lambda sentence: None)
    kind = source.kind(first)
    return VideoInfo(
        path=path,
        is_folder=True,
        height=first.shape[0],
        width=first.shape[1],
        frame_count=len(source),
        frame_rate=source.rate,
        bit_depth=16 if kind.depth > 8 else 8,
        codec=source.pictures[0].path.suffix.lower().lstrip("."),
        pixel_format=kind.pixel_format,
        has_alpha=kind.alpha,
    )


def _first_frame(container: Any, stream: Any, path: Path) -> av.VideoFrame:
    for picture in decoding.pictures(container, stream):
        if picture is not None:
            return picture
    raise InputError(f"no frame of {path} can be decoded; the file is damaged or its codec is not supported")


def _video_info(path: Path, container: Any, stream: Any, frame: av.VideoFrame) -> VideoInfo:
    layout = native.require_layout(native.viewable_format(frame.format))
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    duration = claimed_duration(container, stream, frame.pts)
    return VideoInfo(
        path=path,
        is_folder=False,
        height=frame.height,
        width=frame.width,
        frame_count=claimed_frames(stream, duration),
        frame_rate=stream_rate(stream),
        bit_depth=layout.depth,
        has_audio=bool(container.streams.audio),
        codec=stream.codec_context.codec.canonical_name,
        pixel_format=frame.format.name,
        rotation=frame.rotation % 360,
        time_base=exact(stream.time_base),
        duration=duration,
        bit_rate=_bit_rate(path, container, stream, duration),
        sample_aspect_ratio=exact(stream.sample_aspect_ratio),
        color=(
            native.colour.RANGE_FULL if layout.forced_full_range else int(frame.color_range),
            int(frame.colorspace),
            int(frame.color_primaries),
            int(frame.color_trc),
        ),
        display_matrix=struct.unpack("<9i", bytes(matrix)) if matrix is not None else None,
        audio_streams=len(container.streams.audio),
        subtitle_streams=len(container.streams.subtitles),
        has_alpha=layout.alpha,
        hdr_static=_hdr_static(frame),
    )


def _hdr_static(frame: av.VideoFrame) -> tuple[str, str]:
    """Mastering display (SMPTE ST 2086) and content light level (CTA-861.3) in the notation of x265's options."""
    mastering: Any = frame.side_data.get("MASTERING_DISPLAY_METADATA")
    light: Any = frame.side_data.get("CONTENT_LIGHT_LEVEL")
    return (
        _mastering_text(bytes(mastering)) if mastering is not None else "",
        "{},{}".format(*struct.unpack_from("<2I", bytes(light))) if light is not None else "",
    )


def _mastering_text(data: bytes) -> str:
    """From FFmpeg's AVMasteringDisplayMetadata: ten fractions (R, G, B, white as x, y; luminance low, high), two
    flags."""
    values = struct.unpack_from("<22i", data)
    if not (values[20] and values[21]) or not all(values[1:20:2]):
        return ""
    fractions = [Fraction(values[2 * n], values[2 * n + 1]) for n in range(10)]
    red, green, blue, white = ([round(value * 50_000) for value in fractions[2 * n : 2 * n + 2]] for n in range(4))
    points = "".join(
        f"{name}({x},{y})" for name, (x, y) in zip(("G", "B", "R", "WP"), (green, blue, red, white), strict=True)
    )
    return f"{points}L({round(fractions[9] * 10_000)},{round(fractions[8] * 10_000)})"


def exact(value: Any) -> Fraction | None:
    """A rational number of PyAV (18: a `Fraction` or None; 19: its `AVRational`, which rounds to 32 bits); None if
    unset."""
    return Fraction(value.numerator, value.denominator) if value else None


def stream_rate(stream: Any) -> Fraction | None:
    """Frames a second: the average where the container knows it, else FFmpeg's guess. None for what cannot be meant."""
    rates = (exact(stream.average_rate), exact(stream.guessed_rate))
    return next((rate for rate in rates if rate is not None and _SLOWEST <= rate <= _FASTEST), None)


def claimed_duration(container: Any, stream: Any, first: int | None = None) -> Fraction | None:
    """Seconds the video stream should last by the container's own word, or None. first: time stamp of its first
    picture."""
    if stream.duration is not None and stream.time_base:
        return Fraction(stream.duration) * stream.time_base
    tag = _DURATION_TAG.match(stream.metadata.get("DURATION", ""))
    if tag:
        end = int(tag[1]) * 3600 + int(tag[2]) * 60 + Fraction(tag[3])
        start = stream.start_time if stream.start_time is not None else first or 0
        return max(end - start * stream.time_base, Fraction(0))
    if container.duration is not None and len(container.streams) == 1:
        before = max(container.start_time or 0, 0) if container.format.name == "flv" else 0  # FLV counts from time 0
        return Fraction(container.duration - before, av.time_base)
    return None


def stated_start(container: Any, stream: Any) -> int | None:
    """Ticks at which the stream begins by the container's word; None for AVI, where FFmpeg's times lag by the decoder's
    delay."""
    return None if container.format.name == "avi" else stream.start_time


def claimed_frames(stream: Any, duration: Fraction | None) -> int | None:
    """The number of frames the container speaks of; from the duration where it only knows that."""
    if stream.frames:
        return int(stream.frames)
    for key in ("NUMBER_OF_FRAMES", "NUMBER_OF_FRAMES-eng"):
        if stream.metadata.get(key, "").isdecimal():
            return int(stream.metadata[key])
    rate = stream_rate(stream)
    return round(duration * rate) or None if duration and rate else None


def _bit_rate(path: Path, container: Any, stream: Any, duration: Fraction | None) -> int | None:
    if stream.codec_context.bit_rate:
        return int(stream.codec_context.bit_rate)
    seconds = duration or (Fraction(container.duration, av.time_base) if container.duration else None)
    if not seconds:
        return None
    known = [other.codec_context for other in container.streams.audio if other.codec_context is not None]
    sound = sum(int(context.bit_rate or 0) for context in known)
    return max(int(path.stat().st_size * 8 / seconds) - sound, 1)


def count_frames(path: Path) -> int:
    """Pictures that a reader of `path` yields. A video is decoded for it: packets may be hidden, damaged or cut off."""
    if is_stills(path):
        return len(Stills(path))
    with open_container(path) as container:
        stream = main_video_stream(container, path)
        return sum(picture is not None for picture in decoding.pictures(container, stream))


def count_frames_and_tail(info: VideoInfo) -> tuple[int, int]:
    """(frames, more that the container claims) of a clip of which nothing but the end is missing; else (frames, 0)."""
    if info.is_folder:
        return count_frames(info.path), 0
    with open_container(info.path) as container:
        stream = main_video_stream(container, info.path)
        clock, lost, lost_between = FrameClock(info, stated_start(container, stream)), 0, False
        for picture in decoding.pictures(container, stream):
            if picture is None:
                lost += 1
            else:
                lost_between |= lost > 0
                clock.tick(picture)
    claimed = info.frame_count or 0
    only_tail = clock.ends_early() and not (clock.late_start() or clock.gaps() or lost_between)
    return clock.count, max(claimed - clock.count, 0) if only_tail else 0
