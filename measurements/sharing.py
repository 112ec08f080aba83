"""What sharing a clip between devices can bring at most: `python -m measurements.sharing --frames 800,2000`.

The program's own sharing (`sharing.fill_shot_on`) with sleeps in place of work: reading, computing and writing take the
milliseconds a frame that were measured elsewhere, and each device's first windows so much more (kernels looked for, a
graph captured). No two sleeps are in each other's way, so what is lost is lost by where clips are cut, what is computed
twice, and whoever has to wait for frames.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from rich.console import Console

from e2fgvi_cli.fill.blending import Blender, Prediction, WeightedBlender
from e2fgvi_cli.fill.crops import CropOptions
from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.fill.sharing import fill_shot_on
from e2fgvi_cli.fill.stream import fill_shot
from e2fgvi_cli.frames.stages import HoledFrame
from e2fgvi_cli.types import Box, Frame, HoleArray, PixelArray, Window
from measurements.host import NoEngine

SLOW_WINDOWS = 2
"""A device's first windows, which take longer: the first of a shot is shorter than the others, so the second brings new
shapes, too."""


@dataclass(frozen=True)
class Pace:
    """Seconds: reading, computing and writing a frame, more for each of a device's first windows, and beginning a piece
    (frames encoded anew, predictions handed over)."""

    read: float
    compute: float
    write: float
    first: float = 0.0
    begin: float = 0.0


@dataclass(frozen=True)
class SharedTime:
    """Seconds of a run, those until a quarter of the frames was written, and the windows that each device computed."""

    whole: float
    quarter: float
    windows: tuple[int, ...]


class _Sleeper(NoEngine):
    def __init__(self, pace: Pace, options: WindowOptions) -> None:
        super().__init__(looks_up=False)
        self.windows = 0
        self._pace, self._hop = pace, options.neighbor_stride

    def blender(self) -> Blender:
        return WeightedBlender()

    def start_shot(self) -> None:
        time.sleep(self._pace.begin)

    def fill(
        self,
        window: Window,
        frame: Callable[[int], tuple[PixelArray, HoleArray]],
        crop: Box,
        wanted: Sequence[tuple[int, Box]],
    ) -> list[tuple[int, Prediction[Any]]]:
        self.windows += 1
        slow = self._pace.first if self.windows <= SLOW_WINDOWS else 0.0
        time.sleep(self._pace.compute * self._hop + slow)
        return [(i, Prediction(b, np.zeros((b[2] - b[0], b[3] - b[1], 3), np.float32))) for i, b in wanted]


def measure_sharing(frames: int, devices: int, pace: Pace, held: int) -> SharedTime:
    """One run over `frames` frames (at least four) with a hole each, of which `held` may be read and not yet
    written."""
    hole = np.ones((4, 4), np.uint8)

    items = [HoledFrame.of(Frame(i, np.zeros((4, 4, 3), np.uint8), Fraction(i)), hole, hole) for i in range(frames)]

    def source() -> Iterator[HoledFrame]:
        for item in items:
            time.sleep(pace.read)
            yield item

    options = WindowOptions(crops=CropOptions(enabled=False))
    engines = [_Sleeper(pace, options) for _ in range(devices)]
    if devices == 1:
        filled = fill_shot(source(), engines[0], options)
    else:
        filled = fill_shot_on(engines, source(), options, held=held * items[0].held_bytes)
    began = time.perf_counter()
    written = []
    for _ in filled:
        time.sleep(pace.write)
        written.append(time.perf_counter() - began)
    return SharedTime(written[-1], written[frames // 4 - 1], tuple(e.windows for e in engines))


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", default="800,2000", help="lengths, separated by commas")
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--read", type=float, default=8, help="ms a frame")
    parser.add_argument("--compute", type=float, default=53.1, help="ms a frame on one device")
    parser.add_argument("--write", type=float, default=8, help="ms a frame")
    parser.add_argument("--first", type=float, default=0, help="ms more for each of a device's first two windows")
    parser.add_argument("--begin", type=float, default=150, help="ms a piece")
    parser.add_argument("--held", type=int, default=2000, help="frames that may be read and not yet written")
    parser.add_argument(
        "--faster", type=float, default=4, help="all sleeps are so many times as short; what is printed is not"
    )
    given = parser.parse_args()
    pace = Pace(
        *(ms / 1000 / given.faster for ms in (given.read, given.compute, given.write, given.first, given.begin))
    )
    say = Console().print
    for frames in map(int, given.frames.split(",")):
        run = measure_sharing(frames, given.devices, pace, given.held)
        whole, quarter = run.whole * given.faster, run.quarter * given.faster
        # One device alone hides reading and writing behind its work.
        alone = frames * max(given.read, given.compute, given.write) / 1000
        say(
            f"{frames} frames: {whole:.1f} s, {alone / whole:.2f} times one device's {alone:.1f} s of work; the "
            f"first quarter after {quarter:.1f} s; windows {' + '.join(map(str, run.windows))}"
        )


if __name__ == "__main__":
    main()
