"""What a worker does with a task, whatever brought it there: a local process or a node of a cluster."""

from __future__ import annotations

import errno
import hashlib
import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from .. import video
from ..errors import EXIT_DEVICE, EXIT_FAILED, EXIT_INPUT, DeviceError, InputError, UserError, out_of_memory
from ..fill.pieces import smoothed_range, window_range
from ..fill.progress import WatchedEngine
from ..frames.stages import FinishedFrame, HoledFrame
from ..options import InpaintOptions
from ..outputs import ClipOutput
from ..types import Summary
from ..video.reading.shots import judge, split_shots
from . import fingerprint
from .engines import BuiltEngine
from .model import ClipPlan, Failure, Filled, Prepared, Segment, Task
from .progress import PartProgress, Reporter
from .segments import (
    ClipSource,
    DamagedSegmentError,
    SegmentWriter,
    StoredFills,
    fill_part,
    is_stored,
    segment_path,
    shot_frames,
)
from .selection import announce
from .thumbnails import save_thumbnail, typical_frame

Emit = Callable[[str, Any], None]


class Worker:
    """Runs tasks; keeps the network from one task to the next. `device` is used for jobs that ask for none."""

    def __init__(self, engine_module: str, device: str, threads: int | None) -> None:
        self._engines = importlib.import_module(engine_module)
        self._device, self._threads = device, threads
        self._built: tuple[tuple[object, ...], BuiltEngine] | None = None

    def arithmetic(self, options: InpaintOptions | None = None) -> str:
        """How this worker computes a job, which may name its own device and threads. See `engines.arithmetic`."""
        threads = self._threads if options is None or options.threads is None else options.threads
        return str(self._engines.arithmetic(self._device_for(options), threads))

    def run(self, task: Task, emit: Emit) -> Prepared | Filled | Summary:
        """The task's outcome. `emit` is called with ("progress", `Pace`) and ("segment", `Segment`)."""
        if task.kind == "prepare":
            return prepare(task.job.options, emit)
        if task.kind == "fill":
            return self._fill(task, emit)
        return join(task, emit)

    def _fill(self, task: Task, emit: Emit) -> Filled:
        assert task.plan is not None
        started = time.perf_counter()
        options, plan = task.job.options, task.plan
        arithmetic = self.arithmetic(options)
        if task.arithmetic not in (None, arithmetic):
            raise DeviceError(
                f"this worker computes as {arithmetic!r} and the clip's other parts as {task.arithmetic!r}, "
                "which would not fit bit for bit: give workers of one kind, or --split off"
            )
        folder = segment_folder(task.folder, arithmetic)
        built = self._engine(options, plan.bit_depth)
        computed = 0
        missing = [s for s in task.segments if not is_stored(folder, s, plan)]
        done = sum(s.stop - s.start for s in task.segments if s not in missing)
        report = Reporter(emit)
        for segments in consecutive(missing):
            part = _part_progress(report, done + computed, segments, plan, options)
            engine = WatchedEngine(built.engine, part.reach, 0)
            for written in _write_segments(
                folder, segments, fill_part(options, plan, segments, engine, part.read), emit
            ):
                computed += written
                part.wrote()
        report(done + computed, now=True)
        seconds = time.perf_counter() - started
        return Filled(
            built.device,
            built.deform,
            built.weights,
            arithmetic,
            built.peak_memory(),
            built.peak_memory_of,
            seconds,
            computed,
            built.precision,
        )

    def _engine(self, options: InpaintOptions, bit_depth: int) -> BuiltEngine:
        device = self._device_for(options)
        o = options
        wanted = (o.weights, device, o.deform, o.precision, o.max_memory, o.compile, o.threads, o.windows, bit_depth)
        if self._built is None or self._built[0] != wanted:
            self._built = None  # the old network's memory is free before the new one takes its own
            self._built = (wanted, self._engines.build(options, device, bit_depth))
        return self._built[1]

    def _device_for(self, options: InpaintOptions | None) -> str:
        return self._device if options is None or options.device == "auto" else options.device


def consecutive(segments: list[Segment]) -> Iterator[tuple[Segment, ...]]:
    """Runs of segments of one shot without a gap between them."""
    run: list[Segment] = []
    for segment in segments:
        if run and (segment.shot != run[-1].shot or segment.start != run[-1].stop):
            yield tuple(run)
            run = []
        run.append(segment)
    if run:
        yield tuple(run)


def _part_progress(
    report: Reporter, before: int, segments: tuple[Segment, ...], plan: ClipPlan, options: InpaintOptions
) -> PartProgress:
    shot = segments[0].shot
    start, stop = segments[0].start - shot, segments[-1].stop - shot
    count, windows = shot_frames(plan, shot), options.windows
    first, _ = window_range(*smoothed_range(start, stop, count, windows), count, windows)
    return PartProgress(report, before, stop - start, start - first)


def segment_folder(folder: Path, arithmetic: str) -> Path:
    """Segments of another arithmetic are kept apart: mixing them would not give what one run gives."""
    return folder / hashlib.sha256(arithmetic.encode()).hexdigest()[:12]


def prepare(options: InpaintOptions, emit: Emit) -> Prepared:
    """Decode the clip once: its content key, its shots, the frames with holes. Raises what a damaged input deserves."""
    started = time.perf_counter()
    snapshot = fingerprint.snapshot(options)
    key = fingerprint.job_key(options)
    shots: list[tuple[int, int]] = []
    holed: list[tuple[int, int]] = []
    count = 0
    with ClipSource(options) as source:
        report = Reporter(emit, source.reader.info.frame_count)
        ClipOutput(options, source.reader.info)  # checks that the targets can be written, hours before they are
        stream: Iterator[Iterator[HoledFrame]] = iter([source.read()])
        if options.detect_cuts:
            stream = split_shots(judge(source.read(), lambda item: item.frame.rgb))
        for shot in stream:
            first = count
            for item in shot:
                if item.box is not None:
                    _extend_runs(holed, count)
                count += 1
                report(count)
            if count > first:
                shots.append((first, count - 1))
        if not count:
            raise InputError(f"{options.video} has no frame that can be decoded: check the file with a player")
        info = source.reader.info
        seekable = _is_seekable(source, options, count)
        size = (info.height, info.width)
        notices = (*video.part_said(info), *source.notices)
        plan = ClipPlan(count, size, tuple(shots), tuple(holed), seekable, notices, info.bit_depth)
    return Prepared(key, snapshot, plan, time.perf_counter() - started)


def _extend_runs(runs: list[tuple[int, int]], index: int) -> None:
    if runs and runs[-1][1] == index - 1:
        runs[-1] = (runs[-1][0], index)
    else:
        runs.append((index, index))


def _is_seekable(source: ClipSource, options: InpaintOptions, count: int) -> bool:
    """Whether jumping to a frame gives the frame of that number: not for damaged files or those without time stamps."""
    if source.reader.info.is_folder:
        return True
    if source.reader.notices:
        return False
    part = source.reader.info.cut
    if part is not None and not part.seekable:
        return False
    try:
        with video.open_random_access(options.video, size=options.size, span=options.span, exact=False) as access:
            return len(access) == count
    except InputError:
        return False


def _write_segments(
    folder: Path, segments: tuple[Segment, ...], frames: Iterator[FinishedFrame], emit: Emit
) -> Iterator[int]:
    """Store the frames of consecutive segments; yields 1 a frame. A segment is announced when it is safe on the
    disk."""
    for segment in segments:
        try:
            with SegmentWriter(folder, segment) as writer:
                for _ in range(segment.start, segment.stop):
                    finished = next(frames, None)
                    if finished is None:
                        raise InputError(
                            f"the clip ended before frame {segment.stop - 1}: it was changed while it was filled"
                        )
                    writer.add(finished)
                    yield 1
        except OSError as error:
            raise _named(error, segment_path(folder, segment)) from error
        emit("segment", segment)


def _named(error: OSError, path: Path) -> OSError | InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return InputError(f"no space left for the segment {path}: free some, or choose another folder with --state")
    return error


def join(task: Task, emit: Emit) -> Summary:
    """Write the output from the source and the stored fills, and publish it. Nothing is left under its name
    otherwise."""
    assert task.plan is not None
    started = time.perf_counter()
    options, plan = task.job.options, task.plan
    remove_leftovers(options, task.leftovers)
    folder = segment_folder(task.folder, task.arithmetic or "")
    report = Reporter(emit, plan.frames)
    with ExitStack() as stack:
        source = stack.enter_context(ClipSource(options))
        fills = stack.enter_context(StoredFills(folder, task.segments))
        announcing = partial(announce, task.folder, replaceable=task.replaceable)
        output = stack.enter_context(ClipOutput(options, source.reader.info, before_publishing=announcing))
        shown = typical_frame(plan) if task.thumbnail is not None else None
        for item in source.read():
            finished = fills.finish(item)
            output.write(finished)
            if item.frame.index == shown and task.thumbnail is not None:
                save_thumbnail(task.thumbnail, finished, source.reader.info.rotation)
            report(output.frames)
        # Checked before the output gets its name: half of one input and half of another must not be published.
        if output.frames != plan.frames or fingerprint.snapshot(options) != task.snapshot:
            raise InputError(f"the inputs of {task.job.name} were changed while it ran: run the batch again")
    checked = output.verify() if options.verify else ()
    filled = max(task.filled, key=lambda f: f.peak_memory, default=None)
    return output.summary(
        seconds=task.seconds + time.perf_counter() - started,
        peak_memory=filled.peak_memory if filled else 0,
        peak_memory_of=filled.peak_memory_of if filled else "process",
        device=filled.device if filled else "none: there was nothing to fill",
        deform_backend=filled.deform if filled else "none",
        precision=filled.precision if filled else "",
        weights=filled.weights if filled else options.weights,
        notices=tuple(dict.fromkeys((*plan.notices, *source.notices, *output.notices, *checked))),
    )


def remove_leftovers(options: InpaintOptions, pids: tuple[int, ...]) -> None:
    """Unfinished outputs of earlier workers that were killed: known by their process numbers."""
    from ..system.publication import remove_stale

    for target in fingerprint.outputs_of(options):
        remove_stale(target, frozenset(pids))


def describe_failure(error: BaseException) -> Failure:
    """What to tell the driver of an error. Only what the user has to change is final."""
    if isinstance(error, DamagedSegmentError):
        return Failure(str(error), EXIT_FAILED, False)
    if isinstance(error, UserError):
        return Failure(str(error), error.exit_code, True)
    text = str(error)
    if (no_memory := out_of_memory(error)) is not None:
        return Failure(
            f"out of memory: {no_memory} (use fewer --max-references or a smaller --size)", EXIT_DEVICE, False
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure(f"no space left on the device for {error.filename or 'the output'}", EXIT_INPUT, True)
    return Failure(f"{type(error).__name__}: {text}" if text else type(error).__name__, EXIT_FAILED, False)
