"""What a container really takes of a stream: tried with its packets on a muxer whose bytes go nowhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av

from .. import local
from ..reading import probe
from .descriptions import REFUSALS, Nowhere, stream_metadata
from .packet_times import LONGEST, PacketTimes

TRIAL_BYTES = 64 << 20
"""So much of a source is tried before the work. What comes later is tried packet by packet as it is copied."""

_LOOSE = frozenset({"matroska", "webm"})  # muxers that take equal times
_PATIENCE = 32  # packets that may wait for the first decode time of a video stream
# FFmpeg's default places of so many channels, for sound whose source names none
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def add_copy(output: Any, stream: Any, layout: str = "") -> Any:
    """A stream of `output` for copied packets of `stream`, with its metadata and disposition; `layout` names the places
    of its channels. Raises `REFUSALS`."""
    target = output.add_stream_from_template(stream, opaque=True)
    target.metadata.update(stream_metadata(stream))
    target.disposition = stream.disposition
    if layout:
        target.codec_context.layout = layout
    return target


def missing_layout(stream: Any) -> str:
    """FFmpeg's default layout for a sound stream whose source only counts its channels; "" for any other."""
    context = stream.codec_context
    if stream.type != "audio" or context is None or not context.layout.name.endswith("channels"):
        return ""
    return _LAYOUTS.get(context.layout.nb_channels, "")


class Lane:
    """The way of one stream's packets into a container of that kind: times repaired, refused ones kept out.

    origin: seconds of the source's clock that are 0 in the output. Its own muxer, with this stream alone, sees each
    packet
    first: what that one refuses never reaches the real file.
    Raises `REFUSALS` if the container does not take the stream.
    """

    def __init__(self, stream: Any, container: str, layout: str = "", origin: Fraction = Fraction(0)) -> None:
        self.refused = self.taken = 0
        self._origin = origin
        self._waiting: list[Any] = []
        self._lacks_decode_times = stream.type == "video"  # until one is known
        self._muxer = av.open(Nowhere(), "w", format=container, **local.KEEP_METADATA_BYTES)
        try:
            self._target = add_copy(self._muxer, stream, layout)
            self._muxer.start_encoding()
        except BaseException:
            self.abandon()
            raise
        self._time_base = Fraction(self._target.time_base)
        self._step = int(container not in _LOOSE)
        self._last: int | None = None
        self._source_base = Fraction(stream.time_base or self._time_base)
        second = int(1 / self._source_base)
        self.times = PacketTimes(strict=bool(self._step), second=second, continuous=stream.type == "audio")

    def put(self, packet: Any) -> Iterator[Any]:
        """Take a packet as demuxed; yields those that are ready to be written, their times in the output's ticks."""
        self._waiting.append(packet)
        if self._lacks_decode_times:
            self._fill_decode_times()
        while len(self._waiting) > 1 and not self._lacks_decode_times:
            yield from self._ready(self._waiting.pop(0), self._waiting[0])

    def rest(self) -> Iterator[Any]:
        """What is still held back when the source has no more."""
        while self._waiting:
            packet = self._waiting.pop(0)
            yield from self._ready(packet, self._waiting[0] if self._waiting else None)

    def close(self) -> None:
        """Write the trailer. Raises `REFUSALS` if that cannot be done."""
        self._muxer.close()

    def abandon(self) -> None:
        """Close, whatever state it is in."""
        with contextlib.suppress(*REFUSALS):
            self._muxer.close()

    def _fill_decode_times(self) -> None:
        """Demuxers know no decode time before the first frames that were reordered are through: count back from
        there."""
        known = next((n for n, packet in enumerate(self._waiting) if packet.dts is not None), None)
        self._lacks_decode_times = known is None and len(self._waiting) <= _PATIENCE
        for place in range((known or 0) - 1, -1, -1):
            later = self._waiting[place + 1]
            self._waiting[place].dts = later.dts - max(self._waiting[place].duration or 0, 1)

    def _ready(self, packet: Any, following: Any) -> Iterator[Any]:
        next_stamp = None if following is None else _stamp(following)
        times = self.times.place(packet.dts, packet.pts, packet.duration, next_stamp)
        if times is None:
            return
        source_base = Fraction(packet.time_base or self._source_base)
        wanted = round((times.dts * source_base - self._origin) / self._time_base)
        self._last = wanted if self._last is None else max(wanted, self._last + self._step)
        scale = source_base / self._time_base
        packet.time_base = self._time_base
        packet.dts, packet.pts = self._last, self._last + round((times.pts - times.dts) * scale)
        packet.duration = min(round(times.duration * scale), LONGEST)
        packet.stream = self._target
        try:
            self._muxer.mux(packet)
        except REFUSALS:
            self.refused += 1
            return
        self.taken += 1
        yield packet


def _stamp(packet: Any) -> int | None:
    return packet.dts if packet.dts is not None else packet.pts


def origin_of(source: Any, container: str) -> Fraction:
    """The seconds of an opened source's clock that are 0 in the output: AVI has no start but 0, others keep the
    source's."""
    return Fraction(source.start_time, av.time_base) if container == "avi" and source.start_time else Fraction(0)


def is_filler(packet: Any) -> bool:
    """An empty mp4 text sample, which only fills a gap; the muxer puts its own."""
    return packet.size == 2 and packet.stream.type == "subtitle" and bytes(packet) == b"\x00\x00"


@dataclass(frozen=True)
class Verdict:
    """Whether a stream can be copied: `problem` "" or why not; `layout` is what its channels have to be called for
    it."""

    problem: str = ""
    layout: str = ""


def try_streams(path: Path, container: str) -> dict[int, Verdict]:
    """A verdict on every stream of a file but its main video, as copied into FFmpeg's muxer `container`."""
    status = path.stat()
    return _tried(path, container, (status.st_ino, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=8)
def _tried(path: Path, container: str, _unchanged: tuple[int, ...]) -> dict[int, Verdict]:
    with probe.open_container(path) as source:
        main = probe.main_video_stream(source, path)
        streams = [stream for stream in source.streams if stream.index != main.index]
        bare = _try(path, container, {stream.index: "" for stream in streams})
        named = {s.index: layout for s in streams if bare[s.index].problem and (layout := missing_layout(s))}
    return {
        **bare,
        **{index: verdict for index, verdict in _try(path, container, named).items() if not verdict.problem},
    }


def _try(path: Path, container: str, layouts: dict[int, str]) -> dict[int, Verdict]:
    """The verdicts on the streams that are keys of `layouts`."""
    refusal = f"does not fit into {container}"
    found: dict[int, Verdict] = {}
    lanes: dict[int, Lane] = {}
    if not layouts:
        return found
    with probe.open_container(path) as source:
        origin = origin_of(source, container)
        for index, layout in layouts.items():
            try:
                lanes[index] = Lane(source.streams[index], container, layout, origin)
            except REFUSALS:
                found[index] = Verdict(refusal)
        whole = _feed(source, lanes)
        for index, lane in lanes.items():
            for _ in lane.rest():
                pass
            try:
                lane.close()
            except REFUSALS:
                found[index] = Verdict(refusal)
                continue
            if lane.refused and not lane.taken:
                found[index] = Verdict(refusal)
            elif whole and not lane.taken and source.streams[index].type == "audio":
                found[index] = Verdict("holds no sound")
            else:
                found[index] = Verdict("", layouts[index])
    return found


def _feed(source: Any, lanes: dict[int, Lane]) -> bool:
    """Give the lanes their packets; False if `TRIAL_BYTES` were reached before the end."""
    seen = 0
    if not lanes:
        return True
    try:
        for packet in source.demux():
            lane = lanes.get(packet.stream_index)
            seen += packet.size
            if lane is not None and packet.size and not is_filler(packet):
                for _ in lane.put(packet):
                    pass
            if seen > TRIAL_BYTES:
                return False
    except av.FFmpegError:
        pass  # a source that breaks off: what is there is copied
    return True
