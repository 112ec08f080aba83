"""How far a run is while nothing is finished yet: frames counted at the stations that they pass, in shares of the
expected time.

On a CPU the first frame is finished after most of a short clip's time: all its neighbours are read, searched for what
they show, and encoded before. Any thread counts; whoever wants to know asks for a snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import Any, TypeVar

from ..types import Progress
from .stream import WindowEngine

T = TypeVar("T")

STATIONS = ("read", "found", "encoded", "filled")
"""Read with its hole; searched for in other frames; encoded by the network; filled by a window."""
SHARES = {"cpu": (0.01, 0.03, 0.1, 0.86), "cuda": (0.05, 0.65, 0.05, 0.25)}
"""Of the time, by rule of thumb, at each station; other devices are taken for a GPU. Without image propagation the
second is the last's."""


class RunProgress:
    """Counts frames at `STATIONS` and finished ones, of `total` (None: not known). go_on: asked at every station, in
    the thread that works there; what it raises ends the run."""

    def __init__(
        self, total: int | None, device: str, *, propagation: bool, go_on: Callable[[], None] = lambda: None
    ) -> None:
        read, found, encoded, filled = SHARES.get(device, SHARES["cuda"])
        self._shares = dict(zip(STATIONS, (read, found, encoded, filled), strict=True))
        if not propagation:
            self._shares |= {"found": 0.0, "filled": filled + found}
        self._total, self._go_on = total, go_on
        self._reached = dict.fromkeys(STATIONS, 0)
        self._finished = 0
        self._lock = Lock()

    def reach(self, station: str, frames: int) -> None:
        """The first `frames` frames of the clip have come to `station`; fewer than before change nothing."""
        self._go_on()
        with self._lock:
            self._reached[station] = max(self._reached[station], frames)

    def finish(self, frames: int) -> None:
        """The first `frames` frames are finished, whatever stations they have passed: without a hole they pass none."""
        with self._lock:
            self._finished = frames

    def counted(self, items: Iterable[T], station: str, first: int = 0) -> Iterator[T]:
        """The items, frames of the clip from `first` on, each of which has come to `station` when it is given."""
        for number, item in enumerate(items, first + 1):
            self.reach(station, number)
            yield item

    def snapshot(self) -> Progress:
        """How far the run is now."""
        with self._lock:
            if not self._total:
                return Progress(self._finished, self._total)
            share = float(self._finished)
            for station, weight in self._shares.items():
                share += weight * max(min(self._reached[station], self._total) - self._finished, 0)
            return Progress(self._finished, self._total, min(share / self._total, 1.0))


class WatchedEngine:
    """An engine whose windows are counted as they are computed. Frames are numbered from the start of their shot,
    `first` in the clip."""

    def __init__(self, engine: WindowEngine, reach: Callable[[str, int], None], first: int) -> None:
        self._engine, self._reach, self._first = engine, reach, first

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def fill(self, window: Any, frame: Callable[[int], Any], *rest: Any) -> Any:
        """As `WindowEngine.fill`."""
        return self._watched(self._engine.fill, window, frame, *rest)

    def fill_whole_window(self, window: Any, frame: Callable[[int], Any], *rest: Any) -> Any:
        """As `WindowEngine.fill_whole_window`."""
        return self._watched(self._engine.fill_whole_window, window, frame, *rest)

    def _watched(self, fill: Callable[..., Any], window: Any, frame: Callable[[int], Any], *rest: Any) -> Any:
        def counted(index: int) -> Any:
            # References lie further ahead than what the window fills.
            self._reach("encoded", self._first + min(index, window.local[-1]) + 1)
            return frame(index)

        result = fill(window, counted, *rest)
        self._reach("filled", self._first + window.center + 1)
        return result
