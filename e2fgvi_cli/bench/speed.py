"""The measuring side of the benchmark: each function here runs in a process of its own, so that memory peaks are its
own too.

Wall clock with the device synchronised at the end of every run. The first run of a case contains what happens once
(kernels compiled and chosen, graphs captured, tables built) and is kept apart from those that count.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..engine import assemble, choose_deform, choose_precision, peak_memory, read_weights, select_device, settle
from ..engine.precision import RELEASED as RELEASED_PRECISION
from ..fill.stream import WindowEngine, fill_shot
from ..frames.stages import FinishedFrame
from ..options import InpaintOptions
from ..quality.metrics import psnr_from_mse
from ..types import Progress
from ..weights.known import checked
from .environment import describe_environment
from .request import NOWHERE, Case
from .results import END_TO_END, Agreement, Arithmetic, Measured, Memory, Peaks, Probe, StageTime, Timing
from .roofline import measure_peaks, synchronise
from .stages import measure_stages
from .synthetic import SyntheticClip, write_clip
from .work import ClipWork, NotingEngine, window_cost

if TYPE_CHECKING:
    from ..engine import Assembled

CPU = torch.device("cpu")
Turns = Generator[None, None, Measured]
STEADY_FRAMES = 100
"""Frames come in bunches: of short clips the last three quarters are no measure."""


def probe(devices: tuple[str, ...], precisions: tuple[str, ...], options: InpaintOptions, command: str) -> Probe:
    """Everything that can be wrong with a request on this machine, found before anything is measured.

    Raises `UsageError`, `DeviceError`, `WeightsError`, `InputError`.
    """
    weights = checked(options.weights, read_weights)
    chosen = [select_device(name) for name in devices]
    settle(options, chosen[0])
    if options.deform != "auto":  # that always finds one, and looking imports torchvision, which takes seconds
        choose_deform(options.deform, chosen[0])
    size = frames = None
    if options.video != NOWHERE:
        from ..video import open_holes, open_reader

        with open_reader(options.video) as reader, open_holes(options.mask, reader.info, options.masking):
            size, frames = (reader.info.height, reader.info.width), reader.info.frame_count
    return Probe(
        environment=asdict(describe_environment(chosen, weights, command)),
        devices=tuple(map(str, chosen)),
        precisions=tuple(dict.fromkeys(choose_precision(name, chosen[0]).name for name in precisions)),
        size=size,
        frames=frames,
    )


def write_files(clip: SyntheticClip, folder: Path) -> tuple[Path, Path] | None:
    """`synthetic.write_clip`, or None where PyAV is not installed."""
    try:
        import av  # noqa: F401
    except ImportError:
        return None
    return write_clip(clip, folder)


def write_filled(case: Case, path: Path) -> None:
    """Run the case once and keep the filled pixels of every frame, for `measure` to compare with."""
    with path.open("wb") as file:
        for frame in _one_run(case):
            file.write(_hole_pixels(frame).tobytes())


def measure(case: Case) -> Turns:
    """All figures of a case. Stops before every run that counts, and before what follows them, until it is its turn.

    So cases can be measured by turns: a machine whose speed changes in minutes hits them alike. Raises what a run
    raises.
    """
    return _measure_end_to_end(case) if case.subject.mode == END_TO_END else _measure_engine(case)


# -- frames in memory --------------------------------------------------------------------------------------------------


def _measure_engine(case: Case) -> Turns:
    assert case.clip is not None, "a given clip is measured end to end"
    began = time.perf_counter()
    settle(case.options, select_device(case.options.device))
    assembled = assemble(case.options, size=case.subject.size)
    synchronise(assembled.device)
    start_up, host_start = time.perf_counter() - began, peak_memory(CPU)
    agreement = None
    check = case.filled is not None
    seconds = []
    for number in range(case.repeats + 1):
        if number:
            yield
        # On a CPU every run computes alike, so the one that is not counted anyhow is compared; on a GPU see below.
        compared = check and number == 0 and assembled.device.type == "cpu"
        began = time.perf_counter()
        frames = _filled(case, assembled.engine)
        if compared:
            agreement = _compare(frames, case.filled)
        else:
            for frame in frames:
                assert frame.rgb.size  # pasting the fill belongs to the work
        synchronise(assembled.device)
        seconds.append(time.perf_counter() - began)
    yield
    if check and agreement is None:
        # The first run launches kernels one by one, later ones graphs: those are what is used.
        agreement = _compare(_filled(case, assembled.engine), case.filled)
    memory = _memory(assembled, host_start)
    found = _analyse(case, assembled) if case.analyse else _Analysis()
    return Measured(
        timing=Timing(case.clip.frames, seconds[0], tuple(seconds[1:]), start_up),
        memory=replace(memory, predicted=found.predicted),
        device=assembled.description,
        deform=assembled.deform,
        arithmetic=found.arithmetic,
        stages=found.stages,
        peaks=found.peaks,
        agreement=agreement,
        notices=(*assembled.notices, *assembled.engine.notices),
    )


def _filled(case: Case, engine: WindowEngine) -> Iterator[FinishedFrame]:
    assert case.clip is not None
    return fill_shot(case.clip.items(), engine, case.options.windows)


def _memory(assembled: Assembled, host_start: int) -> Memory:
    measured_of = "GPU" if assembled.device.type == "cuda" else "process"
    return Memory(None, peak_memory(assembled.device), measured_of, peak_memory(CPU), host_start)


# -- files to files ----------------------------------------------------------------------------------------------------


@dataclass
class _Clock:
    """When a run's network was ready and its frames were finished."""

    ready: float | None = None
    frames: list[float] = field(default_factory=list)

    def notice(self, _: str) -> None:
        if self.ready is None:  # the first sentence is about the engine, once it is there
            self.ready = time.perf_counter()

    def progress(self, _: Progress) -> None:
        self.frames.append(time.perf_counter())


def _measure_end_to_end(case: Case) -> Turns:
    from ..pipeline import inpaint

    host_start, seconds, steady, start_up = peak_memory(CPU), [], [], []
    with TemporaryDirectory(prefix="e2fgvi-benchmark-") as folder:
        options = replace(case.options, output=Path(folder) / "filled.mp4")
        for number in range(case.repeats + 1):
            if number:
                yield
            _free()
            clock, began = _Clock(), time.perf_counter()
            summary = inpaint(options, on_progress=clock.progress, on_notice=clock.notice)
            ended, ready = time.perf_counter(), clock.ready or began
            seconds.append(ended - ready)
            start_up.append(ready - began)
            skipped = summary.frames // 4
            if summary.frames >= STEADY_FRAMES:
                steady.append((ended - clock.frames[skipped - 1]) / (summary.frames - skipped))
    yield
    host, notices = peak_memory(CPU), summary.notices
    agreement = None if case.filled is None else _compare(_one_run(case), case.filled)
    found = _Analysis()
    if case.analyse:
        _free()
        # The options name all devices: what one of several plans is not what it would plan alone.
        device = case.options.devices[0] if case.options.devices else case.options.device
        settle(case.options, select_device(device))
        found = _analyse(case, assemble(case.options, device, case.subject.size))
    return Measured(
        timing=Timing(summary.frames, seconds[0], tuple(seconds[1:]), min(start_up), tuple(steady[1:])),
        memory=Memory(found.predicted, summary.peak_memory, summary.peak_memory_of, host, host_start),
        device=summary.device,
        deform=summary.deform_backend,
        arithmetic=found.arithmetic,
        stages=found.stages,
        peaks=found.peaks,
        agreement=agreement,
        notices=notices,
    )


def _free() -> None:
    """Let go of an earlier run's engine, which lies in reference cycles: a run of the program has a process of its
    own."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# -- what was computed -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Analysis:
    """`predicted`: what the planner says of the largest crop, in bytes; None for the published way, which has no
    plan."""

    arithmetic: Arithmetic | None = None
    stages: tuple[StageTime, ...] = ()
    predicted: int | None = None
    peaks: Peaks | None = None


def _analyse(case: Case, assembled: Assembled) -> _Analysis:
    work, frames = _clip_work(case, assembled)
    typical = work.typical()
    if typical is None:
        return _Analysis()
    engine = assembled.engine
    config, precision = engine.network.config, engine.settings.precision
    arithmetic = Arithmetic(
        windows=work.count,
        window=typical,
        stage_costs=window_cost(config, precision, typical),
        frame_cost=work.cost(config, precision) * (1 / frames),
        precision=precision.name,
    )
    if assembled.device.type == "cuda":
        # What follows is no part of the run, so its memory limit does not bind it.
        settle(replace(case.options, max_memory="auto"), assembled.device)
        torch.cuda.empty_cache()
    stages = tuple(measure_stages(engine, typical, seconds=case.timed)) if case.stages else ()
    peaks = _peaks(assembled, case.timed)
    predicted = None
    if not case.options.windows.released:
        predicted = max(engine.planner.plan(size).predicted for size in work.sizes()) or None
    return _Analysis(arithmetic, stages, predicted, peaks)


def _peaks(assembled: Assembled, seconds: float) -> Peaks | None:
    precision = assembled.engine.settings.precision
    if precision is RELEASED_PRECISION:
        # Its matrix products are float32; the ceiling of its convolutions is the one to look at.
        precision = replace(precision, tf32=True)
    try:
        return measure_peaks(assembled.device, precision, seconds=seconds)
    except torch.cuda.OutOfMemoryError:
        return None


def _clip_work(case: Case, assembled: Assembled) -> tuple[ClipWork, int]:
    """(the windows of the clip, its frames)."""
    noting = NotingEngine(assembled.engine.size_multiple, assembled.engine.planner)
    if case.clip is not None:
        count = sum(1 for _ in _filled(case, noting))
    else:
        with _given_frames(case.options, noting) as frames:
            count = sum(1 for _ in frames)
    return noting.work, count


@contextmanager
def _given_frames(options: InpaintOptions, engine: WindowEngine) -> Iterator[Iterator[FinishedFrame]]:
    from ..pipeline import finished_frames
    from ..video import open_holes, open_reader

    with (
        open_reader(options.video, size=options.size) as reader,
        open_holes(options.mask, reader.info, options.masking) as holes,
    ):
        yield finished_frames(reader, holes.hole_at, [engine], options)


# -- filled pixels -----------------------------------------------------------------------------------------------------


def _one_run(case: Case) -> Iterator[FinishedFrame]:
    if case.clip is not None and case.subject.mode != END_TO_END:
        yield from _filled(case, assemble(case.options).engine)
        return
    from ..pipeline import Inpainting

    with Inpainting(case.options, write=False) as run:
        yield from run


def _hole_pixels(frame: FinishedFrame) -> Any:
    """(n, 3): the finished pixels of a frame's hole."""
    return frame.rgb[frame.source.hole != 0]


def _compare(frames: Iterator[FinishedFrame], path: Path | None) -> Agreement | None:
    """The hole's pixels of `frames` against those in the file; None if nowhere is a hole."""
    assert path is not None
    squared, count, largest, worst_mse, peak = 0.0, 0, 0, 0.0, 255
    with path.open("rb") as file:
        for frame in frames:
            mine = _hole_pixels(frame)
            if not mine.size:
                continue
            theirs = np.frombuffer(file.read(mine.nbytes), mine.dtype).reshape(mine.shape)
            error = mine.astype(np.int64) - theirs
            total = float((error * error).sum())
            squared, count = squared + total, count + error.size
            worst_mse = max(worst_mse, total / error.size)
            largest = max(largest, int(np.abs(error).max()))
            peak = int(np.iinfo(mine.dtype).max)
    if not count:
        return None
    return Agreement(psnr_from_mse(squared / count, peak), psnr_from_mse(worst_mse, peak), largest)
