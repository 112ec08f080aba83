"""What `e2fgvi inpaint` shows on standard error: notices, progress, the closing table."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ..types import Progress, Summary


class Reporter:
    """Progress and notices on standard error: a bar on a terminal, a plain line now and then elsewhere.

    A thread looks at the run several times a second, since the first frame may be finished after most of the time.
    """

    PLAIN_LINES = 10
    SECONDS = 0.2
    """Between two looks."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._printed = -1
        self._began: float | None = None
        self._look: Callable[[], Progress] | None = None
        self._over = Event()
        self._lock = Lock()
        """Held by whoever writes: the thread or a notice."""
        self._thread = Thread(target=self._watch, name="progress", daemon=True)

    def watch(self, progress: Callable[[], Progress]) -> None:
        """From now on show what `progress()` gives."""
        if not self._quiet:
            self._look = progress
            self._thread.start()

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._look is not None and kind is None:
            self._show(self._look())
        if self._bar is not None:
            self._bar.close()

    def notice(self, text: str) -> None:
        """Print a sentence, above the bar."""
        if self._quiet:
            return
        with self._lock:
            if self._bar is not None:
                self._bar.clear()
            typer.echo(text, err=True)

    def _watch(self) -> None:
        assert self._look is not None, "started by `watch`"
        while not self._over.wait(self.SECONDS):
            self._show(self._look())

    def _show(self, progress: Progress) -> None:
        if self._began is None and (progress.share or progress.done):
            self._began = time.monotonic()  # before the first frame is read no time says how fast it goes
        with self._lock:
            if sys.stderr.isatty():
                self._show_bar(progress)
            else:
                self._print_line(progress)

    def _show_bar(self, progress: Progress) -> None:
        if self._bar is None:
            from tqdm import tqdm

            known = progress.share is not None
            style = "{desc}: {percentage:3.0f}%|{bar}| {postfix}" if known else "{desc}: {n_fmt} frames"
            self._bar = tqdm(total=1.0 if known else None, desc="inpaint", bar_format=style, dynamic_ncols=True)
        self._bar.n = progress.done if progress.share is None else progress.share
        self._bar.set_postfix_str(_frames(progress) + self._time_left(progress), refresh=False)
        self._bar.refresh()

    def _print_line(self, progress: Progress) -> None:
        share = progress.share
        tenth = progress.done // 100 if share is None else int(share * self.PLAIN_LINES)
        if tenth > self._printed and (share or progress.done):
            self._printed = tenth
            percent = "" if share is None else f"{share:.0%}: "
            typer.echo(percent + _frames(progress) + self._time_left(progress), err=True)

    def _time_left(self, progress: Progress) -> str:
        """By the time that the share so far has taken; nothing before a fiftieth is done."""
        if self._began is None or progress.share is None or not 0.02 <= progress.share < 1:
            return ""
        left = (time.monotonic() - self._began) * (1 / progress.share - 1)
        return f", about {int(left) // 60}:{int(left) % 60:02d} left"


def _frames(progress: Progress) -> str:
    return f"{progress.done}{f' of {progress.total}' if progress.total else ''} frames"


def print_summary(summary: Summary) -> None:
    """What was done, as a table on standard error."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    height, width = summary.size
    rows = {
        "output": summary.output,
        "frames": f"{summary.frames} of {width}x{height}, {summary.filled} with a hole",
        "time": f"{summary.seconds:.1f} s, {summary.seconds_per_frame:.3f} s a frame",
        "peak memory": f"{summary.peak_memory / 2**30:.2f} GiB ({summary.peak_memory_of})",
        "device": summary.device,
        "precision": summary.precision,
        "deformable convolution": summary.deform_backend,
        "weights": summary.weights,
    }
    names = {
        "hole_psnr": "PSNR in the hole",
        "hole_ssim": "SSIM in the hole",
        "composite_psnr": "PSNR of the whole frame",
    }
    units = {"hole_psnr": " dB", "composite_psnr": " dB"}
    for key, name in names.items():
        if key in summary.scores:
            rows[name] = f"{summary.scores[key]:.{2 if key in units else 4}f}{units.get(key, '')}"
    for name, value in rows.items():
        table.add_row(name, value)
    Console(stderr=True, soft_wrap=True).print(table)
