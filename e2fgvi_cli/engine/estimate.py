"""How long the network will take for a frame: measured on one window, since no table knows the machine."""

from __future__ import annotations

import time

import numpy as np
import torch

from ..fill.options import WindowOptions
from ..planner import padded_size
from ..types import HoleArray, PixelArray, Window
from .core import Engine

PROBE = {"cpu": 2, "cuda": 9}
"""Sides of the measured crop, at most, in the network's multiples: on a CPU a small one is enough and takes a second or
two. Small ones do not fill a GPU, which is quick enough for large ones."""


def seconds_a_frame(engine: Engine, size: tuple[int, int], options: WindowOptions) -> float:
    """Seconds that the network takes for a whole frame of `size` (height, width), in windows as `options` lay them.

    Computes three windows of a random crop; the last one counts, and its time grows with the pixels. Image propagation,
    decoding and encoding come on top. Raises `DeviceError` if the device has no room for it.
    """
    multiple, most = engine.size_multiple, PROBE.get(engine.device.type, PROBE["cuda"])
    whole = padded_size(size, multiple)
    height, width = (min(side, most * m) for side, m in zip(whole, multiple, strict=True))
    crop, hop = (0, 0, height, width), options.neighbor_stride
    generator = np.random.default_rng(0)
    rgb = generator.integers(0, 256, (height, width, 3), np.uint8)
    hole = np.zeros((height, width), np.uint8)
    hole[: height // 2] = 1

    def frame(index: int) -> tuple[PixelArray, HoleArray]:
        return rgb, hole

    engine.start_shot()
    first = 1 << 20
    references = tuple(range(first, first + (6 if options.max_references is None else options.max_references)))
    fill = engine.fill_whole_window if options.released else engine.fill
    seconds = 0.0
    for center in range(hop, 4 * hop, hop):
        local = tuple(range(center - hop, center + hop + 1))
        began = time.perf_counter()
        fill(Window(center, local, references), frame, crop, [(i, crop) for i in local])
        if engine.device.type == "cuda":
            torch.cuda.synchronize(engine.device)
        seconds = time.perf_counter() - began
    engine.start_shot()
    return seconds / hop * (whole[0] * whole[1]) / (height * width)
