"""What image propagation finds, and how right it is: `python -m measurements.propagation CLIPS [--fit 20 --spread 16
...]`.

For clips whose holes hide known pixels: the share of the hole that was found, the PSNR there beside that of Telea's
fill of the same pixels, and the PSNR of the whole hole with Telea's fill in the rest. No network: the figures are of
this stage alone.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from e2fgvi_cli.engine import select_device
from e2fgvi_cli.propagation.gpu.lookup import DeviceLookup, choose_lookup
from e2fgvi_cli.propagation.options import PropagationOptions
from e2fgvi_cli.propagation.propagate import propagate
from e2fgvi_cli.propagation.query import Lookup
from e2fgvi_cli.quality.baselines import telea
from e2fgvi_cli.quality.clips import EVAL_STRIDE, SEEDED_HOLES, find_clips, holed_frames
from e2fgvi_cli.quality.metrics import hole_psnr
from e2fgvi_cli.threads.opencv import one_thread_a_call

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Finding:
    """Means over the measured frames: `share` of the hole found; PSNR in dB, nan where there is nothing to measure."""

    share: float
    found: float
    telea_there: float
    whole: float
    telea_whole: float


def measure(
    frames: Frames,
    holes: Frames,
    options: PropagationOptions,
    every: int = EVAL_STRIDE,
    lookup: Lookup | None = None,
) -> Finding:
    """For a clip (t, H, W, 3) with holes (t, H, W) in {0, 1}, whose pixels are blacked out before anything is looked
    for.

    lookup: as for `propagate`.
    """
    rows = []
    for i, (_, result) in enumerate(propagate(holed_frames(frames, holes), options, lookup=lookup)):
        hole = holes[i] > 0
        if i % every or not hole.any():
            continue
        plain = telea(frames[i], holes[i])
        where = np.zeros_like(hole) if result is None else result[1]
        both = plain.copy()
        if result is not None:
            both[where] = result[0][where]
        pairs = ((both, where), (plain, where), (both, hole), (plain, hole))
        scores = (hole_psnr(picture, frames[i], part.astype(np.uint8)) for picture, part in pairs)
        rows.append((where.sum() / hole.sum(), *(math.nan if score is None else score for score in scores)))
    means = [_mean(column) for column in zip(*rows, strict=True)]
    return Finding(*means)


def _mean(values: tuple[float, ...]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, help="folder of NAME/frames, NAME/still, NAME/drifting")
    for option in fields(PropagationOptions):
        parser.add_argument(f"--{option.name}", type=type(option.default), default=option.default)
    parser.add_argument("--device", help="look pixels up there, as an engine on it would; left out: OpenCV does")
    parser.add_argument("--align", action="store_true", help="with --device: align frames there, too, as on a GPU")
    parser.add_argument("--only", default="", help="clips whose names are given, with commas between")
    given = vars(parser.parse_args())
    say = Console(width=120, highlight=False).print
    named, align, only = given.pop("device"), given.pop("align"), given.pop("only").split(",")
    device, kind_there = None, None
    if named is not None:
        device = select_device(named)
        kind_there, reason = choose_lookup(device)
        say(f"lookups: {kind_there or 'by OpenCV'}" + (f" ({reason})" if reason else ""))
    clips = [clip for clip in find_clips(given.pop("clips")) if only == [""] or clip.name in only]
    options = PropagationOptions(**given)
    say(str(options))
    say(f"{'clip':20} {'holes':9} found    dB there   Telea there   dB in the hole   Telea in the hole")
    for kind in SEEDED_HOLES:
        every, count, started = [], 0, time.process_time()
        for clip in clips:
            # A lookup knows the frames of one clip.
            lookup = None
            if device is not None and kind_there is not None:
                lookup = DeviceLookup(device, fused=kind_there != "plain", aligns=align or kind_there == "aligned")
            with one_thread_a_call():
                found = measure(clip.frames(), clip.holes(kind), options, lookup=lookup)
            every.append(found)
            count += len(clip.frames())
            say(_line(clip.name, kind, found))
        mean = Finding(*(_mean(tuple(getattr(f, field.name) for f in every)) for field in fields(Finding)))
        say(_line("mean", kind, mean))
        say(
            f"{1000 * (time.process_time() - started) / count:.0f} ms of processor time a frame, Telea and "
            "decoding included"
        )


def _line(name: str, kind: str, f: Finding) -> str:
    return (
        f"{name:20} {kind:9} {f.share:5.2f} {f.found:11.2f} {f.telea_there:13.2f} {f.whole:16.2f} {f.telea_whole:19.2f}"
    )


if __name__ == "__main__":
    main()
