"""Sound, subtitles, attachments, chapters and metadata of the source, carried into the output without re-encoding."""

from __future__ import annotations

import contextlib
import io
from fractions import Fraction
from typing import Any

import av

from ..errors import UsageError
from ..types import VideoInfo
from . import local, probe
from .codecs import CONTAINERS, Encoding
from .options import OutputOptions

# what a muxer writes about itself, or what another field already carries
_NOT_METADATA = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder", "rotate", "duration"})
# what mkvmerge notes about a stream, no longer true of the new one
_STATISTICS = ("_statistics", "number_of_", "bps")
# keys that the mp4 and mov muxers keep by themselves; others need their key-value table
_PLAIN_MP4_KEYS = frozenset(
    {"title", "artist", "album", "album_artist", "comment", "genre", "composer", "date", "copyright", "description"}
    | {"creation_time", "lyrics", "grouping", "show", "episode_id", "network", "synopsis", "keywords", "track", "disc"}
)


def fits(stream: Any, container: str) -> bool:
    """Whether FFmpeg's muxer `container` takes a copy of this stream, found by writing a header with it alone."""
    scratch = av.open(io.BytesIO(), "w", format=container, **local.KEEP_METADATA_BYTES)
    try:
        scratch.add_stream_from_template(stream, opaque=True)
        scratch.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    finally:
        with contextlib.suppress(ValueError, av.FFmpegError):
            scratch.close()
    return True


def check_streams_fit(info: VideoInfo, encoding: Encoding, options: OutputOptions) -> None:
    """Raise `UsageError` if the source's sound cannot go into the output's container."""
    if info.is_folder or encoding.container is None or not info.audio_streams or _is_retimed(info, options):
        return
    with probe.open_container(info.path) as container:
        for stream in container.streams.audio:
            if not fits(stream, encoding.container):
                homes = [f".{suffix}" for suffix, other in CONTAINERS.items() if fits(stream, other)]
                raise UsageError(
                    f"the source's sound ({stream_name(stream)}) does not fit into {encoding.container}; "
                    f"write {' or '.join(homes) or 'frames'} instead"
                )


def stream_name(stream: Any) -> str:
    """The codec's common name, or the kind of stream where it has none."""
    return str(stream.codec_context.codec.canonical_name if stream.codec_context is not None else stream.type)


def _is_retimed(info: VideoInfo, options: OutputOptions) -> bool:
    """Whether the picture is played at another speed than the source's sound."""
    return options.frame_rate is not None and options.frame_rate != info.frame_rate


class StreamCopy:
    """Copies packets of every stream but the main video, in step with it: `advance` before each frame, then `finish`.

    Built before the first packet is written. `notices` names each stream that the container does not take.
    """

    def __init__(self, info: VideoInfo, output: Any, encoding: Encoding, options: OutputOptions) -> None:
        self.notices: list[str] = []
        self._output, self._info = output, info
        self._source = probe.open_container(info.path)
        self._targets: dict[int, Any] = {}
        self._pending: Any = None
        self._wants_sound = not _is_retimed(info, options)
        self._main = probe.main_video_stream(self._source, info.path)
        assert encoding.container is not None
        for stream in self._source.streams:
            if stream.index != self._main.index:
                self._add(stream, encoding.container)
        self._packets = self._source.demux(list(map(self._source.streams.__getitem__, self._targets)))
        if not self._targets:
            self._packets = iter(())

    def _add(self, stream: Any, container: str) -> None:
        name = stream_name(stream)
        if stream.type == "data" and (self._source.chapters() or "timecode" in self._main.metadata):
            return  # mp4's chapter and time code tracks, which the muxer makes anew from what is copied below
        if not self._wants_sound and stream.type in ("audio", "subtitle"):
            self.notices.append(f"{stream.type} stream {stream.index} ({name}) is left out: the frame rate was changed")
            return
        if stream.type == "video" and container == "matroska" and probe.is_cover_picture(stream):
            self._output.add_attachment(*self._cover(stream))  # as a stream it would become a film of one frame
            return
        if not fits(stream, container):
            self.notices.append(f"{stream.type} stream {stream.index} ({name}) does not fit into {container}: left out")
            return
        target = self._output.add_stream_from_template(stream, opaque=True)
        copy_stream_properties(stream, target)
        if stream.type != "attachment":
            self._targets[stream.index] = target

    def _cover(self, stream: Any) -> tuple[str, str, bytes]:
        """(file name, media type, data) of a cover picture."""
        kind = "png" if stream.codec_context.name == "png" else "jpeg"
        name = stream.metadata.get("filename") or f"cover.{'jpg' if kind == 'jpeg' else kind}"
        with probe.open_container(self._info.path) as container:
            packets = container.demux(container.streams[stream.index])
            data = next((bytes(packet) for packet in packets if packet.size), b"")
        name = name.encode(errors="replace").decode()  # `add_attachment` takes UTF-8 only
        return name, stream.metadata.get("mimetype") or f"image/{kind}", data

    def copy_descriptions(self, video_stream: Any) -> None:
        """Chapters, the file's metadata, and the main video stream's metadata and disposition."""
        self._output.metadata.update(metadata_of(self._source))
        copy_stream_properties(self._main, video_stream)
        chapters = self._source.chapters()
        if chapters:
            self._output.set_chapters(chapters)

    def advance(self, seconds: Fraction) -> None:
        """Write every packet up to `seconds` (on the source's own clock)."""
        while True:
            packet = self._pending if self._pending is not None else self._next()
            self._pending = packet
            if packet is None or _seconds(packet) > seconds:
                return
            self._write(packet)
            self._pending = None

    def finish(self) -> None:
        """Write all that is left."""
        while (packet := self._pending if self._pending is not None else self._next()) is not None:
            self._write(packet)
            self._pending = None

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _next(self) -> Any:
        while True:
            try:
                packet = next(self._packets, None)
            except av.FFmpegError:
                self.notices.append("the source breaks off: sound and subtitles are copied as far as they go")
                self._packets = iter(())
                return None
            if packet is None or (packet.size > 0 and not _is_filler(packet)):
                return packet

    def _write(self, packet: Any) -> None:
        if packet.dts is None:
            packet.dts = packet.pts
        packet.stream = self._targets[packet.stream_index]
        self._output.mux(packet)


def _is_filler(packet: Any) -> bool:
    """An empty mp4 text sample, which only fills a gap; the muxer puts its own."""
    return packet.size == 2 and packet.stream.type == "subtitle" and bytes(packet) == b"\x00\x00"


def _seconds(packet: Any) -> Fraction:
    ticks = packet.dts if packet.dts is not None else packet.pts
    return Fraction(ticks or 0) * packet.time_base


def copy_stream_properties(source: Any, target: Any) -> None:
    """Language, title and other metadata, and the disposition (default, forced, ...)."""
    target.metadata.update(
        {
            key: value
            for key, value in source.metadata.items()
            if key.lower() not in _NOT_METADATA and not key.lower().startswith(_STATISTICS)
        }
    )
    target.disposition = source.disposition


def metadata_of(container: Any) -> dict[str, str]:
    """The source file's metadata, without what a muxer writes about itself."""
    return {key: value for key, value in container.metadata.items() if key.lower() not in _NOT_METADATA}


def muxer_options(info: VideoInfo, encoding: Encoding, time_base: Fraction) -> dict[str, str]:
    """Muxer options under which time stamps and metadata survive."""
    if encoding.container not in ("mp4", "mov"):
        return {}
    chosen = {"movflags": "+write_colr"}
    if time_base.numerator == 1 and time_base.denominator < 2**31:
        chosen["video_track_timescale"] = str(time_base.denominator)
    if not info.is_folder:
        with probe.open_container(info.path) as container:
            if {key.lower() for key in metadata_of(container)} - _PLAIN_MP4_KEYS:
                chosen["movflags"] += "+use_metadata_tags"
    return chosen
