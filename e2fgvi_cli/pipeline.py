"""The main job: files in, files out. Orchestration only; no Typer, no printing.

`inpaint` runs a whole job; `finished_frames` is the generator inside it, for whoever wants the frames themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from . import masks, video
from .bench.metrics import ClipScore
from .engine import Engine, build_engine, choose_deform, describe_device, peak_memory, read_weights, select_device
from .errors import InputError
from .options import InpaintOptions
from .streaming import FinishedFrame, HoledFrame, fill_shot
from .types import Frame, HoleArray, Progress, Summary
from .weights import resolve

OnProgress = Callable[[Progress], None]
OnNotice = Callable[[str], None]


def _ignore(_: object) -> None:
    pass


def inpaint(options: InpaintOptions, *, on_progress: OnProgress = _ignore, on_notice: OnNotice = _ignore) -> Summary:
    """Fill the holes of a clip and write the result. Everything cheap to check is checked before the network is built.

    `on_notice` receives sentences as they become true (device, weights, what was assumed of the input). Raises the
    errors of `errors.py`; whatever is raised, nothing unfinished is left under the output's name.
    """
    started = time.perf_counter()
    notices: list[str] = []

    def notice(text: str) -> None:
        if text not in notices:
            notices.append(text)
            on_notice(text)

    weights_path = resolve(options.weights)
    device = select_device(options.device)
    with ExitStack() as stack:
        reader = stack.enter_context(video.open_reader(options.video, size=options.size))
        for target, encoding in _targets(options):
            video.check_output(target, reader.info, encoding)
        holes = stack.enter_context(video.open_holes(options.mask, reader.info, options.masking))
        reference = stack.enter_context(_Reference(options.reference, options.size)) if options.reference else None
        deform = choose_deform(options.deform, device)
        engine = build_engine(read_weights(weights_path), device, deform)
        if device.type == "cpu" and options.device == "auto":
            notice(
                "no GPU that torch can use was found: running on the CPU, which takes seconds a frame (see `e2fgvi check-env`)"
            )
        if deform.name != "torchvision":
            notice(f"deformable convolution: {deform.name} backend ({deform.reason})")
        on_notice(
            f"weights: {weights_path.name} (SPyNet inside); device: {describe_device(device)}; deformable convolution: {deform.name}"
        )
        for sentence in (*reader.notices, *holes.notices):
            notice(sentence)
        writers = [
            stack.enter_context(video.open_writer(target, reader.info, encoding))
            for target, encoding in _targets(options)
        ]
        done = filled = 0
        size = (reader.info.height, reader.info.width)
        for finished in finished_frames(reader, holes.hole_at, engine, options):
            source = finished.source
            for writer in writers:
                writer.write(source.frame, finished.filled, source.alpha if finished.filled is not None else None)
            if reference is not None:
                reference.add(finished)
            done += 1
            filled += finished.filled is not None
            on_progress(Progress(done, reader.info.frame_count))
        for sentence in (*reader.notices, *holes.notices):
            notice(sentence)
        if not done:
            raise InputError(f"{options.video} has no frame that can be decoded: check the file with a player")
    if not filled:
        notice(
            "no frame has a hole: the clip passed through unchanged (is the mask inverted, or its threshold too high?)"
        )
    return Summary(
        output=str(options.output),
        frames=done,
        filled=filled,
        seconds=time.perf_counter() - started,
        peak_memory=peak_memory(device),
        peak_memory_of="GPU" if device.type == "cuda" else "process",
        device=describe_device(device),
        deform_backend=deform.name,
        weights=str(weights_path),
        size=size,
        notices=tuple(notices),
        scores=reference.summary() if reference is not None else {},
    )


def finished_frames(
    frames: Iterator[Frame] | video.FrameReader,
    hole_at: Callable[[Frame], HoleArray],
    engine: Engine,
    options: InpaintOptions,
) -> Iterator[FinishedFrame]:
    """Finished frames in order, shot by shot, as soon as no later window can change them."""
    feather = options.masking.feather

    def with_hole(frame: Frame) -> HoledFrame:
        hole = hole_at(frame)
        return HoledFrame.of(frame, hole, masks.feather_alpha(hole, feather))

    stream = map(with_hole, frames)
    yield from fill_shot(stream, engine, options.windows)


def _targets(options: InpaintOptions) -> list[tuple[Path, video.OutputOptions]]:
    targets = [(options.output, options.encoding)]
    if options.frames_dir is not None:
        targets.append((options.frames_dir, video.OutputOptions(codec="png", overwrite=options.encoding.overwrite)))
    return targets


class _Reference:
    """The true background, read in step with the result and scored inside the hole."""

    def __init__(self, path: Path, size: tuple[int, int] | None) -> None:
        self._path = path
        self._reader = video.open_reader(path, size=size)
        self._score = ClipScore()

    def __enter__(self) -> _Reference:
        self._frames = iter(self._reader.__enter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.__exit__(kind, error, trace)

    def add(self, finished: FinishedFrame) -> None:
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
