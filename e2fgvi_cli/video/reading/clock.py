"""When decoded pictures are shown: whole ticks of the source's time base, repaired where they go back, and what is
missing."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import av

from ...types import VideoInfo

# The rate of a source that has none: that of the published program's --savefps.
DEFAULT_FOLDER_RATE = Fraction(24)
_REGULAR = 0.8  # share of the steps between frames that are alike where a longer one is a gap
_MOST_STEPS = 1000  # different ones that are remembered
_MOST_GAPS = 5  # that are named one by one
_TICKS_WITHOUT_TIME_BASE = Fraction(1, 90_000)


class FrameClock:
    """Frame numbers and times of decoded pictures: whole ticks of the source's time base, strictly increasing."""

    def __init__(self, info: VideoInfo, start: int | None = None) -> None:
        """start: where the stream begins by the container's word, in ticks; what lies before the first picture is
        lost."""
        self._start = start
        self._time_base = info.time_base or _TICKS_WITHOUT_TIME_BASE
        self._rate = info.frame_rate or DEFAULT_FOLDER_RATE
        self._claimed_duration = info.duration
        self._first = 0
        self._last = 0
        self._length = Fraction(0)  # of the last picture, in seconds
        self._steps: Counter[int] = Counter()
        self._long: list[tuple[int, int]] = []
        self.count = 0
        self.repaired = 0

    def tick(self, picture: av.VideoFrame) -> tuple[int, Fraction]:
        """(index, seconds since the first frame) of the next picture, whose `pts` is set if it was unusable."""
        pts = picture.pts
        if self.count == 0:
            self._first = pts if pts is not None else 0
            picture.pts = self._first
        elif pts is None or pts <= self._last:
            picture.pts = self._last + self._step(pts, picture.duration or 0)
            self.repaired += pts is not None
        pts = picture.pts if picture.pts is not None else 0
        if self.count:
            self._note_step(pts - self._last, self._last)
        self._last = pts
        self._length = (picture.duration or 0) * self._time_base
        picture.time_base = self._time_base
        self.count += 1
        return self.count - 1, (self._last - self._first) * self._time_base

    def _step(self, pts: int | None, duration: int) -> int:
        """How far behind the last picture one without a usable time is: a frame, or half the way to the next one's
        time."""
        step = max(1, round(1 / (self._rate * self._time_base)))
        left = 0 if pts is None else pts + duration - self._last
        return step if left <= 0 else min(step, max(1, left // 2))

    def gaps(self) -> list[str]:
        """Where three frames or more are missing from a clip that has them at one distance otherwise, in words.

        A clip of no one distance (slides, screen recordings) has no gaps.
        """
        if not self._steps:
            return []
        usual, times = self._steps.most_common(1)[0]
        near = sum(number for step, number in self._steps.items() if abs(step - usual) <= max(1, usual // 8))
        if times < 3 or near < _REGULAR * sum(self._steps.values()):
            return []
        found = [(at, step) for at, step in self._long if step >= 4 * usual]
        words = [
            f"{float(step * self._time_base):.2f} s from {float((at - self._first) * self._time_base):.2f} s on "
            f"({round(step / usual) - 1} frames)"
            for at, step in found[:_MOST_GAPS]
        ]
        return words if len(found) <= _MOST_GAPS else [*words, f"{len(found) - _MOST_GAPS} more stretches"]

    def _note_step(self, step: int, at: int) -> None:
        if self._steps and step >= 4 * max(self._steps, key=self._steps.__getitem__) and len(self._long) < _MOST_STEPS:
            self._long.append((at, step))
        if step in self._steps or len(self._steps) < _MOST_STEPS:
            self._steps[step] += 1

    def late_start(self) -> Fraction:
        """Seconds of the stream before the first picture, from two frames on; else 0."""
        late = 0 if self._start is None else self._first - self._start
        return late * self._time_base if late * self._time_base * self._rate >= 2 else Fraction(0)

    def ends_early(self) -> bool:
        """Whether the last frame lies more than one and a half frames before the end the container claims."""
        if self._claimed_duration is None:
            return True  # then only the claimed count can tell
        length = max(self._length, 1 / self._rate)
        end = (self._last - self._first) * self._time_base + self.late_start() + length
        return self._claimed_duration - end > Fraction(3, 2) / self._rate
