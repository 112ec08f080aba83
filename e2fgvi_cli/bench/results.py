"""What a benchmark finds, as plain values. Imports neither torch nor PyAV: they travel from the measuring processes to
the report."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from functools import reduce
from typing import Any

SCHEMA = "e2fgvi-benchmark-1"

ENGINE, END_TO_END, PROCESS = "engine", "end to end", "process"
"""Modes: frames in memory to filled frames; files to files, decoding and encoding included; the whole command, its
start and end too."""
OURS, RELEASED = "e2fgvi", "released"
"""Programs: ours, or the published way of working (one forward pass a window, every reference, nothing kept)."""


@dataclass(frozen=True)
class Cost:
    """Floating-point operations and bytes read and written."""

    flops: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes)

    def __mul__(self, times: float) -> Cost:
        return Cost(self.flops * times, self.bytes * times)


@dataclass(frozen=True)
class Peaks:
    """The best a device did: operations a second by precision, bytes a second (read plus written). `side`, `copied`: of
    the test."""

    matmul: dict[str, float] = field(default_factory=dict)
    copy: float = 0.0
    side: int = 0
    copied: int = 0

    def or_better(self, other: Peaks) -> Peaks:
        """The best of both: whatever slows a device down is not its peak."""
        names = dict.fromkeys((*self.matmul, *other.matmul))
        return Peaks(
            {name: max(self.matmul.get(name, 0.0), other.matmul.get(name, 0.0)) for name in names},
            max(self.copy, other.copy),
            max(self.side, other.side),
            max(self.copied, other.copied),
        )


@dataclass(frozen=True)
class Shares:
    """Of the peaks, 0..1 (above 1: the bytes did not all move). `bound`: least seconds by both peaks."""

    matmul: float
    copy: float
    bound: float


def shares(cost: Cost, seconds: float, precision: str, peaks: Peaks) -> Shares | None:
    """What `cost`, done in `seconds`, is of the peaks. None if they were not measured, for want of memory."""
    peak = peaks.matmul.get(precision)
    if not peak:
        return None
    return Shares(
        matmul=cost.flops / seconds / peak,
        copy=cost.bytes / seconds / peaks.copy,
        bound=max(cost.flops / peak, cost.bytes / peaks.copy),
    )


@dataclass(frozen=True)
class WindowWork:
    """One window on one crop: padded `size` (height, width) and how many frames (`pairs`: of frames) each stage has to
    compute."""

    size: tuple[int, int]
    local: int
    references: int
    encoded: int
    pairs: int
    decoded: int


@dataclass(frozen=True)
class StageTime:
    """Seconds of one stage of one window. eager None: it could not be measured; graph None: not on CUDA, or not
    capturable (`note`)."""

    name: str
    frames: int
    eager: float | None
    graph: float | None
    note: str = ""

    @property
    def best(self) -> float | None:
        """As a graph where there is one, else eager."""
        return self.eager if self.graph is None else self.graph


@dataclass(frozen=True)
class Arithmetic:
    """What was to be computed: `windows` in all, of them `window` is the typical one; costs of that one by stage, and
    of a frame of the clip."""

    windows: int
    window: WindowWork
    stage_costs: dict[str, Cost]
    frame_cost: Cost
    precision: str

    @property
    def window_cost(self) -> Cost:
        """All stages of the typical window."""
        return sum(self.stage_costs.values(), Cost())


@dataclass(frozen=True)
class Timing:
    """Seconds of whole runs over `frames` frames. `first`: the first run, with everything that happens once (not in
    `runs`).

    start_up: seconds until the network was ready, which no other figure contains. steady: seconds a frame of each run
    without its first quarter; end to end only, and only for clips of some length. own: of processes, what each run says
    of itself, the first included: from its options read to its output published.
    """

    frames: int
    first: float
    runs: tuple[float, ...]
    start_up: float
    steady: tuple[float, ...] = ()
    own: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        """Seconds a frame."""
        return statistics.median(self.runs) / self.frames

    @property
    def low(self) -> float:
        """Seconds a frame of the fastest run."""
        return min(self.runs) / self.frames

    @property
    def high(self) -> float:
        """Seconds a frame of the slowest run."""
        return max(self.runs) / self.frames

    @property
    def steady_median(self) -> float | None:
        """Seconds a frame."""
        return statistics.median(self.steady) if self.steady else None


@dataclass(frozen=True)
class Memory:
    """Bytes. measured: the peak of the GPU (allocated by torch) or, without one, of the process. predicted: the
    planner's, None if it has none.

    host: peak of the process's resident memory; host_start: the same before the first frame; None of processes, which
    tell the first figure only.
    """

    predicted: int | None
    measured: int
    measured_of: str
    host: int | None
    host_start: int | None


@dataclass(frozen=True)
class Agreement:
    """Filled pixels against those of our own float32 run: PSNR in dB over all of them and of the worst frame, largest
    difference in levels."""

    psnr: float
    worst_frame: float
    largest: int


@dataclass(frozen=True)
class Measured:
    """One case. `stages`: of the typical window; `peaks`: of the device, measured after the case; both where arithmetic
    is given."""

    timing: Timing
    memory: Memory
    device: str
    deform: str
    arithmetic: Arithmetic | None = None
    stages: tuple[StageTime, ...] = ()
    peaks: Peaks | None = None
    agreement: Agreement | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why a case has no figures, in one sentence, and the exit code of its kind."""

    message: str
    exit_code: int


@dataclass(frozen=True)
class Subject:
    """What is measured. `size` (height, width) of the frames; precision as asked for; devices one or more."""

    mode: str
    program: str
    size: tuple[int, int]
    precision: str
    devices: tuple[str, ...]

    @property
    def label(self) -> str:
        """As 432x240 e2fgvi fp16, end to end."""
        height, width = self.size
        what = RELEASED if self.program == RELEASED else f"{self.program} {self.precision}"
        several = f", {len(self.devices)} devices" if len(self.devices) > 1 else ""
        return f"{width}x{height} {what}, {self.mode}{several}"


@dataclass(frozen=True)
class CaseResult:
    """A subject with its figures, or the reason why there are none."""

    subject: Subject
    measured: Measured | None
    failure: Failure | None = None


@dataclass(frozen=True)
class Probe:
    """A machine: its `environment.Environment`, and the names that "auto" stands for there.

    size: (height, width) of the given clip's frames, None without one; frames: its claimed number.
    """

    environment: dict[str, Any]
    devices: tuple[str, ...]
    precisions: tuple[str, ...]
    size: tuple[int, int] | None = None
    frames: int | None = None


@dataclass(frozen=True)
class Ratio:
    """How many times less time a frame the case takes than the other: median, least and most of the rounds, a run of
    each being a round."""

    against: str
    ratio: float
    low: float
    high: float


def ratio(ours: Timing, other: Timing, against: str) -> Ratio:
    """`other` divided by `ours`, a frame."""
    rounds = [(b / other.frames) / (a / ours.frames) for a, b in zip(ours.runs, other.runs, strict=True)]
    return Ratio(against, statistics.median(rounds), min(rounds), max(rounds))


@dataclass(frozen=True)
class Benchmark:
    """A finished (or so far measured) benchmark. `environment`: of `environment.Environment`. `notices`: sentences."""

    environment: dict[str, Any]
    settings: dict[str, Any]
    cases: tuple[CaseResult, ...]
    notices: tuple[str, ...] = ()

    @property
    def peaks(self) -> Peaks:
        """The best that was measured beside any case."""
        return reduce(
            Peaks.or_better, (c.measured.peaks for c in self.cases if c.measured and c.measured.peaks), Peaks()
        )

    def ratios(self, case: CaseResult) -> tuple[Ratio, ...]:
        """Against the published way of working and against one device, of the same size and mode, where those were
        measured."""
        if case.measured is None or case.subject.program == RELEASED:
            return ()
        mine, found = case.subject, []
        for other in self.cases:
            them = other.subject
            if other.measured is None or (them.mode, them.size) != (mine.mode, mine.size):
                continue
            if them.program == RELEASED and len(mine.devices) == 1:
                found.append(ratio(case.measured.timing, other.measured.timing, RELEASED))
            same = them.program == mine.program and them.precision == mine.precision
            if same and len(mine.devices) > 1 and len(them.devices) == 1:
                found.append(ratio(case.measured.timing, other.measured.timing, "one device"))
        return tuple(found)

    def as_record(self) -> dict[str, Any]:
        """For JSON: the values above, with what is derived from them."""
        return {
            "schema": SCHEMA,
            "environment": self.environment,
            "settings": self.settings,
            "peaks": asdict(self.peaks),
            "cases": [self._record(case) for case in self.cases],
            "notices": list(self.notices),
        }

    def _record(self, case: CaseResult) -> dict[str, Any]:
        record: dict[str, Any] = {
            **asdict(case.subject),
            "failure": None if case.failure is None else case.failure.message,
            "seconds_per_frame": None,
            "ratios": [asdict(r) for r in self.ratios(case)],
        }
        m = case.measured
        if m is None:
            return record
        t = m.timing
        record["seconds_per_frame"] = {"median": t.median, "min": t.low, "max": t.high}
        record |= {
            "frames": t.frames,
            "steady_seconds_per_frame": t.steady_median,
            "runs_seconds": list(t.runs),
            "first_run_seconds": t.first,
            "start_up_seconds": t.start_up,
            "own_seconds": list(t.own),
            "memory": asdict(m.memory),
            "device": m.device,
            "deform": m.deform,
            "agreement_with_float32": None if m.agreement is None else asdict(m.agreement),
            "arithmetic": None if m.arithmetic is None else self._arithmetic(m.arithmetic, t),
            "stages": [self._stage(stage, m.arithmetic) for stage in m.stages] if m.arithmetic else [],
            "notices": list(m.notices),
        }
        return record

    def _arithmetic(self, a: Arithmetic, timing: Timing) -> dict[str, Any]:
        return {
            "windows": a.windows,
            "typical_window": asdict(a.window),
            "precision": a.precision,
            "window": asdict(a.window_cost),
            "frame": asdict(a.frame_cost),
            "shares": _plain(shares(a.frame_cost, timing.median, a.precision, self.peaks)),
        }

    def _stage(self, stage: StageTime, a: Arithmetic) -> dict[str, Any]:
        cost = a.stage_costs[stage.name]
        best = stage.best
        return {
            **asdict(stage),
            **asdict(cost),
            "shares": None if best is None else _plain(shares(cost, best, a.precision, self.peaks)),
        }


def _plain(found: Shares | None) -> dict[str, float] | None:
    return None if found is None else asdict(found)


def window_seconds(timing: Timing, arithmetic: Arithmetic) -> float:
    """The typical window's part of a run's time, by its part of the run's arithmetic: windows at a shot's ends are
    smaller."""
    return timing.median * arithmetic.window_cost.flops / arithmetic.frame_cost.flops
