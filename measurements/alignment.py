"""How long aligning a frame to all that it looks at takes: `python -m measurements.alignment [--device cuda]`.

By OpenCV in one thread, and on the device (`propagation.gpu.aligner`): launched piece by piece, as the first frame of a
shot is, and as a graph. A synthetic clip of a hand-held camera; milliseconds a frame until the result is on the host.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from e2fgvi_cli.bench.synthetic import SyntheticClip
from e2fgvi_cli.engine import select_device
from e2fgvi_cli.propagation.gpu.aligner import DeviceAligner
from e2fgvi_cli.propagation.lookup import look_up
from e2fgvi_cli.propagation.options import PropagationOptions
from e2fgvi_cli.propagation.propagate import propagate
from e2fgvi_cli.propagation.query import Answer, Query
from e2fgvi_cli.threads.opencv import one_thread_a_call


class Questions:
    """A lookup that keeps its queries, homographies chained, and answers as one that finds nothing."""

    aligns = True

    def __init__(self) -> None:
        self.asked: list[Query] = []

    def __call__(self, query: Query) -> Answer:
        self.asked.append(replace(query, others=list(query.others)))
        return look_up(replace(query, others=[], coarse_frames=None))


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split("x"))), default=(432, 240), metavar="WxH")
    parser.add_argument("--frames", type=int, default=130)
    given = parser.parse_args()
    say, device = Console(width=120, highlight=False).print, select_device(given.device)
    options, questions = PropagationOptions(), Questions()
    clip = SyntheticClip((given.size[1], given.size[0]), given.frames, hand_held=True)
    for _ in propagate(clip.items(), options, lookup=questions):
        pass
    middle = questions.asked[len(questions.asked) // 2 :][:20]
    say(
        f"{len(middle)} frames of {given.size[0]}x{given.size[1]}, each aligned to {len(list(middle[0].others))} others"
    )
    with one_thread_a_call():
        say(f"OpenCV, one thread: {milliseconds([q.aligned for q in middle]):.1f} ms a frame")
    numbers = sorted({n for q in middle for n in (q.number, *(i for i, _, _ in q.others))})
    slots = {number: slot for slot, number in enumerate(numbers)}
    stream = torch.cuda.stream(torch.cuda.Stream(device)) if device.type == "cuda" else torch.no_grad()
    with torch.inference_mode(), stream:
        aligner = DeviceAligner(middle[0].view.hole.shape, len(numbers), options.reach, device)

        def align(query: Query) -> Tensor:
            others = list(query.others)
            assert query.coarse_frames is not None
            named = {n: slots[n] for n in (query.number, *(i for i, _, _ in others))}
            return aligner.align(query, query.coarse_frames, others, named)[0].cpu()

        first, second, *rest = [partial(align, query) for query in middle]
        say(f"{device}: the first frame {milliseconds([first]):.1f} ms, the second {milliseconds([second]):.1f} ms")
        say(f"{device}: the others {milliseconds(rest):.1f} ms a frame")


def milliseconds(calls: Sequence[Callable[[], object]]) -> float:
    """The median of all calls."""
    seconds = []
    for call in calls:
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return 1000 * float(np.median(seconds))


if __name__ == "__main__":
    main()
