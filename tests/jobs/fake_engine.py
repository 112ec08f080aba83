"""A make-believe engine for workers: `BatchSettings(engine_module="tests.jobs.fake_engine")`. No torch, milliseconds a
window.

What it predicts for a frame is noise seeded by every pixel and hole of every frame of the window, in order: a window
planned or fed differently gives another picture altogether. The environment says how slow it is (E2FGVI_FAKE_SECONDS a
window) and which accidents happen (E2FGVI_FAKE_ACCIDENT, "KIND:FILE": once, while FILE exists, which is removed first).
"""

from __future__ import annotations

import os
import signal
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from e2fgvi_cli.fill.blending import Prediction, WeightedBlender
from e2fgvi_cli.frames.stages import HoledFrame
from e2fgvi_cli.jobs.engines import BuiltEngine
from e2fgvi_cli.options import InpaintOptions
from e2fgvi_cli.types import Box, Frame, Window

Pixels = Callable[[int], tuple[np.ndarray, np.ndarray]]


class FakeEngine:
    """Keeps a number a frame, as the real one keeps features, and trusts it when it is asked again."""

    def __init__(self) -> None:
        self.windows: list[Window] = []
        self._features: dict[tuple[Box, int], int] = {}
        self.size_multiple, self.max_pixels = (8, 8), None

    def blender(self) -> WeightedBlender:
        return WeightedBlender()

    def lookup(self) -> None:
        return None

    def start_shot(self) -> None:
        self._features.clear()

    def forget(self, before: int, keep: Callable[[int], bool]) -> None:
        self._features = {(box, i): f for (box, i), f in self._features.items() if i >= before or keep(i)}

    def use_crops(self, crops: Iterable[Box]) -> None:
        """Features of one crop say nothing of another's."""
        kept = set(crops)
        self._features = {(box, i): f for (box, i), f in self._features.items() if box in kept}

    def fill(
        self, window: Window, frame: Pixels, crop: Box, wanted: Sequence[tuple[int, Box]]
    ) -> list[tuple[int, Prediction]]:
        _accident()
        time.sleep(float(os.environ.get("E2FGVI_FAKE_SECONDS", "0")))
        self.windows.append(window)
        top, left, bottom, right = crop
        for i in window.frames:
            if (crop, i) not in self._features:
                rgb, hole = (picture[top:bottom, left:right] for picture in frame(i))
                self._features[crop, i] = zlib.crc32(rgb.tobytes(), zlib.crc32(hole.tobytes()))
        seed = [*crop, *(self._features[crop, i] for i in window.frames), len(window.local)]
        result = []
        for i, box in wanted:
            rng = np.random.default_rng([*seed, window.local.index(i)])
            result.append((i, Prediction(box, rng.random((box[2] - box[0], box[3] - box[1], 3), np.float32))))
        return result

    fill_whole_window = fill


def _accident() -> None:
    kind, _, file = os.environ.get("E2FGVI_FAKE_ACCIDENT", "").partition(":")
    if not kind or not Path(file).exists():
        return
    Path(file).unlink()
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "memory":
        raise MemoryError("as told by the test")
    if kind == "crash":
        raise RuntimeError("as told by the test")
    time.sleep(60)  # "hang": until the test ends it


def arithmetic(device: str, threads: int | None) -> str:
    return f"fake {os.environ.get('E2FGVI_FAKE_ARITHMETIC', device)}, {threads} threads"


def build(options: InpaintOptions, device: str, bit_depth: int) -> BuiltEngine:
    return BuiltEngine(FakeEngine(), f"fake {device}", "none", options.weights, lambda: 1 << 20, "process")


def stream(count: int, holed: list[bool]) -> list[HoledFrame]:
    """Frames of one colour each, with a small hole that jumps about where `holed`."""
    items = []
    for i in range(count):
        hole = np.zeros((40, 48), np.uint8)
        top, left = i * 5 % 37, i * 11 % 45
        hole[top : top + 3, left : left + 3] = holed[i]
        frame = Frame(i, np.full((40, 48, 3), i * 7 % 256, np.uint8), Fraction(i))
        items.append(HoledFrame.of(frame, hole, hole.astype(np.float32)))
    return items
