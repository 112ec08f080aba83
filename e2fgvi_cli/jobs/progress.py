"""How far a job is, from what its tasks say: frames of the phase it is in, and a share of the whole that only grows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .model import ClipPlan

PROGRESS_SECONDS = 0.5
_SHARES = {"prepare": (0.0, 0.05), "fill": (0.05, 0.9), "join": (0.9, 1.0)}
"""From where to where a phase goes, by rule of thumb: filling takes most of the time on every device."""
_READING = 0.15
"""Of filling: reading the frames, and looking for their holes in other frames, which comes before the network."""


@dataclass(frozen=True)
class Pace:
    """What a task reports: frames done (parts of frames count) of `total`, None where the source does not say how many
    it has."""

    done: float
    total: int | None


@dataclass
class JobProgress:
    """Of one job, in its driver."""

    share: float = 0.0
    _phase: str = "prepare"
    _tasks: dict[int, Pace] = field(default_factory=dict)

    def enter(self, phase: str) -> None:
        """A phase begins, or begins again: nothing of it is done."""
        self._phase = phase
        self._tasks.clear()

    def drop(self, task: int) -> None:
        """A task failed: what it had done counts no more in the frames."""
        self._tasks.pop(task, None)

    def update(self, task: int, pace: Pace, plan: ClipPlan | None, filled: int) -> dict[str, Any]:
        """The values of a `progress` event. filled: frames of the segments that have a hole."""
        self._tasks[task] = pace
        done = sum(one.done for one in self._tasks.values())
        total = pace.total if plan is None else filled if self._phase == "fill" else plan.frames
        start, end = _SHARES[self._phase]
        if total:
            self.share = max(self.share, start + (end - start) * min(done / total, 1.0))
        return {"phase": self._phase, "done": int(done), "total": total, "share": round(self.share, 3)}


class Reporter:
    """In a worker: reports not more often than `PROGRESS_SECONDS`, and the beginning at once."""

    def __init__(self, emit: Callable[[str, Any], None], total: int | None = None) -> None:
        self._emit, self._last = emit, 0.0
        self.total = total

    def __call__(self, done: float, now: bool = False) -> None:
        """done: frames of `total`."""
        if now or time.monotonic() - self._last >= PROGRESS_SECONDS:
            self._last = time.monotonic()
            self._emit("progress", Pace(done, self.total))


@dataclass
class PartProgress:
    """Of one run of frames that is being filled: the larger of what is written, and what reading and windows have come
    to.

    before: frames of the task done before it. frames: its own. first: number of its first frame among those the network
    looks at.
    """

    report: Reporter
    before: int
    frames: int
    first: int
    written: int = 0
    _read: float = 0.0
    _windows: float = 0.0

    def read(self, share: float) -> None:
        """So much of what has to be read is read, 0 to 1."""
        self._read = share
        self._tell()

    def reach(self, station: str, frames: int) -> None:
        """So many of the frames that the network looks at have come to `station` (`fill.progress`); windows count."""
        if station == "filled":
            self._windows = min(max(frames - self.first, 0) / self.frames, 1.0)
            self._tell()

    def wrote(self) -> None:
        """One more frame is stored."""
        self.written += 1
        self._tell()

    def _tell(self) -> None:
        under_way = self.frames * (_READING * self._read + (1 - _READING) * self._windows)
        self.report(self.before + max(self.written, under_way))
