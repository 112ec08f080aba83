"""Where the seconds of one run go, as text: `python -m measurements.timeline OUT inpaint -v clip.mp4 -m masks.mkv
--devices cuda:0,cuda:1`.

The program as it is, watched from beside: when windows were launched and graphs captured, how far reading, each device
and writing were four times a second, how long a thread waits for the interpreter, and with --busy how busy each GPU was
and which calls of CUDA took long (its profiler slows a run down a little). With several runs in one process (--times)
what only the first has to do can be told apart.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import torch

from e2fgvi_cli.engine.core import Engine
from e2fgvi_cli.engine.graphs import GraphCache
from e2fgvi_cli.fill.sharing import _SharedShot
from e2fgvi_cli.outputs import ClipOutput
from e2fgvi_cli.system.publication import replace_file

EACH = 0.25
"""Seconds between two looks, and for which a GPU's share is given."""
LONG = 0.02
"""Seconds: calls of CUDA that took longer are listed."""


class Timeline:
    """Notes of a run, in seconds since `began`."""

    def __init__(self) -> None:
        self.began = time.time()
        self.marks: list[tuple[float, str]] = []
        self.samples: list[str] = []
        self.waits: dict[int, list[float]] = defaultdict(list)
        self._written, self._writing = 0, 0.0
        self._shot: _SharedShot | None = None

    def mark(self, text: str, since: float | None = None) -> None:
        """Note something now, or what has lasted `since` (as `time.time()`)."""
        now = time.time()
        took = "" if since is None else f" took {now - since:.3f} s"
        self.marks.append(((since or now) - self.began, text + took))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The classes that do the work say what they do, until the end of this context."""
        patched: list[tuple[type, str, Any]] = []

        def patch(owner: type, name: str, around: Callable[..., Any]) -> None:
            plain = getattr(owner, name)
            patched.append((owner, name, plain))
            setattr(owner, name, wraps(plain)(lambda *a, **k: around(plain, *a, **k)))

        def fill(plain: Any, engine: Engine, window: Any, *others: Any) -> Any:
            since = time.time()
            result = plain(engine, window, *others)
            self.mark(f"{engine.device}: window {window.local[0]}-{window.local[-1]} launched,", since)
            return result

        def capture(plain: Any, graphs: GraphCache, function: Any, tensors: Any) -> Any:
            since = time.time()
            result = plain(graphs, function, tensors)
            self.mark(f"capture of {function.__name__} {[tuple(t.shape) for t in tensors]}", since)
            return result

        def write(plain: Any, output: ClipOutput, frame: Any) -> None:
            since = time.time()
            plain(output, frame)
            self._written, self._writing = self._written + 1, self._writing + time.time() - since

        def shared(plain: Any, shot: _SharedShot, *others: Any) -> None:
            plain(shot, *others)
            self._shot = shot

        patch(Engine, "fill", fill)
        patch(GraphCache, "_captured", capture)
        patch(ClipOutput, "write", write)
        patch(_SharedShot, "__init__", shared)
        over = threading.Event()
        watchers = [threading.Thread(target=watch, args=(over,)) for watch in (self._look, self._wait)]
        for watcher in watchers:
            watcher.start()
        try:
            yield
        finally:
            over.set()
            for watcher in watchers:
                watcher.join()
            for owner, name, plain in patched:
                setattr(owner, name, plain)

    def _look(self, over: threading.Event) -> None:
        while not over.wait(EACH):
            row = f"{time.time() - self.began:8.2f} written {self._written}, {self._writing:.2f} s in that"
            if (shot := self._shot) is not None:
                pieces = (f"[{p.start}.. launched {p.begun}, done {p.done}]" for p in list(shot._running))
                row += f"; read {shot._count}; " + " ".join(pieces)
            self.samples.append(row)

    def _wait(self, over: threading.Event) -> None:
        while not over.is_set():
            since = time.time()
            time.sleep(0.001)
            self.waits[int((since - self.began) / EACH)].append(time.time() - since - 0.001)

    def lines(self) -> Iterator[str]:
        """What was noted."""
        for at, text in sorted(self.marks):
            yield f"{at:8.3f} {text}"
        yield from self.samples
        shares = (f"{cell * EACH:g}: {1000 * max(each):.0f}" for cell, each in sorted(self.waits.items()))
        yield "longest wait for the interpreter, ms, from each second on: " + ", ".join(shares)


def gpu_lines(profile: torch.profiler.profile, began: float) -> Iterator[str]:
    """How busy each GPU was, in percent, and the calls of CUDA that took long. began: as `time.time()`."""
    results = profile.profiler
    assert results is not None, "it has run"
    assert results.kineto_results is not None, "it has run"
    calls: Counter[str] = Counter()
    busy: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    until: dict[int, float] = defaultdict(float)
    for event in sorted(results.kineto_results.events(), key=lambda e: e.start_ns()):
        start, seconds = event.start_ns() / 1e9 - began, event.duration_ns() / 1e9
        if event.device_type() == torch.autograd.DeviceType.CPU:
            calls[event.name()] += 1
            if seconds > LONG:
                yield f"{start:8.3f} {event.name()} took {seconds:.3f} s"
            continue
        gpu, end = event.device_index(), start + seconds
        start = max(start, until[gpu])
        until[gpu] = max(end, until[gpu])
        while start < end:  # what reaches into several cells
            cell = int(start / EACH)
            here = min(end, (cell + 1) * EACH)
            busy[gpu][cell] += here - start
            start = here if here > start else end
    yield "calls: " + ", ".join(f"{name} {count}" for name, count in calls.most_common(20))
    for gpu, cells in sorted(busy.items()):
        shares = (f"{cell * EACH:g}: {100 * cells[cell] / EACH:.0f}" for cell in range(min(cells), max(cells) + 1))
        yield f"GPU {gpu}, % busy, from each second on: " + ", ".join(shares)


def main() -> None:
    """Run the program's command line, watched."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--times", type=int, default=1)
    given, command = parser.parse_known_args()

    from e2fgvi_cli.app import app

    timeline, profile = Timeline(), None
    if given.busy:
        if not torch.cuda.is_available():
            parser.error("--busy needs a CUDA device")
        profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])
        profile.start()
    with timeline.watching():
        for _ in range(given.times):
            timeline.mark("begins")
            code = app(command, standalone_mode=False)
            timeline.mark(f"ends, exit code {code or 0}")
    lines = list(timeline.lines())
    if profile is not None:
        profile.stop()
        lines += gpu_lines(profile, timeline.began)
    replace_file(given.out, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
