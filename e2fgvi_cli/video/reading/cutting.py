"""`--start` and `--end`: which frames of a clip are meant, found without decoding where its packets say when they are
shown."""

from __future__ import annotations

import bisect
import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import av

from ...errors import InputError
from ...types import Cut, VideoInfo
from ..span import Moment, Span
from . import decoding, picture_times, probe
from .clock import DEFAULT_FOLDER_RATE, FrameClock

# Containers with one time a packet, which need not be when its picture is shown.
_WITHOUT_TIMES = frozenset({"avi", "asf"})
# Its packets may be hidden pictures, which have times and are never shown.
_MAY_HIDE = frozenset({"vp8"})


def cut(info: VideoInfo, span: Span) -> VideoInfo:
    """The part `span` of the clip `info` as a clip of its own. Raises `InputError` if it holds no frame."""
    if span == Span():
        return info
    if info.is_folder:
        rate = info.frame_rate or DEFAULT_FOLDER_RATE
        times, base, seekable = list(range(info.frame_count or 0)), 1 / rate, True
    else:
        found = packet_times(info)
        times, seekable = (picture_ticks(info), False) if found is None else (found, True)
        base = info.time_base or Fraction(1)
    count = len(times)
    if not count:
        raise InputError(f"{info.path} has no frame that can be decoded: check the file with a player")
    first = _place(times, base, span.start, inside=False) if span.start is not None else 0
    stop = _place(times, base, span.end, inside=True) if span.end is not None else count
    last = float((times[-1] - times[0]) * base)
    if first >= count:
        raise InputError(
            f"{span}: {info.path} has frames 0 to {count - 1}, the last one at {last:.3f}s; start before it"
        )
    if stop <= first:
        raise InputError(f"{span}: no frame of {info.path} lies between them; take a later --end")
    end = times[stop] if stop < count else None
    whole = replace(info, frame_count=count)
    part = Cut(whole, first, times[first], end, (times[first] - times[0]) * base, seekable)
    return replace(info, frame_count=stop - first, duration=_duration(info, part, times[0], base), cut=part)


def _place(times: list[int], base: Fraction, moment: Moment, *, inside: bool) -> int:
    """The number of the first frame at a moment or after it; for an end the first one that is not meant."""
    if moment.frame is not None:
        return min(moment.frame + inside, len(times))
    return bisect.bisect_left(times, times[0] + (moment.time or 0) / base)


def _duration(info: VideoInfo, part: Cut, origin: int, base: Fraction) -> Fraction | None:
    if part.end is not None:
        return (part.end - part.begin) * base
    return None if info.duration is None else info.duration - (part.begin - origin) * base


def packet_times(info: VideoInfo) -> list[int] | None:
    """When the frames of a video file are shown, ascending, in ticks; None where only decoding tells."""
    times: list[int] = []
    with probe.open_container(info.path) as container:
        stream = probe.main_video_stream(container, info.path)
        if set(container.format.name.split(",")) & _WITHOUT_TIMES or info.codec in _MAY_HIDE:
            return None
        try:
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    if packet.pts is None:
                        return None
                    times.append(packet.pts)
        except av.FFmpegError:
            pass  # a file that breaks off: the frames before are there
    times.sort()
    return times if times and all(before < after for before, after in itertools.pairwise(times)) else None


def picture_ticks(info: VideoInfo) -> list[int]:
    """The same by decoding all of it: the times a reader gives its frames."""
    with probe.open_container(info.path) as container:
        return [picture.pts or 0 for picture in _ticking(container, info)]


def _ticking(container: av.container.InputContainer, info: VideoInfo) -> Iterator[av.VideoFrame]:
    """All pictures, each with a time later than the one before."""
    clock = FrameClock(info)
    stream = probe.main_video_stream(container, info.path)
    for picture in picture_times.with_lengths(decoding.pictures(container, stream), info):
        if picture is not None:
            clock.tick(picture)
            yield picture


def pictures_of_part(container: av.container.InputContainer, info: VideoInfo) -> Iterator[av.VideoFrame | None]:
    """The pictures of the part, with their lengths; None for a packet of it that could not be decoded."""
    part = info.cut
    assert part is not None
    if part.seekable:
        origin = part.begin - round(part.start / (info.time_base or 1))
        found = picture_times.with_lengths(_jumped(container, info, part), part.source, origin)
    else:
        found = _ticking(container, part.source)
    began = False
    for picture in found:
        if picture is None:
            if began:
                yield None
            continue
        ticks = picture.pts
        if ticks is None or ticks < part.begin:
            continue
        if part.end is not None and ticks >= part.end:
            return
        began = True
        yield picture


def _jumped(container: av.container.InputContainer, info: VideoInfo, part: Cut) -> Iterator[av.VideoFrame | None]:
    """All pictures from a key frame before the part on; from the first one where jumping leads into the part or past
    it."""
    stream = probe.main_video_stream(container, info.path)
    with contextlib.suppress(av.FFmpegError):  # an index that is lost or damaged
        container.seek(part.begin, stream=stream, backward=True)
    pictures = decoding.pictures(container, stream)
    ahead = []
    for picture in pictures:
        ahead.append(picture)
        if picture is not None:
            break
    if ahead and ahead[-1] is not None and (ahead[-1].pts or 0) <= part.begin:
        yield from itertools.chain(ahead, pictures)
        return
    with probe.open_container(info.path) as again:
        yield from decoding.pictures(again, probe.main_video_stream(again, info.path))


def part_said(info: VideoInfo) -> tuple[str, ...]:
    """Which frames a part is made of, in a sentence; () for a whole clip."""
    part, count = info.cut, info.frame_count
    if part is None or count is None:
        return ()
    last, start = part.first + count - 1, float(part.start)
    of = (part.source.frame_count or 0) - 1
    return (f"{count} frames are read: {part.first} to {last} of 0 to {of}, from {start:.3f} s on",)
