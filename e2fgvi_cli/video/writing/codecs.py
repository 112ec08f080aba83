"""Which encoder, container and pixel format an output gets, and every combination that cannot be, said before any
work."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from ...errors import UsageError
from ...system.paths import is_pipe
from ...types import VideoInfo
from .. import native
from ..images import sequences
from ..options import CODECS, GRADES, OutputOptions
from .pixel_formats import LOSSLESS_EQUIVALENT, RGB8, nearest, source_format, without_j

CONTAINERS = {"mp4": "mp4", "m4v": "mp4", "mov": "mov", "mkv": "matroska", "webm": "webm", "avi": "avi"}
_CODECS_OF = {
    "mp4": ("h264", "h265", "vp9", "av1"),
    "mov": ("h264", "h265", "prores"),
    "matroska": ("h264", "h265", "prores", "ffv1", "vp9", "av1"),
    "webm": ("vp9", "av1"),
    "avi": ("h264", "ffv1"),
}
_ENCODERS = {
    "h264": "libx264",
    "h265": "libx265",
    "prores": "prores_ks",
    "ffv1": "ffv1",
    "vp9": "libvpx-vp9",
    "av1": "libsvtav1",
}
_FROM_SOURCE = {
    "h264": "h264",
    "hevc": "h265",
    "prores": "prores",
    "ffv1": "ffv1",
    "vp9": "vp9",
    "vp8": "vp9",
    "av1": "av1",
}
_LOSSLESS_SOURCES = frozenset({"rawvideo", "huffyuv", "ffvhuff", "utvideo", "png", "qtrle", "v210", "magicyuv"})
_DEFAULT_CRF = {"h264": 18, "h265": 20, "vp9": 24, "av1": 25}
_ALWAYS_LOSSY = ("prores", "av1")
_MAX_CRF = {"h264": 51, "h265": 51, "vp9": 63, "av1": 63}


_SLOWEST, _FASTEST = (
    Fraction(1, 1000),
    1000,
)  # frames a second that every container here counts without rounding them away


@dataclass(frozen=True)
class Encoding:
    """A decided output: `container` is FFmpeg's name of it, None for an image sequence; `codec` ours, `encoder`
    FFmpeg's."""

    codec: str
    container: str | None
    encoder: str = ""
    pixel_format: str = ""
    bit_rate: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    lossless: bool = False
    notices: tuple[str, ...] = ()


def choose(target: Path, info: VideoInfo, options: OutputOptions) -> Encoding:
    """The encoding for a target. Raises `UsageError` for what contradicts itself or cannot be written."""
    _check_values(options)
    if is_pipe(target):
        return _pipe_encoding(info, options)
    if options.writes_folder(target):
        _check_image_sequence(target, options)
        return Encoding("png", None, lossless=True)
    container = _container(target, options)
    codec = _codec(container, info, options)
    options = _graded(codec, options)
    if codec not in _CODECS_OF[container]:
        allowed = ", ".join(_CODECS_OF[container])
        raise UsageError(f"--codec {codec} does not go into {_suffix_of(container)} files (these take {allowed})")
    _check_quality(codec, options)
    encoder, pixel_format = _pixel_format(codec, info, options)
    return Encoding(
        codec,
        container,
        encoder,
        pixel_format,
        _bit_rate(info, options),
        _encoder_options(codec, container, pixel_format, info, options),
        options.lossless or codec == "ffv1",
        tuple(_losses(codec, pixel_format, container, info)),
    )


_Y4M_FORMATS = tuple(
    [f"yuv{chroma}p{depth}" for chroma in (420, 422, 444) for depth in ("", "9le", "10le", "12le", "14le", "16le")]
    + ["yuv411p", "gray", "gray9le", "gray10le", "gray12le", "gray16le"]
)


def _pipe_encoding(info: VideoInfo, options: OutputOptions) -> Encoding:
    """Standard output takes one kind of file: YUV4MPEG2 (y4m), plain samples with a header, which FFmpeg reads."""
    for name, given in (
        ("--codec", options.codec != "auto"),
        ("--container", options.container is not None),
        ("--crf", options.crf is not None),
        ("--bitrate", options.bitrate is not None),
    ):
        if given:
            raise UsageError(f"--output - writes plain pictures (y4m), which {name} does not apply to: leave it out")
    source = source_format(info)
    plain = without_j(source)
    rgb = native.require_layout(source).kind not in ("yuv", "gray")
    like = ("yuv444p16le" if info.bit_depth > 8 else "yuv444p") if rgb else plain
    chosen = like if like in _Y4M_FORMATS else nearest(like, _Y4M_FORMATS)
    left_out = "sound, subtitles and time stamps are" if not info.is_folder else "names are"
    notice = f"standard output gets y4m of {chosen}: pictures alone, {left_out} left out"
    losses = _losses("y4m", chosen, "y4m", info)
    return Encoding("y4m", "yuv4mpegpipe", "rawvideo", chosen, lossless=not rgb, notices=(notice, *losses))


def _check_values(options: OutputOptions) -> None:
    if options.codec not in CODECS:
        raise UsageError(f"--codec {options.codec} is unknown; choose {', '.join(CODECS)}")
    if options.container is not None and options.container not in CONTAINERS:
        raise UsageError(f"--container {options.container} is unknown; choose {', '.join(CONTAINERS)}")
    if options.frame_rate is not None and options.frame_rate <= 0:
        raise UsageError(f"a frame rate of {options.frame_rate} is not possible; give one above 0")
    if options.frame_rate is not None and not _SLOWEST <= options.frame_rate <= _FASTEST:
        raise UsageError(
            f"a frame rate of {str(options.frame_rate)[:40]} is not possible; give {float(_SLOWEST)} to {_FASTEST}"
        )
    if isinstance(options.bitrate, int) and options.bitrate <= 0:
        raise UsageError(f"--bitrate {options.bitrate} is not possible; give bits a second, such as 5000000, or match")
    chosen = [
        name
        for name, given in (
            ("--crf", options.crf is not None),
            ("--bitrate", options.bitrate is not None),
            ("--lossless", options.lossless),
        )
        if given
    ]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} contradict each other; give one of them")


def _check_image_sequence(target: Path, options: OutputOptions) -> None:
    if target.suffix.lower().lstrip(".") in CONTAINERS and not target.is_dir():
        raise UsageError(
            f"--codec png writes a folder of images, and {target} is named like a video; drop {target.suffix}"
        )
    if sequences.is_image_path(target) and not target.is_dir():
        raise UsageError(f"the output {target} is named like one image; give a folder for frames, or a video name")
    if options.container is not None:
        raise UsageError(f"--container {options.container} does not apply to a folder of images; give a video name")
    if options.codec not in ("auto", "png"):
        raise UsageError(
            f"--codec {options.codec} needs a video file, and {target} is a folder; name it {target.name}.mkv"
        )
    if options.crf is not None or options.bitrate is not None:
        raise UsageError("--crf and --bitrate do not apply to PNG frames, which are lossless; leave them out")


def _container(target: Path, options: OutputOptions) -> str:
    suffix = target.suffix.lower().lstrip(".")
    if options.container is not None:
        return CONTAINERS[options.container]
    if suffix not in CONTAINERS:
        raise UsageError(
            f"the output {target} ends in {target.suffix!r}, which is no container known here; "
            f"use {', '.join('.' + name for name in CONTAINERS)}, or a folder for frames"
        )
    return CONTAINERS[suffix]


def _suffix_of(container: str) -> str:
    return next("." + suffix for suffix, name in CONTAINERS.items() if name == container)


def _codec(container: str, info: VideoInfo, options: OutputOptions) -> str:
    if options.codec != "auto":
        return options.codec
    allowed = _CODECS_OF[container]
    wished = [_FROM_SOURCE.get(info.codec, "")]
    if info.codec in _LOSSLESS_SOURCES:
        wished.append("ffv1")
    if info.bit_depth > 8:
        wished += ["h265", "av1"]  # the VP9 encoder that comes with PyAV is 8-bit
    wished += ["h264", *allowed]
    if options.grade == "archive":
        wished = [codec for codec in wished if codec not in _ALWAYS_LOSSY] + wished
    return next(codec for codec in wished if codec in allowed)


def _graded(codec: str, options: OutputOptions) -> OutputOptions:
    """The options with what their grade means for the codec, unless they say how well to encode."""
    if options.grade is None or options.crf is not None or options.bitrate is not None or options.lossless:
        return options
    step = GRADES[options.grade]
    if step is None:
        return replace(options, lossless=codec not in _ALWAYS_LOSSY)
    return replace(options, crf=_DEFAULT_CRF[codec] + step) if codec in _DEFAULT_CRF else options


def _check_quality(codec: str, options: OutputOptions) -> None:
    if options.crf is not None and codec not in _MAX_CRF:
        raise UsageError(f"--crf does not apply to {codec}, which has no such scale; leave it out")
    if options.crf is not None and not 0 <= options.crf <= _MAX_CRF[codec]:
        raise UsageError(f"--crf {options.crf} is out of range for {codec}; give 0 to {_MAX_CRF[codec]}")
    if options.bitrate is not None and codec not in _MAX_CRF:
        raise UsageError(f"--bitrate does not apply to {codec}; use h264, h265 or vp9")
    if options.lossless and codec in _ALWAYS_LOSSY:
        raise UsageError(f"--lossless does not apply to {codec} here; use --codec ffv1 (mkv), h264, h265 or vp9")


@functools.cache
def encoder_formats(encoder: str) -> tuple[str, ...]:
    """Pixel formats an FFmpeg encoder of this PyAV takes; empty if the encoder is not built in."""
    try:
        return tuple(video_format.name for video_format in av.codec.Codec(encoder, "w").video_formats or ())
    except av.codec.codec.UnknownCodecError:
        return ()


_SLICES = (4, 6, 9, 12, 16, 20, 24, 30, 42, 64, 100, 200, 2, 1)  # of FFV1, by preference


@functools.cache
def ffv1_options(pixel_format: str, height: int, width: int) -> tuple[tuple[str, str], ...]:
    """Options under which the FFV1 encoder takes frames of this size: it wants so many slices, of so many pixels, or
    none."""
    every = (("g", "1"),)
    checked = (("level", "3"), *every, ("slicecrc", "1"))
    first = 4 if min(height, width) >= 64 else 1
    for slices in (first, *_SLICES):
        options = (*checked, ("slices", str(slices)))
        if _opens("ffv1", pixel_format, height, width, options):
            return options
    return (("level", "1"), *every)


def _opens(encoder: str, pixel_format: str, height: int, width: int, options: tuple[tuple[str, str], ...]) -> bool:
    context: Any = av.CodecContext.create(encoder, "w")
    context.height, context.width, context.pix_fmt = height, width, pixel_format
    context.time_base, context.options = Fraction(1, 25), dict(options)
    try:
        context.open()
    except (av.FFmpegError, ValueError):
        return False
    return True


_SMALLEST = {"libx265": 16, "libsvtav1": 64}
_WHOLE_CHROMA = frozenset({"libx264", "libx265"})


def formats_for_size(encoder: str, height: int, width: int) -> tuple[str, ...]:
    """Pixel formats an encoder takes for frames of this size: x264 and x265 want no half chroma samples."""
    if min(height, width) < _SMALLEST.get(encoder, 1):
        return ()

    def divides(name: str) -> bool:
        layout = native.layout_of(name)
        vertical, horizontal = layout.subsampling if layout is not None else (2, 2)
        return height % vertical == 0 and width % horizontal == 0

    formats = encoder_formats(encoder)
    if encoder == "libvpx-vp9":  # its alpha is a second stream that FFmpeg's own VP9 decoder does not read
        formats = tuple(name for name in formats if not name.startswith(("yuva", "gbra")))
    return tuple(name for name in formats if encoder not in _WHOLE_CHROMA or divides(name))


def _pixel_format(codec: str, info: VideoInfo, options: OutputOptions) -> tuple[str, str]:
    """(encoder, pixel format): the source's own where the encoder takes it, else the nearest that loses least."""
    encoder = _ENCODERS[codec]
    if not encoder_formats(encoder):
        raise UsageError(f"this PyAV has no {encoder} encoder for {codec}; choose another --codec")
    available = formats_for_size(encoder, info.height, info.width)
    if not available:
        raise UsageError(f"{codec} cannot encode frames of {info.width}x{info.height}; choose another --codec")
    source = source_format(info)
    wished = [source, without_j(source), *LOSSLESS_EQUIVALENT.get(source, ())]
    for name in wished:
        if name in available:
            return encoder, name
    if codec == "h264" and options.lossless and source in RGB8:
        return "libx264rgb", "rgb24"
    if options.lossless or codec == "ffv1":
        raise UsageError(
            f"{codec} cannot hold the source's {source} pixels without loss; use --codec ffv1 with an mkv output"
            if codec != "ffv1"
            else f"ffv1 cannot hold the source's {source} pixels; use --codec png for frames"
        )
    return encoder, nearest(source, available)


def _losses(codec: str, pixel_format: str, container: str, info: VideoInfo) -> Iterator[str]:
    """What this output cannot hold of the source, in sentences."""
    source, result = native.require_layout(source_format(info)), native.require_layout(pixel_format)
    if result.depth < source.depth:
        yield (
            f"the source's {source.depth} bits a channel are written as {result.depth} bits, the most {codec} takes "
            "here"
        )
    if source.alpha and not result.alpha:
        yield f"the source's transparency is left out: {codec} in {container} has none; use ffv1 (mkv) or prores (mov)"
    if source.subsampling != result.subsampling and source.kind == result.kind == "yuv":
        yield f"chroma is written as {pixel_format} instead of {source.name}, which {codec} does not take at this size"
    if any(info.hdr_static) and codec != "h265":
        yield "the HDR mastering data is left out: only --codec h265 carries it; the colour tags stay"
    # PyAV gives a Matroska or AVI stream no pixel aspect of its own: it lives on only inside H.264 and H.265
    if info.sample_aspect_ratio not in (None, 1) and container not in ("mp4", "mov") and codec not in ("h264", "h265"):
        yield f"the pixel aspect {info.sample_aspect_ratio} is left out: {codec} in {container} cannot carry it here"


def _bit_rate(info: VideoInfo, options: OutputOptions) -> int | None:
    if options.bitrate != "match":
        return options.bitrate
    if info.bit_rate is None:
        raise UsageError(f"--bitrate match: {info.path} has no bit rate to match; give a number or --crf")
    return info.bit_rate


def _encoder_options(
    codec: str, container: str, pixel_format: str, info: VideoInfo, options: OutputOptions
) -> tuple[tuple[str, str], ...]:
    """FFmpeg's options for the encoder. Rate control: lossless, a bit rate, or constant quality."""
    crf = options.crf if options.crf is not None else _DEFAULT_CRF.get(codec, 0)
    constant_quality = options.bitrate is None and not options.lossless
    chosen: dict[str, str] = {}
    if codec == "h264":
        # "faster" instead of x264's default: 40 % less time, the same PSNR within 0.4 dB, files up to 10 % larger
        # (docs/performance).
        chosen = {"preset": "medium" if options.lossless else "faster"}
        chosen |= {"qp": "0"} if options.lossless else {"crf": str(crf)} if constant_quality else {}
        if container == "avi":
            chosen["bf"] = "0"  # it has no presentation times: frames that are reordered get the times of others
    elif codec == "h265":
        mastering, light = info.hdr_static
        params = ["log-level=error", *(["lossless=1"] if options.lossless else [])]
        params += [f"master-display={mastering}"] if mastering else []
        params += [f"max-cll={light}"] if light else []
        if info.frame_count is not None and info.frame_count < 3:
            params.append(
                "bframes=0"
            )  # x265 4.2 gives one or two frames with B-frames on a decode time that is garbage
        chosen = {"preset": "medium", "x265-params": ":".join(params)}
        chosen |= {"crf": str(crf)} if constant_quality else {}
    elif codec == "vp9":
        chosen = {"row-mt": "1", "cpu-used": "4", "deadline": "good"}
        chosen |= {"lossless": "1"} if options.lossless else {"crf": str(crf), "b": "0"} if constant_quality else {}
    elif codec == "prores":
        chosen = {"profile": "4" if "444" in pixel_format else "3", "vendor": "apl0"}
    elif codec == "ffv1":
        chosen = dict(ffv1_options(pixel_format, info.height, info.width))
    elif codec == "av1":
        chosen = {"preset": "8"} | ({"crf": str(crf)} if constant_quality else {})
    return tuple(chosen.items())
