"""When a copied packet is decoded: what a muxer takes (increasing times), with every sound time stamp left as it is.

Pure: whole ticks in, whole ticks out.
"""

from __future__ import annotations

from dataclasses import dataclass

_IMPOSSIBLE = 1 << 60  # beyond it a stamp is damage, and sums of stamps no longer fit FFmpeg's 64 bits
LONGEST = (1 << 31) - 1
"""Ticks that mp4 takes as the duration of a packet."""


@dataclass(frozen=True)
class Times:
    """Of one packet, in ticks: when it is decoded and shown, and how long it lasts (0: unknown)."""

    dts: int
    pts: int
    duration: int


class PacketTimes:
    """Places the packets of one stream, in the order they are stored.

    strict: the muxer wants every time above the one before (mp4, mov, avi), not only not below it (Matroska).
    second: ticks of one second. continuous: the stream is sound, whose packets follow each other. Sound whose stamps go
    back is appended, until they leap forward again by what they went back. Of other kinds (subtitles, data) a packet is
    moved no further than past its neighbour, and none is dropped. `moved` and `dropped` count what was done.
    """

    def __init__(self, *, strict: bool, second: int, continuous: bool) -> None:
        self.moved = self.dropped = 0
        self._step, self._second, self._continuous = int(strict), max(second, 1), continuous
        self._last: int | None = None  # what the muxer got last
        self._length = 1  # of that packet
        self._newest = 0  # the latest of the source's stamps, with the offset it had
        self._offset = 0  # what is added to stamps that went back

    def place(self, dts: int | None, pts: int | None, duration: int | None, following: int | None) -> Times | None:
        """The packet's times, or None if its place is taken by what was written. `following` is the next packet's
        stamp.

        dts and pts are the source's stamps, None where it has none (as `following` at the end).
        """
        dts, pts, following = _possible(dts), _possible(pts), _possible(following)
        stamp = dts if dts is not None else pts
        length = min(max(duration or 0, 0), LONGEST)
        ahead = 0 if stamp is None or pts is None else max(pts - stamp, 0)
        time = self._first(stamp, following, length) if self._last is None else self._next(stamp, following, length)
        if time is None:
            self.dropped += 1
            return None
        self.moved += stamp is not None and time != stamp
        self._last, self._length = time, max(length, 1)
        return Times(time, time + ahead, length)

    def _first(self, stamp: int | None, following: int | None, length: int) -> int:
        time = 0 if stamp is None else stamp
        if stamp is not None and following is not None and following < stamp and self._continuous:
            time = following - max(length, 1)
        self._newest = time
        return time

    def _next(self, stamp: int | None, following: int | None, length: int) -> int | None:
        assert self._last is not None
        expected, lowest = self._last + self._length, self._last + self._step
        if stamp is None:
            self._newest = max(self._newest, expected)
            return expected
        if self._offset and stamp + self._offset > expected + self._offset // 2:  # back on the old clock
            self._offset, self._newest = 0, min(stamp, self._last)
        time = stamp + self._offset
        if not self._continuous:
            return max(time, lowest)
        if self._leaps(time, expected, following) or (time == self._newest and self._step):
            return expected  # one wrong stamp; or several packets under one stamp, which follow each other
        if time >= self._newest:
            self._newest = time
            return None if length and time + length <= self._last else max(time, lowest)
        if self._newest - time < self._length:
            return lowest  # a jitter
        self._offset += expected - time
        self._newest = expected
        return expected

    def _leaps(self, time: int, expected: int, following: int | None) -> bool:
        """Whether this one stamp is wrong: far ahead, and the next packet is back where this one should be."""
        if following is None or time <= expected + self._second:
            return False
        assert self._last is not None
        return self._last < following + self._offset < time


def _possible(stamp: int | None) -> int | None:
    return stamp if stamp is not None and abs(stamp) < _IMPOSSIBLE else None
