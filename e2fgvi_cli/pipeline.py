"""The main job: files in, files out. Orchestration only; no Typer, no printing.

`Inpainting` is one run, an iterator of finished frames that writes the output as it is iterated; `inpaint` runs one to
its end.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from threading import Event
from types import TracebackType

from . import video
from .engine import (
    Assembled,
    Engine,
    assemble,
    begin_with_triton,
    peak_memory,
    run_settings,
    select_device,
    total_memory,
)
from .errors import EXIT_INTERRUPTED, UserError
from .fill.progress import RunProgress, WatchedEngine
from .fill.sharing import HELD_BYTES, fill_rest_on
from .fill.smoothing import smooth
from .fill.stream import Proposed, WindowEngine, fill_rest, propose
from .frames.stages import FinishedFrame, HoledFrame
from .options import InpaintOptions
from .outputs import ClipOutput
from .propagation.query import Lookup
from .threads.ahead import ReadAhead
from .threads.opencv import one_thread_a_call
from .types import Frame, HoleArray, Progress, Summary
from .video.reading.shots import judge, split_shots
from .weights.known import resolve

FRAMES_AHEAD = 8
"""Frames with their holes that are ready before they are asked for: more than a window's hop."""

PROPOSED_AHEAD = 16
"""Frames with what others show of them that are ready before they are asked for: image propagation goes on while the
network captures a graph, which takes as long as these."""

HELD_SHARE = 8
"""One part of so many of the machine's memory may hold frames for several devices: the longer their pieces, the fewer
cuts."""

OnProgress = Callable[[Progress], None]
OnNotice = Callable[[str], None]


class CancelledError(UserError):
    """The caller's `cancel` event was set; nothing was left under the output's name."""

    exit_code = EXIT_INTERRUPTED


def inpaint(
    options: InpaintOptions, *, on_progress: OnProgress | None = None, on_notice: OnNotice | None = None
) -> Summary:
    """Fill the holes of a clip and write the result. Everything cheap to check is checked before the network is built.

    `on_notice` receives sentences as they become true (device, weights, what was assumed of the input). Raises the
    errors of `errors.py`; whatever is raised, nothing unfinished is left under the output's name.
    """
    return Inpainting(options, on_progress=on_progress, on_notice=on_notice).finish()


class Inpainting:
    """One run. Iterating yields each `FinishedFrame` once; the output is published when the last one has been taken.

    Stopping earlier (break, an exception, `close`) leaves nothing behind. Raises the errors of `e2fgvi_cli.errors`.
    A yielded frame may not be written yet: copy its arrays before changing them.
    write: False only yields the frames. on_progress is called after every frame, on_notice with sentences, both in the
    thread that iterates. cancel: once set (from any thread), `CancelledError` is raised at the next
    frame that is read, searched for, encoded or finished.
    """

    def __init__(
        self,
        options: InpaintOptions,
        *,
        write: bool = True,
        on_progress: OnProgress | None = None,
        on_notice: OnNotice | None = None,
        cancel: Event | None = None,
    ) -> None:
        self.options = options
        self._write, self._cancel = write, cancel
        self._on_progress, self._on_notice = on_progress, on_notice
        self._notices: list[str] = []
        self._summary: Summary | None = None
        self._progress: RunProgress | None = None
        self._frames = self._run()

    def __iter__(self) -> Iterator[FinishedFrame]:
        return self._frames

    def __enter__(self) -> Inpainting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up what is not finished. Does nothing after the last frame."""
        self._frames.close()

    def finish(self) -> Summary:
        """Take all frames that are left, publish the output, and return what was done."""
        for _ in self._frames:
            pass
        return self.summary

    @property
    def progress(self) -> Progress:
        """How far the run is. May be asked for by any thread, while another waits for a frame."""
        return Progress(0, None) if self._progress is None else self._progress.snapshot()

    @property
    def summary(self) -> Summary:
        """What was done. Raises `RuntimeError` before the last frame has been taken."""
        if self._summary is None:
            raise RuntimeError("the run is not finished: take all its frames first, or call finish()")
        return self._summary

    def _notice(self, *sentences: str) -> None:
        """Pass on each sentence once, and keep it for the summary."""
        for sentence in sentences:
            if sentence not in self._notices:
                self._notices.append(sentence)
                if self._on_notice is not None:
                    self._on_notice(sentence)

    def _go_on(self, output: ClipOutput) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise CancelledError(f"cancelled after {output.frames} frames: nothing was left as {self.options.output}")

    def _run(self) -> Generator[FinishedFrame, None, None]:
        started = time.perf_counter()
        options = self.options
        if self._write:
            options.check_paths()
        resolve(options.weights)
        devices = [select_device(name) for name in options.devices or (options.device,)]
        begin_with_triton(devices)
        with ExitStack() as stack:
            reader = stack.enter_context(video.open_reader(options.video, size=options.size, span=options.span))
            output = ClipOutput(options, reader.info, write=self._write)
            holes = stack.enter_context(video.open_holes(options.mask, reader.info, options.masking))
            size, depth = (reader.info.height, reader.info.width), reader.info.bit_depth
            stack.enter_context(run_settings(options, devices, depth))
            self._progress = RunProgress(
                reader.info.frame_count,
                devices[0].type,
                propagation=options.windows.propagation is not None,
                go_on=lambda: self._go_on(output),
            )
            every: list[Assembled] = []

            def ready() -> list[Engine]:
                every.extend(assemble(options, name, size, depth) for name in options.devices or (options.device,))
                self._notice(*itertools.chain.from_iterable(one.notices for one in every))
                self._notice(*video.part_said(reader.info), *reader.notices, *holes.notices)
                stack.enter_context(output)
                self._notice(*output.notices)  # what will be left out, before the work
                return [one.engine for one in every]

            for finished in _finished_frames(reader, holes.hole_at, ready, options, self._progress):
                self._go_on(output)
                output.write(finished)
                if self._on_progress is not None:
                    self._on_progress(self.progress)
                yield finished
            output.require_frames()
        self._notice(
            *reader.notices,
            *holes.notices,
            *output.notices,
            *itertools.chain.from_iterable(one.engine.notices for one in every),
        )
        if options.verify and self._write:
            self._notice(*output.verify())
        self._summary = output.summary(
            seconds=time.perf_counter() - started,
            peak_memory=max(peak_memory(one.device) for one in every),
            peak_memory_of="GPU" if devices[0].type == "cuda" else "process",
            device=", ".join(one.description for one in every),
            deform_backend=every[0].deform,
            precision=every[0].precision,
            weights=str(every[0].weights),
            notices=tuple(self._notices),
        )
        output.write_report(self._summary)


def describe_plan(options: InpaintOptions) -> list[str]:
    """What `--plan` prints: memory and time for whole frames, which is the most that any crop of them can need.

    Opens the clip for its size, and measures a few windows. Raises what a run would.
    """
    from .engine import plan_only
    from .system.paths import check_paths

    check_paths(options.writes(), options.reads())
    with video.open_reader(options.video, size=options.size, span=options.span) as reader:
        info = reader.info
        device = select_device((options.devices or (options.device,))[0])
        with run_settings(options, [device], info.bit_depth):
            return plan_only(options, (info.height, info.width), info.bit_depth, info.frame_count)


def finished_frames(
    frames: Iterable[Frame],
    hole_at: Callable[[Frame], HoleArray],
    engines: Sequence[WindowEngine],
    options: InpaintOptions,
    progress: RunProgress | None = None,
) -> Iterator[FinishedFrame]:
    """A frame's way: read with its hole, what other frames show of it is proposed, the rest is filled by the network.

    Finished frames come in order, shot by shot, as soon as no later window can change them. Several engines share each
    shot. A finished frame is pasted and written by whoever takes it (`outputs`). progress: counts the stations.
    """
    progress = progress or RunProgress(None, "cpu", propagation=True)
    return _finished_frames(frames, hole_at, lambda: engines, options, progress)


def _finished_frames(
    frames: Iterable[Frame],
    hole_at: Callable[[Frame], HoleArray],
    ready: Callable[[], Sequence[WindowEngine]],
    options: InpaintOptions,
    progress: RunProgress,
) -> Iterator[FinishedFrame]:
    """ready: gives the engines, once; the first frames are read and aligned meanwhile."""

    def read() -> Iterator[HoledFrame]:
        for frame in frames:
            yield HoledFrame.masked(frame, hole_at(frame), options.masking.feather)

    def judged() -> Iterator[tuple[HoledFrame, bool]]:
        items = progress.counted(read(), "read")
        return judge(items, lambda item: item.frame.rgb) if options.detect_cuts else ((item, False) for item in items)

    with one_thread_a_call(), ExitStack() as stack:
        # Decoding, masks, holes and cuts in a thread of their own: the network must not wait for them.
        ahead = ReadAhead(judged, FRAMES_AHEAD, "holes-ahead")
        stack.callback(ahead.close)
        finished, engines = 0, None
        for shot in split_shots(ahead):
            coming: Future[Lookup | None] = Future()
            with _proposed(shot, coming, options, progress, finished) as proposed:
                engines = engines or ready()
                coming.set_result(engines[0].lookup())
                if len(engines) == 1:
                    filled = fill_rest(proposed, WatchedEngine(engines[0], progress.reach, finished), options.windows)
                else:
                    held = max(HELD_BYTES, total_memory(select_device("cpu")) // HELD_SHARE)
                    filled = fill_rest_on(engines, proposed, options.windows, held=held)
                for frame in smooth(filled, options.windows.smoothing):
                    finished += 1
                    progress.finish(finished)
                    yield frame
        if engines is None:  # no frames: whoever takes them says so
            ready()


@contextmanager
def _proposed(
    shot: Iterable[HoledFrame],
    lookup: Future[Lookup | None],
    options: InpaintOptions,
    progress: RunProgress,
    first: int,
) -> Iterator[Iterable[Proposed]]:
    """The frames of a shot, from `first` of the clip on, with what others show of them: by a thread of its own, where
    that is work."""
    proposed = progress.counted(propose(shot, options.windows, lookup), "found", first)
    if options.windows.propagation is None:
        yield proposed
        return
    ahead = ReadAhead(lambda: proposed, PROPOSED_AHEAD, "propagation-ahead")
    try:
        yield ahead
    finally:
        lookup.cancel()  # where it never came, nobody waits for it any more
        ahead.close()
