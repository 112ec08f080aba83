"""How long a lookup of image propagation takes: `python -m measurements.lookup --device cuda`.

The same questions of a synthetic clip to OpenCV, to the device by torch's operators and, where that works, by fused
kernels, by turns. What a thread waits for is in the figure: that is what the run that asks waits for.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from rich.console import Console

from e2fgvi_cli.bench.synthetic import SyntheticClip
from e2fgvi_cli.engine import select_device
from e2fgvi_cli.propagation.gpu.lookup import DeviceLookup, lookup_fails
from e2fgvi_cli.propagation.lookup import look_up
from e2fgvi_cli.propagation.options import PropagationOptions
from e2fgvi_cli.propagation.propagate import propagate
from e2fgvi_cli.propagation.query import Answer, Lookup, Query
from e2fgvi_cli.threads.opencv import one_thread_a_call


def questions(size: tuple[int, int], frames: int, hole_share: float) -> list[Query]:
    """What image propagation asks of a synthetic clip of `size` (height, width)."""
    asked: list[Query] = []

    def noted(query: Query) -> Answer:
        asked.append(replace(query, others=list(query.others)))
        return look_up(asked[-1])

    for _ in propagate(SyntheticClip(size, frames, hole_share).items(), PropagationOptions(), lookup=noted):
        pass
    return asked


def measure_lookups(asked: Sequence[Query], lookups: dict[str, Lookup], skipped: int) -> dict[str, float]:
    """Seconds a question, the median, by turns; the first `skipped` are asked and not counted. Raises ValueError where
    answers differ much."""
    seconds: dict[str, list[float]] = {name: [] for name in lookups}
    for number, query in enumerate(asked):
        known = {}
        for name, lookup in lookups.items():
            began = time.perf_counter()
            known[name] = lookup(query).count > 0
            if number >= skipped:
                seconds[name].append(time.perf_counter() - began)
        first, *rest = known.items()
        for name, other in rest:
            if (first[1] != other).mean() > 0.02:
                raise ValueError(f"frame {query.number}: {name} finds other pixels than {first[0]}")
    return {name: statistics.median(times) for name, times in seconds.items()}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sizes", default="432x240,1920x1080", help="WxH, separated by commas")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--hole", type=float, default=0.1, help="share of the frame")
    given = parser.parse_args()
    say, device = Console(width=120, highlight=False).print, select_device(given.device)
    fused = lookup_fails(device, fused=True)
    say(f"{device}; fused kernels: {'yes' if fused is None else fused}")
    for text in given.sizes.split(","):
        width, height = map(int, text.split("x"))
        asked = questions((height, width), given.frames, given.hole)
        lookups: dict[str, Lookup] = {"OpenCV": look_up, "operators": DeviceLookup(device)}
        if fused is None:
            lookups["fused"] = DeviceLookup(device, fused=True)
        with one_thread_a_call():
            found = measure_lookups(asked, lookups, skipped=given.frames // 4)
        pixels = int(np.median([q.need.sum() for q in asked]))
        times = ", ".join(f"{name} {1000 * seconds:.2f}" for name, seconds in found.items())
        say(f"{text}, {len(asked)} frames, {pixels} pixels, ms a frame: {times}")


if __name__ == "__main__":
    main()
