"""What a run costs the host when the network costs nothing: `python -m measurements.host --sizes 432x240,1920x1080`.

Decoding, masks, cuts, windows, blending into the source's format and encoding, all as `e2fgvi inpaint` does them, with
an engine that predicts black at once; image propagation on request, its lookups by OpenCV or as a device that costs
nothing would answer them. A device that is faster than this waits for its host. The driving thread's share matters by
itself: it is the one that launches the network's kernels.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from e2fgvi_cli import video
from e2fgvi_cli.bench.synthetic import SyntheticClip, write_clip
from e2fgvi_cli.fill.blending import Blender, Prediction
from e2fgvi_cli.fill.options import SmoothingOptions, WindowOptions
from e2fgvi_cli.options import InpaintOptions
from e2fgvi_cli.outputs import ClipOutput
from e2fgvi_cli.pipeline import finished_frames
from e2fgvi_cli.propagation import propagate as image_propagation
from e2fgvi_cli.propagation.options import PropagationOptions
from e2fgvi_cli.propagation.query import Answer, Lookup, Query
from e2fgvi_cli.types import Box, HoleArray, PixelArray, Window


@dataclass(frozen=True)
class HostTime:
    """Seconds a frame: by the clock, of all cores together, and of the thread that drives the engine (waiting not
    counted)."""

    wall: float
    cpu: float
    driver: float


class _NoBlender:
    """Hands out black."""

    def __init__(self) -> None:
        self._boxes: dict[int, Box] = {}

    def to_numpy(self, rgb: Any) -> NDArray[np.float32]:
        raise AssertionError("no prediction is ever looked at")

    def add(
        self, index: int, box: Box, prediction: Prediction[Any], weight: float, ramp: NDArray[np.float32] | None = None
    ) -> None:
        self._boxes[index] = box

    def finish(self, index: int, dtype: np.dtype[Any]) -> Callable[[], PixelArray]:
        box = self._boxes.pop(index)
        return lambda: np.zeros((box[2] - box[0], box[3] - box[1], 3), dtype)


def _black(query: Query) -> Answer:
    """Everything is found at once, and black. All neighbours are waited for."""
    list(query.others)
    count = int(query.need.sum())
    few, none = np.full(count, query.options.candidates, np.int64), np.zeros(count, np.float32)
    return Answer(np.zeros((count, 3), query.view.rgb.dtype), few, none)


class NoEngine:
    """A `fill.stream.WindowEngine` that reads what the real one reads and computes nothing."""

    size_multiple = (60, 108)
    max_pixels = None

    def __init__(self, *, looks_up: bool) -> None:
        self._looks_up = looks_up

    def blender(self) -> Blender:
        return _NoBlender()

    def lookup(self) -> Lookup | None:
        return _black if self._looks_up else None

    def start_shot(self) -> None: ...

    def use_crops(self, crops: Iterable[Box]) -> None: ...

    def forget(self, before: int, keep: Callable[[int], bool]) -> None: ...

    def fill(
        self,
        window: Window,
        frame: Callable[[int], tuple[PixelArray, HoleArray]],
        crop: Box,
        wanted: Sequence[tuple[int, Box]],
    ) -> list[tuple[int, Prediction[Any]]]:
        return [(i, Prediction(box, None)) for i, box in wanted]

    fill_whole_window = fill


def measure_host(
    size: tuple[int, int],
    frames: int,
    *,
    hole_share: float = 0.1,
    propagation: PropagationOptions | None = None,
    smoothing: SmoothingOptions | None = None,
    looks_up: bool = False,
) -> HostTime:
    """One run over a synthetic clip of `size` (height, width), H.264 in and out, masks as a lossless video.

    looks_up: image propagation's lookups are a device's, which takes no time for them.
    """
    with tempfile.TemporaryDirectory() as folder:
        film, mask = write_clip(SyntheticClip(size, frames, hole_share), Path(folder))
        windows = WindowOptions(propagation=propagation, smoothing=smoothing)
        options = InpaintOptions(film, mask, Path(folder) / "out.mp4", windows=windows)
        wall, cpu, driver = time.perf_counter(), os.times(), time.thread_time()
        with (
            video.open_reader(film) as reader,
            video.open_holes(mask, reader.info, options.masking) as holes,
            ClipOutput(options, reader.info) as output,
        ):
            for finished in finished_frames(reader, holes.hole_at, [NoEngine(looks_up=looks_up)], options):
                output.write(finished)
        after = os.times()
        return HostTime(
            (time.perf_counter() - wall) / frames,
            (after.user + after.system - cpu.user - cpu.system) / frames,
            (time.thread_time() - driver) / frames,
        )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="432x240,1920x1080", help="WxH, separated by commas")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--hole", type=float, default=0.1, help="share of the frame")
    parser.add_argument("--image-propagation", action="store_true", help="with it, as inpaint has by default")
    parser.add_argument("--temporal-smoothing", action="store_true", help="with that, as inpaint has by default")
    parser.add_argument("--looked-up", action="store_true", help="and a device that answers its lookups at once")
    parser.add_argument(
        "--workers", type=int, help="threads of image propagation, left out: as many as the program has"
    )
    parser.add_argument("--repeats", type=int, default=3, help="the fastest by the clock is printed")
    given = parser.parse_args()
    if given.workers is not None:
        image_propagation.WORKERS = given.workers
    say = Console().print
    say(f"{os.cpu_count()} cores; ms a frame, {given.frames} frames, best of {given.repeats}")
    for text in given.sizes.split(","):
        width, height = map(int, text.split("x"))
        propagation = PropagationOptions() if given.image_propagation else None
        times = [
            measure_host(
                (height, width),
                given.frames,
                hole_share=given.hole,
                propagation=propagation,
                smoothing=SmoothingOptions() if given.temporal_smoothing else None,
                looks_up=given.looked_up,
            )
            for _ in range(given.repeats)
        ]
        best = min(times, key=lambda t: t.wall)
        wall, cpu, driver = (f"{seconds * 1000:.2f}" for seconds in (best.wall, best.cpu, best.driver))
        say(f"{text}: {wall} by the clock, {cpu} of all cores, {driver} of the driving thread")


if __name__ == "__main__":
    main()
