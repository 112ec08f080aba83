"""Real media files made with PyAV for the tests, and what a file holds, read back stream by stream."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from e2fgvi_cli.video import native

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi"}
ENCODERS = {".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9", ".avi": "ffv1"}
AUDIO = {".mp4": "aac", ".mov": "aac", ".mkv": "aac", ".webm": "libopus"}
PORTRAIT_PHONE = (0, 65536, 0, -65536, 0, 0, 0, 0, 1073741824)  # QuickTime: shown a quarter turn clockwise


@dataclass(frozen=True)
class Recipe:
    """A clip to make. `ticks` are the time stamps in `time_base` units (None: constant rate)."""

    frames: int = 12
    size: tuple[int, int] = (48, 64)
    rate: Fraction = Fraction(25)
    codec: str | None = None
    pixel_format: str = "yuv420p"
    ticks: tuple[int, ...] | None = None
    time_base: Fraction | None = None
    matrix: tuple[int, ...] | None = None
    aspect: Fraction | None = None
    color: tuple[int, int, int, int] | None = None
    languages: tuple[str, ...] = ()
    subtitles: tuple[str, ...] = ()
    chapters: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)


def picture(index: int, size: tuple[int, int], seed: int = 7) -> np.ndarray:
    """A smooth texture that moves: (H, W, 3) uint8."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float64)
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    waves = [np.sin((columns + 2 * index) / (7 + channel) + rows / 9 + phase[channel]) for channel in range(3)]
    return np.rint(np.stack(waves, axis=2) * 80 + 128).astype(np.uint8)


def make_clip(path: Path, recipe: Recipe = Recipe()) -> Path:
    """Write `recipe` to `path`; the container is that of the suffix."""
    with av.open(str(path), "w", format=FORMATS[path.suffix]) as container:
        video = container.add_stream(recipe.codec or ENCODERS[path.suffix], rate=recipe.rate, options=recipe.options)
        context = video.codec_context
        context.height, context.width = recipe.size
        context.pix_fmt = recipe.pixel_format
        context.time_base = recipe.time_base or 1 / recipe.rate
        if video.codec_context.name == "libx265":  # quiet, and without the B-frames that break clips of two frames
            params = recipe.options.get("x265-params", "log-level=error")
            video.options = {**recipe.options, "x265-params": params + (":bframes=0" if recipe.frames < 3 else "")}
        if recipe.aspect:
            context.sample_aspect_ratio = recipe.aspect
        if recipe.color:
            context.color_range, context.colorspace, context.color_primaries, context.color_trc = recipe.color
        if recipe.matrix:
            video.set_display_matrix(recipe.matrix)
        sounds = [_add_sound(container, path, language) for language in recipe.languages]
        texts = [_add_subtitle(container, path, text) for text in recipe.subtitles]
        container.metadata.update(recipe.metadata)
        if recipe.chapters:
            container.set_chapters(
                [
                    {
                        "id": n,
                        "start": 200 * n,
                        "end": 200 * n + 200,
                        "time_base": Fraction(1, 1000),
                        "metadata": {"title": t},
                    }
                    for n, t in enumerate(("Opening", "Ending"))
                ]
            )
        ticks = recipe.ticks or tuple(range(recipe.frames))
        for index, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(picture(index, recipe.size), "rgb24")
            frame = frame.reformat(format=recipe.pixel_format)
            frame.pts, frame.time_base = tick, context.time_base
            if recipe.color:
                frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc = recipe.color
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for sound, tone in sounds:
            _write_sound(container, sound, tone, float(ticks[-1] * context.time_base))
        for stream, payload in texts:
            _write_text(container, stream, payload)
    return path


def _add_sound(container: Any, path: Path, language: str) -> tuple[Any, int]:
    stream = container.add_stream(AUDIO[path.suffix], rate=48_000)
    stream.metadata["language"] = language
    return stream, 220 + 110 * len(container.streams.audio)


def _write_sound(container: Any, stream: Any, tone: int, seconds: float) -> None:
    total = int(48_000 * (seconds + 0.1))
    wave = (np.sin(np.arange(total) * 2 * np.pi * tone / 48_000) * 8000).astype(np.int16)
    for start in range(0, total, 960):
        chunk = np.repeat(wave[start : start + 960], 2)[None]
        frame = av.AudioFrame.from_ndarray(chunk, format="s16", layout="stereo")
        frame.sample_rate, frame.pts = 48_000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _add_subtitle(container: Any, path: Path, text: str) -> tuple[Any, bytes]:
    if path.suffix in (".mp4", ".mov"):
        stream = container.add_mux_stream("mov_text")
        payload = len(text.encode()).to_bytes(2, "big") + text.encode()
    else:
        stream = container.add_mux_stream("webvtt" if path.suffix == ".webm" else "subrip")
        payload = text.encode()
    stream.time_base = Fraction(1, 1000)
    stream.metadata["language"] = "deu"
    return stream, payload


def _write_text(container: Any, stream: Any, payload: bytes) -> None:
    packet = av.Packet(payload)
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = 100
    packet.duration = 200
    container.mux(packet)


@dataclass
class Contents:
    """What a file holds."""

    times: list[Fraction]
    pictures: list[list[np.ndarray]]
    format: str
    rate: Fraction | None
    aspect: Fraction | None
    color: tuple[int, int, int, int]
    rotation: int
    matrix: bytes | None
    streams: list[tuple[str, str, str]]
    packets: dict[int, list[tuple[Fraction, str]]]
    chapters: list[tuple[Fraction, Fraction, str]]
    metadata: dict[str, str]
    codec: str


def read_back(path: Path) -> Contents:
    """Decode the picture and list every packet of the other streams: (type, codec, language), (seconds, hash)."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        frames = list(container.decode(video))
        first = frames[0]
        layout = native.require_layout(first.format.name)
        pictures = [[native.plane_view(f, i, layout).copy() for i in range(len(f.planes))] for f in frames]
        matrix = first.side_data.get("DISPLAYMATRIX")
        contents = Contents(
            times=[frame.pts * frame.time_base for frame in frames],
            pictures=pictures,
            format=first.format.name,
            rate=video.average_rate,
            aspect=video.sample_aspect_ratio,
            color=(first.color_range, first.colorspace, first.color_primaries, first.color_trc),
            rotation=first.rotation,
            matrix=bytes(matrix) if matrix is not None else None,
            streams=[],
            packets={},
            chapters=[
                (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"].get("title", ""))
                for c in container.chapters()
            ],
            metadata=dict(container.metadata),
            codec=video.codec_context.name,
        )
    with av.open(str(path)) as container:
        others = [stream for stream in container.streams if stream.type in ("audio", "subtitle")]
        for stream in others:
            contents.streams.append((stream.type, stream.codec_context.name, stream.metadata.get("language", "")))
            contents.packets[stream.index] = []
        for packet in container.demux(others) if others else ():
            if packet.size:
                digest = hashlib.sha256(bytes(packet)).hexdigest()[:12]
                contents.packets[packet.stream_index].append((packet.pts * packet.time_base, digest))
    return contents


def payloads(contents: Contents) -> list[list[str]]:
    """The packets' hashes, a list a stream."""
    return [[digest for _, digest in packets] for packets in contents.packets.values()]
