"""How far flow is off where it was found on frames with holes: `python -m measurements.flow CLIPS [--weights W]
[--teacher W]`.

Truth is what the teacher finds on whole frames. Inside holes the network's flow is completed, not seen, and decides
what is copied into them.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from e2fgvi_cli._model import E2FGVIHQ, ENCODER_STRIDE, load_network, select_backend
from e2fgvi_cli.engine import read_weights
from e2fgvi_cli.quality.clips import SEEDED_HOLES, find_clips
from e2fgvi_cli.weights.known import resolve


@dataclass(frozen=True)
class FlowError:
    """Means over both directions, in pixels of a quarter of the size: true motion in the hole, distance from it there,
    and outside."""

    motion: float
    inside: float
    outside: float


def measure(network: E2FGVIHQ, teacher: E2FGVIHQ, frames: NDArray[np.uint8], holes: NDArray[np.uint8]) -> FlowError:
    """For frames (t, H, W, 3), t >= 2, with holes (t, H, W), not 0 where hole."""
    pictures = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
    hole = torch.from_numpy(np.ascontiguousarray(holes > 0))[:, None].float()
    small = F.max_pool2d(hole, ENCODER_STRIDE)[:, 0]
    with torch.inference_mode():
        truth = teacher.flow(pictures[None])
        found = network.flow((pictures * (1 - hole))[None])
    rows = []
    # Forwards flow lies on the earlier frame of a pair, backwards flow on the later one.
    for there, true, inside in zip(found, truth, (small[:-1], small[1:]), strict=True):
        apart = (there[0] - true[0]).norm(dim=1)
        means = (_mean(true[0].norm(dim=1), inside), _mean(apart, inside), _mean(apart, 1 - inside))
        rows.append(torch.stack(means))
    motion, within, without = torch.stack(rows).mean(dim=0).tolist()
    return FlowError(motion, within, without)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum() / where.sum().clamp_min(1)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, help="folder of NAME/frames, NAME/still, NAME/drifting")
    parser.add_argument("--weights", default="open", help="a file or a known name")
    parser.add_argument("--teacher", help="weights whose flow on whole frames is the truth; left out: the same")
    parser.add_argument("--frames", type=int, nargs=2, default=(10, 16), help="first and end")
    given = parser.parse_args()
    networks = [
        load_network(read_weights(resolve(name)), deform=select_backend("torch")).eval()
        for name in (given.weights, given.teacher or given.weights)
    ]
    say = Console(width=120, highlight=False).print
    say("clip                 holes      motion in the hole   off in the hole   off outside")
    for kind in SEEDED_HOLES:
        errors = []
        for clip in find_clips(given.clips):
            part = slice(*given.frames)
            found = measure(networks[0], networks[1], clip.frames()[part], clip.holes(kind)[part])
            errors.append(found)
            say(_line(clip.name, kind, found))
        means = (sum(getattr(e, name) for e in errors) / len(errors) for name in ("motion", "inside", "outside"))
        say(_line("mean", kind, FlowError(*means)))


def _line(name: str, kind: str, error: FlowError) -> str:
    return f"{name:20} {kind:9} {error.motion:14.2f} {error.inside:19.2f} {error.outside:15.2f}"


if __name__ == "__main__":
    main()
