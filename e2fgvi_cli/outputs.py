"""Where finished frames go: the clip itself, a folder of frames, before/after pictures, the score against a
reference."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from . import masks, video
from .errors import InputError
from .frames.stages import FinishedFrame
from .options import InpaintOptions
from .system.interrupts import deferred
from .system.publication import Publication, replace_file
from .threads.behind import WriteBehind
from .types import AlphaArray, Frame, Summary, VideoInfo
from .video.span import Moment, Span
from .video.writing.codecs import choose

if TYPE_CHECKING:
    from .report.collector import Collector

FRAMES_BEHIND = 4
"""Frames that may wait for being blended and encoded: most of a window's, so that starting the next one does not wait
for them."""


class ClipOutput:
    """Everything one run writes. Context manager.

    Making one checks the targets (see `video.check_output`), entering it opens them, leaving it cleanly publishes them;
    leaving it with an exception leaves nothing behind. `write=False` only scores. Frames are written by a thread.
    before_publishing: see `Publication`.
    """

    def __init__(
        self,
        options: InpaintOptions,
        info: VideoInfo,
        *,
        write: bool = True,
        before_publishing: Callable[[list[tuple[Path, Path]]], None] | None = None,
    ) -> None:
        self.frames = 0
        self.filled = 0
        self._options, self._info = options, info
        self._targets = _targets(options) if write else []
        self._stack = ExitStack()
        self._before_publishing = before_publishing
        self._writers: list[video.FrameWriter] = []
        self._comparing = write and options.comparison is not None
        self._collector: Collector | None = None
        if write and options.report is not None:
            from .report.collector import Collector

            self._collector = Collector(info.rotation)
        for target, encoding in self._targets:
            video.check_output(target, info, encoding)
        if self._comparing:
            from .comparison import check_comparison

            assert options.comparison is not None
            check_comparison(options.comparison, info)

    def __enter__(self) -> ClipOutput:
        # Opening and publishing are short, and an interruption in the middle of them would leave a part.
        with deferred(), ExitStack() as opening:
            self._open(opening)
            self._stack = opening.pop_all()
        return self

    def _open(self, stack: ExitStack) -> None:
        options = self._options
        # Entered first and so left last: the results get their names together, when all of them are complete.
        self._publication = stack.enter_context(Publication(self._before_publishing))
        self._reference = (
            stack.enter_context(_Reference(options.reference, options.size, self._info)) if options.reference else None
        )
        self._writers = [
            stack.enter_context(video.open_writer(target, self._info, encoding, self._publication))
            for target, encoding in self._targets
        ]
        self._comparison = None
        if self._comparing and options.comparison:
            from .comparison import ComparisonWriter

            self._comparison = stack.enter_context(ComparisonWriter(options.comparison, self._info, self._publication))
        self._behind = WriteBehind(self._write_now, FRAMES_BEHIND)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._behind.finish()
        except BaseException:
            with deferred():
                self._stack.__exit__(*sys.exc_info())
            raise
        with deferred():
            if kind is not None:
                self._behind.abandon()
            self._stack.__exit__(kind, error, trace)

    def write(self, finished: FinishedFrame) -> None:
        """Append one frame; they come in order. What is wrong with writing one may be raised by a later call, or on
        leaving."""
        self._behind.put(finished)
        self.frames += 1
        self.filled += finished.inside is not None

    def _write_now(self, finished: FinishedFrame) -> None:
        source = finished.source
        for writer in self._writers:
            if finished.inside is None:
                writer.write(source.frame, None, None)
            else:
                writer.write(source.frame, finished.inside.get(), source.alpha, source.box)
        if self._comparison is not None:
            self._comparison.write(source.frame, source.hole, finished.rgb)
        if self._reference is not None:
            self._reference.add(finished)
        if self._collector is not None:
            self._collector.add(finished)

    def require_frames(self) -> None:
        """Raise `InputError` if nothing was written; to be called inside the context, so that nothing is published."""
        if not self.frames:
            raise InputError(f"{self._options.video} has no frame that can be decoded: check the file with a player")

    @property
    def notices(self) -> tuple[str, ...]:
        """What the writers left out, and that there was nothing to fill."""
        said = tuple(sentence for writer in self._writers for sentence in writer.notices)
        if self._comparison is not None:
            said += tuple(self._comparison.notices)
        if self.filled or not self.frames:
            return said
        nothing = (
            "no frame has a hole: the clip passed through unchanged (is the mask inverted, or its threshold too high?)"
        )
        return (*said, nothing)

    def write_report(self, summary: Summary) -> None:
        """The page of `options.report`, after all else is published. Raises `InputError`."""
        if self._collector is None or self._options.report is None:
            return
        from .report.run_page import render_run

        target, options = self._options.report, self._options
        text = render_run(self._collector, summary, options.described(), options.video)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_file(target, text)
        except OSError as error:
            raise InputError(f"the report {target} cannot be written: {error.strerror or error}") from error

    def verify(self) -> tuple[str, ...]:
        """Re-read the published output and say how it compares with the source outside the holes, in sentences."""
        options = self._options
        with video.open_holes(options.mask, self._info, options.masking) as holes:

            def alpha_at(frame: Frame) -> AlphaArray:
                return masks.feather_alpha(holes.hole_at(frame), options.masking.feather)

            rate = options.encoding.frame_rate
            retimed = rate is not None and rate != self._info.frame_rate
            found = video.verify(options.output, self._info, alpha_at, retimed=retimed)
        encoding = choose(options.output, self._info, options.encoding)
        facts = (
            f"verified: {found.output_frames} frames, {float(found.output_seconds):.2f} s; "
            f"largest difference outside the hole: {found.largest_difference} ({found.units})"
        )
        default_quality = options.encoding.crf is None and options.encoding.bitrate is None
        usual = found.about_the_codec(encoding, default_quality=default_quality)
        problems = found.problems(lossless=encoding.lossless)
        return (f"{facts}. {usual}" if usual else facts, *(f"warning: {problem}" for problem in problems))

    def summary(
        self,
        *,
        seconds: float,
        peak_memory: int,
        peak_memory_of: str,
        device: str,
        deform_backend: str,
        precision: str,
        weights: str,
        notices: tuple[str, ...],
    ) -> Summary:
        """What was written, with what the caller knows of how."""
        return Summary(
            output=str(self._options.output),
            frames=self.frames,
            filled=self.filled,
            seconds=seconds,
            peak_memory=peak_memory,
            peak_memory_of=peak_memory_of,
            device=device,
            deform_backend=deform_backend,
            precision=precision,
            weights=weights,
            size=(self._info.height, self._info.width),
            notices=notices,
            scores=self._reference.summary() if self._reference is not None else {},
        )


def _targets(options: InpaintOptions) -> list[tuple[Path, video.OutputOptions]]:
    targets = [(options.output, options.encoding)]
    if options.frames_dir is not None:
        targets.append((options.frames_dir, video.OutputOptions(codec="png", overwrite=options.encoding.overwrite)))
    return targets


class _Reference:
    """The true background, read in step with the result and scored inside the hole."""

    def __init__(self, path: Path, size: tuple[int, int] | None, info: VideoInfo) -> None:
        from .quality.metrics import ClipScore

        self._path = path
        self._reader = video.open_reader(path, size=size)
        if info.cut is not None and self._reader.info.frame_count != info.frame_count:  # it is of the whole clip
            last = info.cut.first + (info.frame_count or 1) - 1
            span = Span(Moment(frame=info.cut.first), Moment(frame=last))
            self._reader = video.open_reader(path, size=size, span=span)
        self._score = ClipScore()

    def __enter__(self) -> _Reference:
        self._frames = iter(self._reader.__enter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.__exit__(kind, error, trace)

    def add(self, finished: FinishedFrame) -> None:
        """Score one frame. Raises `InputError` if the reference is shorter than the clip."""
        frame = finished.source.frame
        truth = next(self._frames, None)
        if truth is None:
            raise InputError(
                f"the reference {self._path} ends before frame {frame.index}: it needs a frame for each of the clip's"
            )
        self._score.add(finished.rgb, truth.rgb, finished.source.hole)

    def summary(self) -> dict[str, float]:
        """The measures that exist: none of them without a hole."""
        return {k: float(v) for k, v in asdict(self._score.summary()).items() if v is not None}
