"""What sharing a clip between devices can bring at most: `python -m e2fgvi_cli.bench.sharing --frames 800,2000`.

The program's own sharing (`sharing.fill_shot_on`) with sleeps in place of work: reading, computing and writing take the milliseconds a frame
that were measured elsewhere, and each device's first windows a capture, one device at a time. No two sleeps are in each other's way, so what
is lost is lost by where clips are cut, what is computed twice, and whoever has to wait for frames.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from threading import Lock
from typing import Any

import numpy as np
from rich.console import Console

from ..compose import Blender, Box, Prediction, WeightedBlender
from ..crops import CropOptions
from ..sharing import fill_shot_on
from ..streaming import HoledFrame, WindowOptions, fill_shot
from ..types import Frame, HoleArray, PixelArray, Window
from .host import NoEngine

CAPTURED = (1, 3)
"""Windows of a device before which something is captured: at the first frames are encoded in the number that is most at a time, the third
is the second of the shape of nearly all."""


@dataclass(frozen=True)
class Pace:
    """Seconds: reading, computing and writing a frame, one capture, and beginning a piece (frames encoded anew, predictions handed over)."""

    read: float
    compute: float
    write: float
    capture: float = 0.0
    begin: float = 0.0


@dataclass(frozen=True)
class SharedTime:
    """Seconds of a run, those until a quarter of the frames was written, and the windows that each device computed."""

    whole: float
    quarter: float
    windows: tuple[int, ...]


class _Sleeper(NoEngine):
    def __init__(self, pace: Pace, options: WindowOptions, capturing: Lock) -> None:
        super().__init__(looks_up=False)
        self.windows = 0
        self._pace, self._hop, self._capturing = pace, options.neighbor_stride, capturing

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
        if self._pace.capture and self.windows in CAPTURED:
            with self._capturing:
                time.sleep(self._pace.capture)
        time.sleep(self._pace.compute * self._hop)
        return [(i, Prediction(b, np.zeros((b[2] - b[0], b[3] - b[1], 3), np.float32))) for i, b in wanted]


def measure_sharing(frames: int, devices: int, pace: Pace, held: int) -> SharedTime:
    """One run over `frames` frames (at least four) with a hole each, of which `held` may be read and not yet written."""
    hole = np.ones((4, 4), np.uint8)

    items = [HoledFrame.of(Frame(i, np.zeros((4, 4, 3), np.uint8), Fraction(i)), hole, hole) for i in range(frames)]

    def source() -> Iterator[HoledFrame]:
        for item in items:
            time.sleep(pace.read)
            yield item

    options = WindowOptions(crops=CropOptions(enabled=False))
    capturing = Lock()
    engines = [_Sleeper(pace, options, capturing) for _ in range(devices)]
    if devices == 1:  # noqa: SIM108 (on one line it is no shorter)
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
    parser.add_argument("--read", type=float, default=15, help="ms a frame")
    parser.add_argument("--compute", type=float, default=48.4, help="ms a frame on one device")
    parser.add_argument("--write", type=float, default=15, help="ms a frame")
    parser.add_argument("--capture", type=float, default=0, help="ms, twice a device")
    parser.add_argument("--begin", type=float, default=0, help="ms a piece")
    parser.add_argument("--held", type=int, default=2000, help="frames that may be read and not yet written")
    parser.add_argument(
        "--faster", type=float, default=4, help="all sleeps are so many times as short; what is printed is not"
    )
    given = parser.parse_args()
    pace = Pace(
        *(ms / 1000 / given.faster for ms in (given.read, given.compute, given.write, given.capture, given.begin))
    )
    say = Console().print
    for frames in map(int, given.frames.split(",")):
        run = measure_sharing(frames, given.devices, pace, given.held)
        whole, quarter = run.whole * given.faster, run.quarter * given.faster
        # One device alone hides reading and writing behind its work.
        alone = frames * max(given.read, given.compute, given.write) / 1000
        say(
            f"{frames} frames: {whole:.1f} s, {alone / whole:.2f} times one device's {alone:.1f} s of work; the first quarter after {quarter:.1f} s; "
            f"windows {' + '.join(map(str, run.windows))}"
        )


if __name__ == "__main__":
    main()
