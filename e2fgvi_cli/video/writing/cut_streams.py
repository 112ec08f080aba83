"""What of a source's other streams belongs to a part of the clip: sound, subtitles, chapters, time code."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

from ...types import VideoInfo

_TIME_CODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)")
_LONG = 60
"""Seconds by which the streams of a file may lie apart."""
_BEFORE = 10
"""Seconds before the part from which a subtitle may reach into it."""


def origin_of_part(info: VideoInfo) -> Fraction:
    """Seconds of the source's clock that are 0 in the output."""
    assert info.cut is not None
    return info.cut.clock[0]


class StreamCut:
    """Which packets of the source's other streams lie in the part of it that `info` describes.

    Sound is cut between packets: the first one begins in the part. A subtitle is there while the part shows it. A
    further picture stream begins with its first key frame in the part.
    """

    def __init__(self, info: VideoInfo) -> None:
        assert info.cut is not None
        self._begin, self._end = info.cut.clock
        self._begun: set[int] = set()

    def seek(self, source: Any) -> None:
        """Let an opened source begin with the packets that may matter."""
        import av

        source.seek(max(int((self._begin - _BEFORE) * av.time_base), 0), backward=True)

    def is_behind(self, packet: Any) -> bool:
        """Whether the source has nothing for the part from this packet on."""
        return self._end is not None and packet.dts is not None and packet.dts * packet.time_base > self._end + _LONG

    def take(self, packet: Any) -> bool:
        """Whether the packet belongs to the part; a subtitle's times are changed to those in it."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:
            return packet.stream_index in self._begun
        start = stamp * packet.time_base
        if packet.stream.type == "subtitle":
            return self._take_subtitle(packet, start)
        inside = bool(self._begin <= start and (self._end is None or start < self._end))
        if inside and packet.stream.type == "video" and not packet.is_keyframe:
            inside = packet.stream_index in self._begun
        if inside:
            self._begun.add(packet.stream_index)
        return inside

    def _take_subtitle(self, packet: Any, start: Fraction) -> bool:
        base, stop = packet.time_base, start + (packet.duration or 0) * packet.time_base
        if stop <= self._begin or (self._end is not None and start >= self._end):
            return False
        shown, gone = max(start, self._begin), stop if self._end is None else min(stop, self._end)
        packet.pts = packet.dts = math.ceil(shown / base)
        packet.duration = max(int(gone / base) - packet.pts, 1)
        return True


def chapters_of_part(chapters: list[Any], info: VideoInfo) -> list[Any]:
    """PyAV's chapters, on the clock of the part, as far as they lie in it."""
    assert info.cut is not None
    begin, end = info.cut.clock
    found = []
    for chapter in chapters:
        base = Fraction(chapter["time_base"])
        start, stop = max(chapter["start"] * base, begin), chapter["end"] * base
        stop = stop if end is None else min(stop, end)
        if start < stop:
            found.append({**chapter, "start": round((start - begin) / base), "end": round((stop - begin) / base)})
    return found


def later_time_codes(metadata: dict[str, str], info: VideoInfo) -> dict[str, str]:
    """Metadata whose time codes are those of the part's first frame; one that cannot be counted on is left out."""
    assert info.cut is not None
    found = {}
    for key, value in metadata.items():
        if key.lower() != "timecode":
            found[key] = value
        elif (later := later_time_code(value, info.cut.first, info.frame_rate)) is not None:
            found[key] = later
    return found


def later_time_code(text: str, frames: int, rate: Fraction | None) -> str | None:
    """The time code so many frames after `text` (SMPTE ST 12: hours:minutes:seconds:frames, ";" before the frames where
    numbers are dropped at 30000/1001 or 60000/1001); None for what is none."""
    match = _TIME_CODE.fullmatch(text.strip())
    if match is None or rate is None:
        return None
    hours, minutes, seconds, number = (int(match[group]) for group in (1, 2, 3, 5))
    second = round(rate)
    dropped = second // 15 if match[4] != ":" else 0  # numbers a minute, but in every tenth
    whole = hours * 60 + minutes
    count = (whole * 60 + seconds) * second + number - dropped * (whole - whole // 10) + frames
    ten = 600 * second - 9 * dropped
    tens, rest = divmod(count % (144 * ten), ten)
    if rest >= 60 * second:
        rest += dropped * (1 + (rest - 60 * second) // (60 * second - dropped))
    count = tens * 600 * second + rest
    seconds, number = divmod(count, second)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{match[4]}{number:02d}"
