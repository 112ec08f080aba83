"""A benchmark as sections of a report: what each table and diagram shows, and in which units."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from . import plots
from .report import Section, Table
from .results import PROCESS, RELEASED, Arithmetic, Benchmark, CaseResult, Measured, Ratio, shares, window_seconds

NONE = "-"


def speed_sections(benchmark: Benchmark) -> list[Section]:
    """All of it. Cases without figures are named where they are missed."""
    measured = [(case, case.measured) for case in benchmark.cases if case.measured is not None]
    whole = all(case.subject.mode == PROCESS for case in benchmark.cases)
    sections = [_processes(benchmark) if whole else _speed(benchmark)]
    if measured:
        sections.append(_memory(measured))
    counted = [(case, m, m.arithmetic) for case, m in measured if m.arithmetic is not None]
    if counted:
        sections.append(_arithmetic(benchmark, counted))
        sections += [_stages(benchmark, case, m, a) for case, m, a in counted if m.stages]
        sections += [*_diagrams(benchmark, counted), _peaks(benchmark)]
    return [*sections, *_said(measured), *_environment(benchmark)]


def _speed(benchmark: Benchmark) -> Section:
    rows, failed = [], []
    bars: dict[str, list[plots.Bar]] = {}
    for case in benchmark.cases:
        m = case.measured
        if m is None:
            rows.append((case.subject.label, "failed", *[NONE] * 5))
            failed.append(f"{case.subject.label}: {case.failure.message if case.failure else 'failed'}")
            continue
        t = m.timing
        rows.append(
            (
                case.subject.label,
                seconds(t.median),
                f"{seconds(t.low)} - {seconds(t.high)}",
                NONE if t.steady_median is None else seconds(t.steady_median),
                seconds(t.first / t.frames),
                " ".join(map(_ratio, benchmark.ratios(case))) or NONE,
                NONE if m.agreement is None else f"{m.agreement.psnr:.1f}",
            )
        )
        bar = plots.Bar(case.subject.label, (("s/frame", t.median),), f"{seconds(t.median)} s")
        bars.setdefault("{1}x{0}".format(*case.subject.size), []).append(bar)
    headings = ("case", "s/frame", "least - most", "steady", "first run", "times faster", "dB")
    repeats = benchmark.settings["repeats"]
    text = (
        *failed,
        f"s/frame: median of {repeats} runs after a first one that does not count (kernels compiled, graphs "
        "captured); the time until the network is loaded is in none of them. steady: end to end, without a run's "
        "first quarter.",
        f"times faster: seconds a frame of the {RELEASED} way of working (one forward pass a window, every "
        "reference, whole frames, nothing kept) divided by ours, a run of each at a time: the median, in "
        "brackets the least and the most.",
        "dB: PSNR of the filled pixels against our own float32 run of the same clip.",
        *benchmark.notices,
    )
    pictures = tuple(plots.bars(f"Seconds a frame, {size}", of_size) for size, of_size in bars.items())
    return Section("Speed", text, Table(headings, tuple(rows)), pictures)


def _processes(benchmark: Benchmark) -> Section:
    """Whole processes: a user waits for seconds, so they come first."""
    rows, failed = [], []
    for case in benchmark.cases:
        m = case.measured
        if m is None:
            rows.append((case.subject.label, "failed", *[NONE] * 6))
            failed.append(f"{case.subject.label}: {case.failure.message if case.failure else 'failed'}")
            continue
        t = m.timing
        rows.append(
            (
                case.subject.label,
                str(t.frames),
                seconds(t.first),
                seconds(t.median * t.frames),
                f"{seconds(t.low * t.frames)} - {seconds(t.high * t.frames)}",
                seconds(statistics.median(t.own[1:])),
                seconds(t.median),
                " ".join(map(_ratio, benchmark.ratios(case))) or NONE,
            )
        )
    text = (
        *failed,
        "Seconds from the command's start to its end, each run a process of its own. first: the first run here; "
        f"later: the median of {benchmark.settings['repeats']} after it; own: what `e2fgvi inpaint` says of itself, "
        "without Python's start and imports; s/frame: later, start included.",
        *benchmark.notices,
    )
    headings = ("case", "frames", "first s", "later s", "least - most", "own s", "s/frame", "times faster")
    return Section("Whole processes", text, Table(headings, tuple(rows)))


def _memory(measured: Sequence[tuple[CaseResult, Measured]]) -> Section:
    rows, bars = [], []
    for case, m in measured:
        memory = m.memory
        off = NONE if not memory.predicted else f"{memory.predicted / memory.measured - 1:+.0%}"
        rows.append(
            (
                case.subject.label,
                memory.measured_of,
                gib(memory.predicted),
                gib(memory.measured),
                off,
                gib(memory.host),
                gib(memory.host_start),
            )
        )
        bars.append(plots.Bar(case.subject.label, (("peak", memory.measured / 2**30),), f"{gib(memory.measured)} GiB"))
    headings = ("case", "peak of", "predicted", "peak", "off by", "host peak", "host at start")
    text = (
        "GiB. Peaks of a GPU are what torch allocated; of a process its resident memory, libraries and all. "
        "Predicted: by the planner, before the run. Host at start: the peak before the first frame, in end to "
        "end before the network.",
    )
    return Section("Memory", text, Table(headings, tuple(rows), left=2), (plots.bars("Peak memory", bars),))


def _arithmetic(benchmark: Benchmark, counted: Sequence[tuple[CaseResult, Measured, Arithmetic]]) -> Section:
    rows = []
    for case, m, a in counted:
        found = shares(a.frame_cost, m.timing.median, a.precision, benchmark.peaks)
        height, width = a.window.size
        rows.append(
            (
                case.subject.label,
                f"{width}x{height}, {a.window.local} + {a.window.references}",
                str(a.windows),
                f"{a.window_cost.flops / 1e12:.3g}",
                f"{a.frame_cost.flops / 1e12:.3g}",
                f"{a.frame_cost.flops / m.timing.median / 1e12:.3g}",
                NONE if found is None else percent(found.matmul),
                f"{a.frame_cost.bytes / 1e9:.3g}",
                NONE if found is None else percent(found.copy),
                NONE if found is None else seconds(found.bound),
            )
        )
    headings = (
        "case",
        "typical window",
        "windows",
        "TFLOP/window",
        "TFLOP/frame",
        "TFLOP/s",
        "of matmul peak",
        "GB/frame",
        "of copy peak",
        "least s/frame",
    )
    text = (
        "Typical window: size of its crop, local + reference frames. TFLOP: matrix products and convolutions, "
        "counted by torch's FLOP counter, an addition and a multiplication being two. GB: what the operators "
        "read and write one by one; fused kernels need less, so a share may exceed 100 %. Least: by both peaks.",
    )
    return Section("Arithmetic", text, Table(headings, tuple(rows), left=2))


def _stages(benchmark: Benchmark, case: CaseResult, m: Measured, a: Arithmetic) -> Section:
    window = window_seconds(m.timing, a)
    rows: list[tuple[str, ...]] = []
    for stage in m.stages:
        cost, best = a.stage_costs[stage.name], stage.best
        found = None if best is None else shares(cost, best, a.precision, benchmark.peaks)
        rows.append(
            (
                stage.name,
                str(stage.frames),
                milliseconds(stage.eager),
                milliseconds(stage.graph),
                NONE if best is None else percent(best / window),
                f"{cost.flops / 1e9:.0f}",
                NONE if found is None else percent(found.matmul),
                f"{cost.bytes / 1e9:.2f}",
                NONE if found is None else percent(found.copy),
                NONE if found is None else milliseconds(found.bound),
            )
        )
    rest = window - sum(stage.best or 0.0 for stage in m.stages)
    rows.append(("rest", NONE, milliseconds(rest), NONE, percent(rest / window), *[NONE] * 5))
    rows.append(("window", NONE, milliseconds(window), NONE, percent(1.0), *[NONE] * 5))
    headings = (
        "stage",
        "frames",
        "eager ms",
        "graph ms",
        "of the window",
        "GFLOP",
        "of matmul peak",
        "GB",
        "of copy peak",
        "least ms",
    )
    text = (
        "Each stage of the typical window by itself: kernels launched one by one, and as one CUDA graph. Window: "
        "its part of a run's time, by its part of the run's arithmetic: an estimate. Rest: that without the "
        "stages (upload, merging, pasting, the host).",
        *(f"{stage.name}: {stage.note}" for stage in m.stages if stage.note),
    )
    return Section(f"Stages: {case.subject.label}", text, Table(headings, tuple(rows)))


def _diagrams(benchmark: Benchmark, counted: Sequence[tuple[CaseResult, Measured, Arithmetic]]) -> list[Section]:
    rows, points = [], []
    for case, m, a in counted:
        timed = [(stage, stage.best) for stage in m.stages if stage.best is not None]
        if not timed:
            continue
        parts = tuple((stage.name, best) for stage, best in timed)
        rows.append(plots.Bar(case.subject.label, parts, f"{milliseconds(sum(best for _, best in timed))} ms"))
        for stage, best in timed:
            cost = a.stage_costs[stage.name]
            if cost.flops and cost.bytes:
                points.append(plots.Point(stage.name, case.subject.label, cost.flops / cost.bytes, cost.flops / best))
    if not rows:
        return []
    pictures = [plots.bars("Stages of the typical window", rows)]
    peaks = benchmark.peaks
    if points and peaks.matmul:
        pictures.append(plots.roofline("Stages under the device's roofs", points, peaks.matmul, peaks.copy))
    return [Section("Stages compared", pictures=tuple(pictures), brief=False)]


def _peaks(benchmark: Benchmark) -> Section:
    peaks = benchmark.peaks
    rows = [(f"matrix product, {name}", f"{value / 1e12:.3g} TFLOP/s") for name, value in peaks.matmul.items()]
    rows.append(("copy, read + written", f"{peaks.copy / 1e9:.4g} GB/s"))
    text = (
        f"The fastest of about a second, after each case, of {peaks.side} x {peaks.side} products and "
        f"{peaks.copied / 2**20:.0f} MiB copies.",
    )
    return Section("What the device can do", text, Table(("", "measured"), tuple(rows)))


def _said(measured: Sequence[tuple[CaseResult, Measured]]) -> list[Section]:
    rows = [(case.subject.label, notice) for case, m in measured for notice in m.notices]
    return [Section("What the runs said", table=Table(("case", ""), tuple(rows), left=2))] if rows else []


def _environment(benchmark: Benchmark) -> list[Section]:
    return [
        Section("Measured with", table=_facts(benchmark.environment)),
        Section("Asked for", table=_facts(benchmark.settings)),
    ]


def _facts(values: dict[str, Any]) -> Table:
    rows = []
    for name, value in values.items():
        if isinstance(value, dict):
            text = ", ".join(f"{k} {v}" for k, v in value.items() if v)
        elif name == "sizes":
            text = ", ".join(f"{width}x{height}" for height, width in value)
        elif isinstance(value, list | tuple):
            text = ", ".join(map(str, value))
        elif name == "memory":
            text = f"{gib(value)} GiB"
        else:
            text = "" if value is None else str(value)
        if text:
            rows.append((name.replace("_", " "), text))
    return Table(("", ""), tuple(rows), left=2)


# Words and units


def _ratio(found: Ratio) -> str:
    against = "" if found.against == RELEASED else f" than {found.against}"
    return f"{found.ratio:.2f}{against} [{found.low:.2f} - {found.high:.2f}]"


def seconds(value: float) -> str:
    """Three significant digits, never an exponent: 0.00412, 1.25, 12.3."""
    if value <= 0:
        return f"{value:.4f}"
    digits = 5 if value < 0.01 else 4 if value < 0.1 else 3 if value < 1 else 2 if value < 10 else 1
    return f"{value:.{digits}f}"


def milliseconds(value: float | None) -> str:
    """Seconds as ms; "-" for None."""
    return NONE if value is None else f"{value * 1000:.{3 if abs(value) < 0.01 else 1}f}"


def percent(value: float) -> str:
    """A share of 1, with one digit below 10 %."""
    return f"{value:.1%}" if abs(value) < 0.1 else f"{value:.0%}"


def gib(value: int | None) -> str:
    """Bytes as GiB; "-" for None."""
    return NONE if value is None else f"{value / 2**30:.2f}"
