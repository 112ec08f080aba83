"""What `e2fgvi inpaint` shows on standard error: notices, progress, the closing table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ..types import Progress, Summary


class Reporter:
    """Progress and notices on standard error: a bar on a terminal, a plain line now and then elsewhere."""

    PLAIN_LINES = 10

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._printed = -1

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def notice(self, text: str) -> None:
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.clear()
        typer.echo(text, err=True)

    def progress(self, progress: Progress) -> None:
        if self._quiet:
            return
        if not sys.stderr.isatty():
            self._plain(progress)
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=progress.total, unit="frame", desc="inpaint", dynamic_ncols=True)
        self._bar.update(progress.done - self._bar.n)

    def _plain(self, progress: Progress) -> None:
        total = progress.total
        tenth = progress.done * self.PLAIN_LINES // total if total else progress.done // 100
        if tenth > self._printed:
            self._printed = tenth
            typer.echo(f"{progress.done}{f' of {total}' if total else ''} frames", err=True)


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
