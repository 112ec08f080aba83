"""When a written frame is shown: the source's time in ticks that the output's container can hold."""

from __future__ import annotations

from fractions import Fraction

from ...types import VideoInfo
from ..options import OutputOptions
from ..reading.reader import DEFAULT_FOLDER_RATE

_FINEST = 2_000_000  # ticks a second; finer ones make gaps between frames longer than mp4 can hold
_USUAL = 90_000
_BROADCAST = Fraction(1, 10_000_000)  # as near as this, 23.976023976 is meant to be 24000/1001
# How far two frames may lie apart, in ticks: mp4 and mov keep 32 bits of the way from decoding to showing, which with
# reordered frames is several steps; AVI writes each frame that is missing, and FFmpeg no more than 65,536 of them
_LONGEST = {"mp4": 2**28, "mov": 2**28, "avi": 60_000}
_WITHOUT_TIMES = "yuv4mpegpipe"
_HALF = Fraction(1, 2)
_MILLISECONDS = frozenset({"matroska", "webm"})


def usable_rate(rate: Fraction) -> Fraction:
    """The rate as FFmpeg's 32 bits hold it; what is a broadcast rate (24000/1001) but for its rounding becomes it."""
    if max(rate.numerator, rate.denominator) < 2**31:
        return rate
    simple = rate.limit_denominator(1001)
    return simple if simple and abs(simple / rate - 1) < _BROADCAST else rate.limit_denominator(_FINEST)


class OutputTimes:
    """The times of the frames of one output, in order: exact where the container can, never two at once.

    `rate` is frames a second, `time_base` seconds a tick. origin: seconds of the source's clock that are 0 here.
    `moved` counts frames more than a quarter of a frame off in AVI, `shortened` the gaps that were longer than the
    container can hold.
    """

    def __init__(self, info: VideoInfo, options: OutputOptions, container: str, origin: Fraction = Fraction(0)) -> None:
        self.rate = usable_rate(options.frame_rate or info.frame_rate or DEFAULT_FOLDER_RATE)
        self.moved = self.shortened = 0
        self._container, self._origin = container, origin
        timeless = info.is_folder or info.time_base is None or container == _WITHOUT_TIMES
        self._counts = timeless or options.frame_rate is not None
        self._source_base = 1 / self.rate if self._counts or info.time_base is None else info.time_base
        self.time_base = self._chosen_base()
        self._last = -1 if container == "avi" else None
        self._offset: Fraction | None = None
        self._cut = 0  # ticks taken out of gaps so far

    def _chosen_base(self) -> Fraction:
        if self._container in (
            "avi",
            _WITHOUT_TIMES,
        ):  # counts frames: finer ticks become empty frames, and a rate of hundreds a second
            return 1 / self.rate
        base = self._source_base
        if base.denominator <= _FINEST:
            return base
        whole = self.rate.numerator  # a multiple of it is exact for frames of that rate
        return Fraction(1, whole * -(-_USUAL // whole) if whole <= _FINEST else _USUAL)

    def seconds(self, index: int, source_ticks: int | None) -> Fraction:
        """The source's time of frame `index` after the origin, on the clock of its other streams."""
        return index * self._source_base if self._counts else (source_ticks or 0) * self._source_base - self._origin

    def ticks(self, seconds: Fraction) -> int:
        """The output's tick for a frame of that time."""
        wanted = round(seconds / self.time_base)
        tick = wanted - self._cut
        if self._last is not None:
            tick = max(tick, self._next_free(self._last))
            longest = _LONGEST.get(self._container)
            if longest is not None and tick - self._last > longest:
                self._cut += tick - self._last - longest
                self.shortened += 1
                tick = self._last + longest
        if self._container == "avi":
            error = (tick + self._cut) * self.time_base - seconds
            self._offset = error if self._offset is None else self._offset  # of the whole clip
            self.moved += abs(error - self._offset) > self.time_base / 4
        self._last = tick
        return tick

    def duration(self, source_ticks: int | None) -> int:
        """How long a frame is shown, in the output's ticks, given how long in the source's; 0: leave it to the
        container."""
        if self._counts or not source_ticks or source_ticks < 0 or self._container == "avi":
            return 0
        seconds = source_ticks * self._source_base
        usual = abs(seconds - 1 / self.rate) <= max(self._source_base, Fraction(1, 1000))
        if usual and self._container in _MILLISECONDS:
            return 0  # else each frame takes some bytes more
        return min(round(seconds / self.time_base), _LONGEST.get(self._container, 2**31 - 1))

    def notices(self) -> list[str]:
        """What was done to times, in sentences."""
        found = []
        if self.moved:
            found.append(
                f"{_count(self.moved, 'frame')} moved in time: avi has one frame rate, here {self.rate} a second"
            )
        if self.shortened:
            found.append(
                f"{_count(self.shortened, 'pause')} shortened: {self._container} cannot hold as much between frames"
            )
        return found

    def _next_free(self, last: int) -> int:
        """The first tick that a container counting milliseconds keeps apart from `last`."""
        if self._container not in _MILLISECONDS or self.time_base >= Fraction(1, 1000):
            return last + 1
        milliseconds = (last * self.time_base * 1000 + _HALF) // 1  # as FFmpeg rounds
        return max(last + 1, -(-(milliseconds + _HALF) / 1000 // self.time_base))


class PacketLengths:
    """How long encoded packets last, in ticks: as the pictures in them are shown; not every encoder hands that on."""

    def __init__(self) -> None:
        self._lengths: dict[int, int] = {}
        self._start: int | None = None
        self._end: int | None = None
        self._first_decoded: int | None = None

    def show(self, tick: int, length: int) -> None:
        """A picture goes to the encoder; length 0: unknown."""
        self._start = tick if self._start is None else self._start
        self._end = tick + length if length else None
        self._lengths[tick] = length

    def take(self, tick: int, decoded: int | None) -> int:
        """Of the packet with this picture, decoded at that tick; 0 if unknown."""
        self._first_decoded = decoded if self._first_decoded is None else self._first_decoded
        return self._lengths.pop(tick, 0)

    def stretch_last(self, tick: int, decoded: int | None, length: int) -> tuple[int | None, int]:
        """(when the last packet of all is decoded, how long it lasts), so that what mp4 adds up is what is shown.

        It adds the steps from one decoding to the next and the last length, which is too little where pictures are
        reordered and shown unevenly. The packet is decoded later, but not after it is shown; then it lasts longer, but
        not past the end.
        """
        first = self._first_decoded
        if not length or self._end is None or self._start is None or decoded is None or first is None:
            return decoded, length
        wanted = self._end - self._start + first  # where the decoding of a packet behind it would be
        later = max(decoded, min(wanted - length, tick))
        return later, max(length, min(wanted - later, self._end - tick))


def _count(number: int, what: str) -> str:
    return f"{number} {what} was" if number == 1 else f"{number} {what}s were"
