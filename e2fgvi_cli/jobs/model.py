"""Plain data of a batch, shared by the driver and its workers; everything here can be pickled. Standard library
only."""

from __future__ import annotations

import hashlib
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import UsageError
from ..options import MAX_THREADS, InpaintOptions
from ..planner import padded_size
from ..system.paths import Written

MAX_WORKERS = 1024
ENGINE_MODULE = "e2fgvi_cli.jobs.engines"


def padded_megapixels(size: tuple[int, int]) -> float:
    """Millions of pixels of a frame (height, width) as the network sees it: padded to its multiples."""
    return math.prod(padded_size(size)) / 1e6


@dataclass(frozen=True)
class Job:
    """One clip of a batch. `environment` must be set before torch is imported in the process that fills it."""

    name: str
    options: InpaintOptions
    environment: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.options.report is not None:
            raise UsageError(f"job {self.name!r}: a batch writes no page of a run; leave out the report")

    @property
    def output(self) -> str:
        """The resolved output path: what a job is known by in the journal, since two jobs may not write the same file.

        Bytes of a name that are no text are spelled out.
        """
        return os.path.realpath(self.options.output).encode(errors="backslashreplace").decode()


@dataclass(frozen=True)
class BatchSettings:
    """How a batch runs, whatever its jobs are.

    state: folder of the journal and the segments. manifest: the file that the jobs stand in, if any; it is never
    written.
    workers: processes (or Ray tasks) at a time; None = one a device.
    devices: names for the workers in turn, such as ("cuda:0", "cuda:1"); ("auto",) = every GPU of the machine, else the
    CPU.
    threads: CPU threads a worker; None = the cores shared out. The last bits of a CPU result depend on it.
    split: "auto" (several workers share a clip when there are fewer clips than workers), "off", or frames a part.
    segment_frames: frames a stored segment, rounded up to the window hop. lease: seconds after which a silent driver's
    job is free for another. engine_module: where workers find `arithmetic` and `build` (see `engines.py`; tests put a
    light one there).
    """

    state: Path
    workers: int | None = None
    devices: tuple[str, ...] = ("auto",)
    threads: int | None = None
    split: Literal["auto", "off"] | int = "auto"
    segment_frames: int = 10
    max_retries: int = 2
    fail_fast: bool = False
    lease: float = 60.0
    shard: tuple[int, int] = (1, 1)
    engine_module: str = ENGINE_MODULE
    start_method: Literal["spawn", "fork", "forkserver"] = "spawn"
    manifest: Path | None = None

    def __post_init__(self) -> None:
        for flag, number, most in (("--jobs", self.workers, MAX_WORKERS), ("--threads", self.threads, MAX_THREADS)):
            if number is not None and number < 1:
                raise UsageError(f"{flag} {number} is too small: use 1 or more")
            if number is not None and number > most:
                raise UsageError(f"{flag} {number} is too large: use at most {most}")
        if self.max_retries < 0:
            raise UsageError(f"--max-retries {self.max_retries} is too small: use 0 or more")
        if self.segment_frames < 1:
            raise UsageError(f"--segment-frames {self.segment_frames} is too small: use 1 or more")
        if isinstance(self.split, int) and self.split < 1:
            raise UsageError(f"--split {self.split} is too small: use 1 or more frames, auto or off")
        index, count = self.shard
        if not 1 <= index <= count:
            raise UsageError(f"--shard {index}/{count} is no part of the whole: use 1/{max(count, 1)} and up")

    def file(self, stem: str, suffix: str) -> Path:
        """A file of the state folder, one a shard: results.csv, or results-2-of-8.csv."""
        index, count = self.shard
        return self.state / (f"{stem}{suffix}" if count == 1 else f"{stem}-{index}-of-{count}{suffix}")

    @property
    def journal(self) -> Path:
        """One a shard, since SQLite's write-ahead log must not be shared by several machines."""
        return self.file("journal", ".sqlite")

    @property
    def segments(self) -> Path:
        """The folder of the stored fills."""
        return self.state / "segments"

    def segments_of(self, job: Job, key: str) -> Path:
        """One a job: two jobs that fill the same clip for two outputs do not remove each other's segments."""
        return self.segments / f"{key[:24]}-{hashlib.sha256(job.output.encode()).hexdigest()[:8]}"

    @property
    def thumbnails(self) -> Path:
        """The folder of the report's pictures."""
        return self.state / "thumbnails"

    def writes(self) -> tuple[Written, ...]:
        """What a batch writes besides its jobs' outputs, for `paths.check_paths`."""
        return (
            Written("the journal", self.journal),
            Written("the segments", self.segments, folder=True),
            Written("the thumbnails", self.thumbnails, folder=True),
            Written("the table", self.file("results", ".csv")),
            Written("the report", self.file("report", ".html")),
        )


@dataclass(frozen=True)
class Segment:
    """Frames start..stop-1 of the clip, inside the shot that begins at frame `shot`."""

    start: int
    stop: int
    shot: int


@dataclass(frozen=True)
class ClipPlan:
    """What a first pass over a clip found. Frames are numbered from 0 over the whole clip.

    shots: (first, last) of each, last included. holed: runs (first, last) of frames that have a hole.
    seekable: single frames can be decoded out of order and are the same. bit_depth: of the frames; it decides what
    `--precision auto` is.
    """

    frames: int
    size: tuple[int, int]
    shots: tuple[tuple[int, int], ...]
    holed: tuple[tuple[int, int], ...]
    seekable: bool
    notices: tuple[str, ...] = ()
    bit_depth: int = 8

    def has_hole(self, start: int, stop: int) -> bool:
        """Whether any of the frames start..stop-1 has one."""
        return any(first < stop and last >= start for first, last in self.holed)

    @property
    def filled(self) -> int:
        """Number of frames with a hole."""
        return sum(last - first + 1 for first, last in self.holed)


@dataclass(frozen=True)
class Prepared:
    """Outcome of a job's first task: its content key, what it was made of, and the plan."""

    key: str
    snapshot: str
    plan: ClipPlan
    seconds: float


@dataclass(frozen=True)
class Filled:
    """Outcome of a part: where and how it was computed. `computed` frames were filled now, the others were there."""

    device: str
    deform: str
    weights: str
    arithmetic: str
    peak_memory: int
    peak_memory_of: str
    seconds: float
    computed: int
    precision: str = ""


@dataclass(frozen=True)
class Task:
    """Work for one worker. kind "prepare" looks at the inputs, "fill" computes `segments`, "join" writes the output.

    folder: the job's segments. arithmetic: if set, only a worker computing that way may fill. filled: what "join"
    reports.
    thumbnail: where it puts a picture. replaceable: see `selection.may_replace`.
    """

    id: int
    kind: Literal["prepare", "fill", "join"]
    job: Job
    folder: Path
    segments: tuple[Segment, ...] = ()
    plan: ClipPlan | None = None
    arithmetic: str | None = None
    filled: tuple[Filled, ...] = ()
    seconds: float = 0.0
    leftovers: tuple[int, ...] = ()
    snapshot: str = ""
    thumbnail: Path | None = None
    replaceable: dict[str, str] | None = None


@dataclass(frozen=True)
class Failure:
    """Why a task failed. `final`: trying again cannot help (a missing file, a wrong option)."""

    message: str
    exit_code: int
    final: bool


@dataclass(frozen=True)
class Message:
    """From a worker to the driver. kind: ready, progress (a `progress.Pace`), segment, done or failed."""

    kind: Literal["ready", "progress", "segment", "done", "failed"]
    task: int = -1
    value: Any = None
    worker: str = ""
    pid: int = 0


State = Literal["pending", "running", "joining", "done", "failed"]


@dataclass(frozen=True)
class JobRecord:
    """What is known of a job at the end. outcome: done, skipped (was done before), failed or cancelled.

    seconds: of work. finished: seconds since the epoch when the output was published, 0 if that is not known.
    """

    name: str
    output: str
    outcome: Literal["done", "skipped", "failed", "cancelled"]
    frames: int = 0
    filled: int = 0
    seconds: float = 0.0
    attempts: int = 0
    resumed: int = 0
    device: str = ""
    message: str = ""
    exit_code: int = 0
    notices: tuple[str, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    finished: float = 0.0


def record_of(job: Job, figures: dict[str, Any], outcome: Literal["done", "skipped"], attempts: int) -> JobRecord:
    """The record of a job that has its output, from the figures kept in the journal."""
    return JobRecord(
        job.name,
        job.output,
        outcome,
        frames=figures.get("frames", 0),
        filled=figures.get("filled", 0),
        seconds=figures.get("seconds", 0.0),
        attempts=attempts,
        resumed=figures.get("resumed", 0),
        device=figures.get("device", ""),
        notices=tuple(figures.get("notices", ())),
        scores=figures.get("scores", {}),
        finished=figures.get("finished", 0.0),
    )


@dataclass(frozen=True)
class BatchResult:
    """All jobs of a run, in the manifest's order. `seconds` wall clock."""

    records: tuple[JobRecord, ...]
    seconds: float
    workers: int

    @property
    def counts(self) -> dict[str, int]:
        """Number of jobs by outcome."""
        return {o: sum(r.outcome == o for r in self.records) for o in ("done", "skipped", "failed", "cancelled")}

    @property
    def failed(self) -> tuple[JobRecord, ...]:
        """The jobs that have no output now."""
        return tuple(r for r in self.records if r.outcome in ("failed", "cancelled"))


@dataclass(frozen=True)
class Event:
    """One thing that happened: `--json` prints one object a line with these fields and those of `values`."""

    kind: str
    job: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    time: float = field(default_factory=time.time)

    def record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "event": self.kind,
            "time": round(self.time, 3),
            **({"job": self.job} if self.job else {}),
            **self.values,
        }
