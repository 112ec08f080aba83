"""Sound, subtitles, attachments, chapters and metadata of the source, carried into the output without re-encoding."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

from ...errors import UsageError
from ...types import VideoInfo
from ..options import OutputOptions
from ..reading import probe
from .codecs import CONTAINERS, Encoding
from .cut_streams import StreamCut, origin_of_part
from .descriptions import descriptions_that_fit, metadata_of
from .trial_mux import Lane, Verdict, add_copy, is_filler, origin_of, try_streams

# keys that the mp4 and mov muxers keep by themselves; others need their key-value table
_PLAIN_MP4_KEYS = frozenset(
    {"title", "artist", "album", "album_artist", "comment", "genre", "composer", "date", "copyright", "description"}
    | {"creation_time", "lyrics", "grouping", "show", "episode_id", "network", "synopsis", "keywords", "track", "disc"}
)


def check_streams_fit(info: VideoInfo, encoding: Encoding, options: OutputOptions) -> None:
    """Raise `UsageError` if the output would be silent though another container takes the source's sound."""
    if info.is_folder or encoding.container is None or not info.audio_streams or _is_retimed(info, options):
        return
    with probe.open_container(info.path) as container:
        sounds = {stream.index: stream_name(stream) for stream in container.streams.audio}
    problems = {index: try_streams(info.path, encoding.container)[index].problem for index in sounds}
    if not all(problem.startswith("does not fit") for problem in problems.values()):
        return
    homes = [
        f".{suffix}"
        for suffix, other in CONTAINERS.items()
        if not all(try_streams(info.path, other)[index].problem for index in sounds)
    ]
    if homes:
        raise UsageError(
            f"the source's sound ({', '.join(dict.fromkeys(sounds.values()))}) does not fit into {encoding.container}; "
            f"write {' or '.join(homes)} instead"
        )


def stream_name(stream: Any) -> str:
    """The codec's common name; what is known where it has none."""
    if stream.codec_context is not None:
        return str(stream.codec_context.codec.canonical_name)
    if stream.type in ("data", "attachment"):
        return str(stream.type)
    return "unknown codec"


def _is_retimed(info: VideoInfo, options: OutputOptions) -> bool:
    """Whether the picture is played at another speed than the source's sound."""
    return options.frame_rate is not None and options.frame_rate != info.frame_rate


class StreamCopy:
    """Copies packets of every stream but the main video, in step with it: `advance` before each frame, then `finish`.

    Built before the first packet is written. No stream can lose the output: what the container does not take of it, or
    not as it is, was found by `trial_mux`, and `notices` says what was left out or moved.
    """

    def __init__(self, info: VideoInfo, output: Any, encoding: Encoding, options: OutputOptions) -> None:
        self.notices: list[str] = []
        self._output, self._info = output, info
        self._source = probe.open_container(info.path)
        self._targets: dict[int, Any] = {}
        self._lanes: dict[int, Lane] = {}
        self._ready: deque[tuple[int, Any]] = deque()
        self._ended = False
        self._wants_sound = not _is_retimed(info, options)
        self._main = probe.main_video_stream(self._source, info.path)
        assert encoding.container is not None
        self._container = encoding.container
        self._cut = None if info.cut is None else StreamCut(info)
        self.origin = origin_of(self._source, encoding.container) if info.cut is None else origin_of_part(info)
        verdicts = try_streams(info.path, encoding.container)
        for stream in self._source.streams:
            if stream.index != self._main.index:
                self._add(stream, encoding.container, verdicts[stream.index])
        if self._cut is not None:
            self._cut.seek(self._source)
        self._packets = self._source.demux(list(map(self._source.streams.__getitem__, self._targets)))
        if not self._targets:
            self._packets = iter(())

    def _add(self, stream: Any, container: str, verdict: Verdict) -> None:
        name = f"{stream.type} stream {stream.index} ({stream_name(stream)})"
        if stream.type == "data" and (self._source.chapters() or "timecode" in self._main.metadata):
            return  # mp4's chapter and time code tracks, which the muxer makes anew from what is copied below
        if not self._wants_sound and stream.type in ("audio", "subtitle"):
            self.notices.append(f"{name} is left out: the frame rate was changed")
            return
        if stream.type == "video" and container == "matroska" and probe.is_cover_picture(stream):
            cover = self._cover(stream)
            if cover[2]:
                self._output.add_attachment(*cover)  # as a stream it would become a film of one frame
            return
        if verdict.problem:
            self.notices.append(f"{name} {verdict.problem}: left out")
            return
        target = add_copy(self._output, stream, verdict.layout)
        if stream.type != "attachment":
            self._targets[stream.index] = target
            self._lanes[stream.index] = Lane(stream, container, verdict.layout, self.origin)
        if verdict.layout and stream.codec_context.layout.nb_channels > 2:
            self.notices.append(f"{name} names no places for its channels: written as {verdict.layout}")

    def _cover(self, stream: Any) -> tuple[str, str, bytes]:
        """(file name, media type, data) of a cover picture."""
        kind = "png" if stream.codec_context.name == "png" else "jpeg"
        name = stream.metadata.get("filename") or f"cover.{'jpg' if kind == 'jpeg' else kind}"
        with probe.open_container(self._info.path) as container:
            packets = container.demux(container.streams[stream.index])
            data = next((bytes(packet) for packet in packets if packet.size), b"")
        name = name.encode(errors="replace").decode()  # `add_attachment` takes UTF-8 only
        return name, stream.metadata.get("mimetype") or f"image/{kind}", data

    def copy_descriptions(self, video_stream: Any, rate: Fraction, muxer_options: dict[str, str]) -> None:
        """Chapters, the file's metadata, and the main video stream's metadata and disposition; `rate` is the
        output's."""
        found = descriptions_that_fit(self._source, self._main, self._container, muxer_options, rate, self._info)
        found.write(self._output, video_stream)
        video_stream.disposition = self._main.disposition
        if found.left_out:
            self.notices.append(
                f"{self._container} does not take the source's {' and '.join(found.left_out)}: left out"
            )

    def advance(self, seconds: Fraction) -> None:
        """Write every packet up to `seconds` after the output's origin."""
        while (packet := self._next()) is not None and packet.dts * packet.time_base <= seconds:
            self._write_next()

    def finish(self) -> None:
        """Write all that is left, and say what was done to it."""
        while self._next() is not None:
            self._write_next()
        for index, lane in self._lanes.items():
            stream = self._source.streams[index]
            self.notices += _repairs(f"{stream.type} stream {index} ({stream_name(stream)})", lane)

    def close(self) -> None:
        """Close the source."""
        for lane in self._lanes.values():
            lane.abandon()
        self._source.close()

    def _next(self) -> Any:
        """The packet that comes next, or None at the end."""
        while not self._ready and not self._ended:
            self._read()
        return self._ready[0][1] if self._ready else None

    def _read(self) -> None:
        """Send one more packet down its lane; at the end of the source, take what the lanes hold back."""
        try:
            packet = next(self._packets, None)
        except av.FFmpegError:
            self.notices.append("the source breaks off: sound and subtitles are copied as far as they go")
            packet = None
        if packet is None or (self._cut is not None and self._cut.is_behind(packet)):
            self._ended = True
            last = [(index, one) for index, lane in self._lanes.items() for one in lane.rest()]
            self._ready.extend(sorted(last, key=lambda item: item[1].dts * item[1].time_base))
        elif packet.size > 0 and not is_filler(packet) and (self._cut is None or self._cut.take(packet)):
            index = packet.stream_index
            self._ready.extend((index, one) for one in self._lanes[index].put(packet))

    def _write_next(self) -> None:
        index, packet = self._ready.popleft()
        packet.stream = self._targets[index]
        self._output.mux(packet)


def _repairs(name: str, lane: Lane) -> Iterator[str]:
    """What happened to a stream's packets on their way, in sentences."""
    for count, verb, what in (
        (lane.times.moved, "moved", "time stamps did not increase"),
        (lane.times.dropped, "left out", "other sound was written for their time"),
        (lane.refused, "left out", "the container refused them"),
    ):
        if count:
            yield f"{name}: {count} {'packet was' if count == 1 else 'packets were'} {verb}, because {what}"


def muxer_options(info: VideoInfo, encoding: Encoding, time_base: Fraction) -> dict[str, str]:
    """Muxer options under which time stamps and metadata survive."""
    if encoding.container not in ("mp4", "mov"):
        return {}
    chosen = {"movflags": "+write_colr"}
    if time_base.numerator == 1 and time_base.denominator < 2**31:
        chosen["video_track_timescale"] = str(time_base.denominator)
        if info.frame_rate is not None and info.frame_rate > 1000:
            chosen["movie_timescale"] = str(time_base.denominator)  # in its milliseconds such a clip may last none
    if not info.is_folder:
        with probe.open_container(info.path) as container:
            if {key.lower() for key in metadata_of(container)} - _PLAIN_MP4_KEYS:
                chosen["movflags"] += "+use_metadata_tags"
    return chosen
