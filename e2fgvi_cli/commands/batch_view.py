"""How a batch looks while it runs and when it is done: a panel of bars on a terminal, plain lines elsewhere, tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ..jobs.check import BatchCheck
    from ..jobs.model import BatchResult, Event

LINE_SECONDS = 30.0
"""Between two lines that say how far a job is."""
_WORDS = {"prepare": "looking", "fill": "filling", "join": "writing"}


class Lines:
    """One line on standard error for whatever changes a job's state, and now and then for how far one is."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._last: dict[str, float] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, event: Event) -> None:
        """Print the event, if it is one that people want to read."""
        text = sentence(event)
        if event.kind == "job_started":
            self._last[event.job] = event.time
        elif event.kind == "progress" and event.time - self._last.get(event.job, event.time) >= LINE_SECONDS:
            self._last[event.job] = event.time
            text = f"{event.job}: {_WORDS[event.values['phase']]}, {event.values['share']:.0%}"
        if text and (not self._quiet or event.kind == "job_failed"):
            typer.echo(text, err=True)


def sentence(event: Event) -> str:
    """An event in words; "" for those that come all the time."""
    words = _SENTENCES.get(event.kind)
    return "" if words is None else words(event.job, event.values)


def _planned(job: str, v: dict[str, Any]) -> str:
    parts = f", {v['parts']} parts" if v["parts"] > 1 else ""
    return f"{job}: {v['frames']} frames, {v['filled']} with a hole, {v['shots']} shots{parts}"


def _done(job: str, v: dict[str, Any]) -> str:
    resumed = f" ({v['resumed']} resumed)" if v["resumed"] else ""
    return f"{job}: done, {v['frames']} frames{resumed} in {v['seconds']:.1f} s: {v['output']}"


_SENTENCES: dict[str, Callable[[str, dict[str, Any]], str]] = {
    "batch_started": lambda job, v: f"{v['jobs']} jobs, {v['workers']} workers",
    "job_skipped": lambda job, v: f"{job}: done before, skipped",
    "job_planned": _planned,
    "job_elsewhere": lambda job, v: f"{job}: another process has it ({v['owner']})",
    "job_retry": lambda job, v: f"{job}: {v['message']}; try {v['retry']} of {v['of']}",
    "job_failed": lambda job, v: f"{job}: failed: {v['message']}",
    "job_done": _done,
}


class Panel:
    """A bar for the batch and one for each job at work, on standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[what]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._whole: Any = None
        self._jobs = self._finished = 0
        self._bars: dict[str, Any] = {}
        self._shares: dict[str, float] = {}

    def __enter__(self) -> Panel:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        """Bring the bars up to date."""
        v = event.values
        if event.kind == "batch_started":
            self._jobs = v["jobs"]
            self._whole = self._progress.add_task("all jobs", total=self._jobs, what=f"0/{self._jobs}")
        elif event.kind == "job_started":
            self._bars[event.job] = self._progress.add_task(_short(event.job), total=1.0, what="")
        elif event.kind == "progress" and event.job in self._bars:
            self._shares[event.job] = v["share"]
            frames = f"{v['done']}/{'?' if v['total'] is None else v['total']}"
            self._progress.update(self._bars[event.job], completed=v["share"], what=f"{_WORDS[v['phase']]} {frames}")
        elif event.kind in ("job_done", "job_skipped", "job_failed"):
            self._finished += 1
            self._shares.pop(event.job, None)
            if event.job in self._bars:
                self._progress.remove_task(self._bars.pop(event.job))
        if self._whole is not None:
            done = self._finished + sum(self._shares.values())
            self._progress.update(self._whole, completed=done, what=f"{self._finished}/{self._jobs}")
        if event.kind in ("job_failed", "job_retry", "job_elsewhere", "job_done"):
            self._progress.console.print(sentence(event), markup=False, highlight=False, soft_wrap=True)


def _short(name: str, width: int = 30) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"


def print_result(result: BatchResult, reports: tuple[Path, Path]) -> None:
    """The final table, on standard error."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "job", "outcome", "frames", "with a hole", "resumed", "time", "s/frame", "what", box=None, padding=(0, 2, 0, 0)
    )
    for r in result.records:
        ran = r.outcome in ("done", "skipped")
        colour = "green" if r.outcome == "done" else "dim" if r.outcome == "skipped" else "red"
        figures = (str(r.frames), str(r.filled), str(r.resumed), f"{r.seconds:.1f} s") if ran else ("",) * 4
        each = f"{r.seconds / r.frames:.3f}" if ran and r.frames else ""
        table.add_row(_plain(r.name), f"[{colour}]{r.outcome}[/]", *figures, each, _plain(r.message or r.output))
    console = Console(stderr=True, soft_wrap=True)
    console.print(table)
    counts = ", ".join(f"{n} {outcome}" for outcome, n in result.counts.items() if n)
    console.print(
        f"{counts or 'no jobs'} in {result.seconds:.1f} s; {reports[0]}, {reports[1]}", markup=False, highlight=False
    )


def print_check(found: BatchCheck, devices: tuple[str, ...], workers: int, finished: int) -> None:
    """The plan of `--dry-run`, on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "job", "frames", "size", "memory", "output", "time at most", "problem", box=None, padding=(0, 2, 0, 0)
    )
    for job in found.jobs:
        if job.problem:
            table.add_row(_plain(job.name), "", "", "", "", "", f"[red]{_plain(job.problem)}[/]")
            continue
        table.add_row(
            _plain(job.name),
            "?" if job.frames is None else str(job.frames),
            f"{job.size[1]}x{job.size[0]}",
            f"{job.memory / 2**30:.1f} GiB",
            f"{job.output_bytes / 1e6:.1f} MB",
            "?" if job.seconds is None else _duration(job.seconds),
            _plain("; ".join(job.notices)),
        )
    console = Console(soft_wrap=True)
    console.print(table)
    for problem in found.problems:
        console.print(f"[red]problem:[/] {_plain(problem)}")
    basis = "measured by this journal" if found.measured else "a rough guess until a job is done here"
    time = "unknown" if found.seconds is None else f"at most {_duration(found.seconds)} ({basis})"
    console.print(
        f"{len(found.jobs)} jobs to do ({finished} done before), {workers} workers on {', '.join(devices)}; "
        f"predicted time: {time}",
        highlight=False,
    )


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
