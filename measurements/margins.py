"""What a crop's margin costs: clips with known holes filled from whole frames and from crops of several margins, side
by side.

    python -m measurements.margins CLIPS --margins 0,32,64 --device cuda -o margins.json

Clips as in `quality.clips`; PyAV is not needed. Nothing is random.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import typer
from numpy.typing import NDArray

from e2fgvi_cli.errors import UsageError, UserError
from e2fgvi_cli.fill.crops import (
    CROP_OVERHEAD,
    DEFAULT_BLOCK_WINDOWS,
    Crop,
    CropOptions,
    block_range,
    padded_pixels,
    plan_crops,
    wanted_boxes,
)
from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.fill.stream import fill_shot
from e2fgvi_cli.fill.windows import plan_window
from e2fgvi_cli.frames.boxes import bounding_box, hole_boxes
from e2fgvi_cli.quality.clips import EVAL_STRIDE, SEEDED_HOLES, MeasuredClip, find_clips, holed_frames
from e2fgvi_cli.quality.metrics import score_clip
from e2fgvi_cli.system.publication import replace_file
from e2fgvi_cli.types import Box
from e2fgvi_cli.weights.known import resolve

if TYPE_CHECKING:
    from e2fgvi_cli.engine import Engine

Frames = NDArray[np.uint8]

WARM_UP_FRAMES = 6
"""Filled once before anything is timed, so that the first figure does not contain the loading of kernels."""


@dataclass(frozen=True)
class Measured:
    """One clip filled once. `margin` None: from whole frames.

    psnr: in the hole, dB; None without a hole. brightness: mean of fill - truth in the hole, levels of 255; below 0 is
    too dark.
    share, context: see `computed_share`. seconds: wall clock of the fill.
    """

    clip: str
    kind: str
    margin: int | None
    psnr: float | None
    brightness: float
    share: float
    context: float
    seconds: float


@dataclass(frozen=True)
class Row:
    """Means over the clips of one kind of hole.

    gain, lift: psnr (dB) and brightness (levels) minus those of whole frames, over all clips; `worst` is the least gain
    and its clip's name.
    cropped: clips in which less than whole frames was computed; in the others every figure is that of whole frames.
    """

    kind: str
    margin: int | None
    psnr: float
    gain: float
    worst: tuple[float, str]
    brightness: float
    lift: float
    share: float
    context: float
    cropped: int
    clips: int
    seconds: float


def measure_clip(
    engine: Engine,
    clip: MeasuredClip,
    kind: str,
    margins: Sequence[int | None],
    *,
    crops: CropOptions,
    every: int = EVAL_STRIDE,
    frames: int | None = None,
) -> Iterator[Measured]:
    """The clip filled once a margin, in their order; None: from whole frames. `frames`: only so many, from its start.

    `crops` gives everything but the margin. Every `every`-th frame is scored, all are filled. Raises `InputError`.
    """
    truth, holes = clip.frames()[:frames], clip.holes(kind)[:frames]
    for margin in margins:
        chosen = replace(crops, enabled=False) if margin is None else replace(crops, margin=margin)
        options = WindowOptions(crops=chosen)
        share, context = computed_share(holes, engine.size_multiple, options, chosen)
        started = time.perf_counter()
        filled = fill_clip(engine, truth, holes, options)
        seconds = time.perf_counter() - started
        psnr = score_clip(filled, truth, holes, every=every).hole_psnr
        brightness = brightness_error(filled[::every], truth[::every], holes[::every])
        yield Measured(clip.name, kind, margin, psnr, brightness, share, context, seconds)


def fill_clip(engine: Engine, frames: Frames, holes: Frames, options: WindowOptions) -> list[Frames]:
    """The filled frames (H, W, 3) of a clip (t, H, W, 3) with holes (t, H, W) in {0, 1}."""
    return [np.asarray(f.rgb, np.uint8) for f in fill_shot(holed_frames(frames, holes), engine, options)]


def brightness_error(filled: Sequence[Frames], truth: Sequence[Frames] | Frames, holes: Frames) -> float:
    """Mean of filled - truth over all holes' pixels and channels, in levels of 255. NaN without a hole."""
    total, count = 0.0, 0
    for result, frame, hole in zip(filled, truth, holes, strict=True):
        error = result[hole != 0].astype(np.int64) - frame[hole != 0]
        total, count = total + float(error.sum()), count + error.size
    return total / count if count else math.nan


def computed_share(
    holes: Frames, multiple: tuple[int, int], options: WindowOptions, crops: CropOptions
) -> tuple[float, float]:
    """(share, context) of the plan for a clip's holes (t, H, W).

    share: pixels that the windows compute, padding included, of those with whole frames. context: least distance in
    pixels from a window's holes (to a cell) to those sides of their crop that are not the frame's; mean over the
    windows that have such sides, NaN if none has.
    """
    size = (int(holes.shape[1]), int(holes.shape[2]))
    boxes, bounds = [hole_boxes(hole) for hole in holes], [bounding_box(hole) for hole in holes]
    hop = options.neighbor_stride
    whole, computed, contexts = 0, 0, []
    for center in range(0, len(holes), hop):
        window = plan_window(
            center,
            0,
            len(holes) - 1,
            neighbor_stride=hop,
            reference_stride=options.reference_stride,
            max_references=options.max_references,
        )
        local = [box for i in window.local if (box := bounds[i]) is not None]
        first, end = block_range(center, hop, crops.block_windows)
        planned = plan_crops([box for frame in boxes[first:end] for box in frame], size, multiple, crops)
        used = {crop for crop in planned if any(wanted_boxes(box, [crop])[0] for box in local)}
        whole += bool(local) * len(window.frames) * padded_pixels((0, 0, *size), multiple)
        computed += len(window.frames) * sum(padded_pixels(crop.box, multiple) for crop in used)
        distances = [max(_context(box, crop, size) for crop in used) for i in window.local for box in boxes[i]]
        if distances and min(distances) < math.inf:
            contexts.append(min(distances))
    return computed / whole if whole else 0.0, float(np.mean(contexts)) if contexts else math.nan


def _context(hole: Box, crop: Crop, size: tuple[int, int]) -> float:
    """Least distance of a hole from the crop's sides within the frame; below 0 where it reaches beyond, inf without
    such sides."""
    box = crop.box
    ahead = [hole[k] - box[k] for k in (0, 1) if box[k] > 0]
    behind = [box[k + 2] - hole[k + 2] for k in (0, 1) if box[k + 2] < size[k]]
    return min([*ahead, *behind], default=math.inf)


def summarise(results: Sequence[Measured]) -> list[Row]:
    """A row for each kind and margin, in the order they came. Every clip and kind needs a result with margin None."""
    by_case = {(r.kind, r.margin, r.clip): r for r in results}
    rows = []
    for kind, margin in dict.fromkeys((r.kind, r.margin) for r in results):
        pairs = [(r, by_case[kind, None, r.clip]) for r in results if (r.kind, r.margin) == (kind, margin)]
        scored = [(r, r.psnr, w.psnr, w) for r, w in pairs if r.psnr is not None and w.psnr is not None]
        if not scored:
            continue
        contexts = [r.context for r, *_ in scored if not math.isnan(r.context)]
        rows.append(
            Row(
                kind=kind,
                margin=margin,
                psnr=_mean([psnr for _, psnr, _, _ in scored]),
                gain=_mean([psnr - base for _, psnr, base, _ in scored]),
                worst=min((psnr - base, r.clip) for r, psnr, base, _ in scored),
                brightness=_mean([r.brightness for r, *_ in scored]),
                lift=_mean([r.brightness - w.brightness for r, _, _, w in scored]),
                share=_mean([r.share for r, *_ in scored]),
                context=_mean(contexts),
                cropped=sum(r.share < 1 for r, *_ in scored),
                clips=len(scored),
                seconds=sum(r.seconds for r, *_ in scored),
            )
        )
    return rows


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


HEADINGS = ("holes", "margin", "PSNR", "gain", "worst", "brightness", "lift", "share", "context", "cropped", "seconds")


def table(rows: Sequence[Row]) -> str:
    """Plain text, a line a row: PSNR, gain and worst in dB, brightness and lift in levels, context in pixels."""
    lines = ["".join(f"{heading:>11}" for heading in HEADINGS) + "  worst in"]
    for r in rows:
        cells = (
            r.kind,
            "whole" if r.margin is None else f"{r.margin}",
            f"{r.psnr:.2f}",
            *(("-", "-") if r.margin is None else (f"{r.gain:+.3f}", f"{r.worst[0]:+.3f}")),
            f"{r.brightness:+.2f}",
            "-" if r.margin is None else f"{r.lift:+.2f}",
            f"{r.share:.1%}",
            "-" if math.isnan(r.context) else f"{r.context:.0f}",
            f"{r.cropped}/{r.clips}",
            f"{r.seconds:.1f}",
        )
        lines.append("".join(f"{cell:>11}" for cell in cells) + ("" if r.margin is None else f"  {r.worst[1]}"))
    return "\n".join(lines)


def main(
    clips: Path = typer.Argument(..., help="Folder that holds NAME/frames and NAME/MASKS for each clip."),
    masks: str = typer.Option(",".join(SEEDED_HOLES), "--masks", help="Folders of masks, with commas between."),
    margins: str = typer.Option("0,16,32,48,64,96", "--margins", help="Pixels, with commas between."),
    only: str = typer.Option("", "--clips", help="Only these clips, with commas between."),
    every: int = typer.Option(EVAL_STRIDE, "--every", min=1, help="Score every Nth frame; all are filled."),
    frames: int = typer.Option(0, "--frames", min=0, help="Only so many frames of each clip. 0: all."),
    block_windows: int = typer.Option(
        DEFAULT_BLOCK_WINDOWS, "--block-windows", min=1, help="Windows that share their crops."
    ),
    overhead: int = typer.Option(
        CROP_OVERHEAD, "--overhead", min=0, help="What a crop costs anyhow, in pixels. 0: the tightest crops."
    ),
    device: str = typer.Option("auto", "--device", help="auto, cpu, cuda, cuda:N or mps."),
    deform: str = typer.Option("auto", "--deform", help="Backend of the deformable convolution."),
    weights: str = typer.Option("open", "--weights", help="Known name or file."),
    output: Path = typer.Option(None, "--output", "-o", help="Also write all figures as JSON."),
) -> None:
    """Fill clips from whole frames and from crops of several margins, and compare."""
    from e2fgvi_cli.engine import build_engine, choose_deform, describe_device, read_weights, select_device

    try:
        wanted: list[int | None] = [None, *_margins(margins)]
        crops = CropOptions(block_windows=block_windows, overhead=overhead)
        names, kinds = _names(only), _names(masks)
        found = [clip for clip in find_clips(clips) if not names or clip.name in names]
        if not found:
            raise UsageError(f"{clips} has none of the clips {', '.join(names)}")
        if not kinds:
            raise UsageError("--masks names no folder: give one or more, such as still,drifting")
        chosen = select_device(device)
        engine = build_engine(read_weights(resolve(weights)), chosen, choose_deform(deform, chosen))
        _warm_up(engine, found[0], kinds[0])
        results: list[Measured] = []
        for clip in found:
            for kind in kinds:
                for r in measure_clip(engine, clip, kind, wanted, crops=crops, every=every, frames=frames or None):
                    typer.echo(
                        f"{r.clip} {r.kind} margin {r.margin}: {r.psnr} dB, {r.share:.0%} of the pixels", err=True
                    )
                    results.append(r)
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    rows = summarise(results)
    typer.echo(f"{describe_device(chosen)}, weights {weights}, {block_windows} windows a block, overhead {overhead}")
    typer.echo(table(rows))
    if output is not None:
        record = {
            "device": describe_device(chosen),
            "weights": weights,
            "crops": asdict(crops),
            "every": every,
            "means": [_plain(row) for row in rows],
            "clips": [_plain(result) for result in results],
        }
        replace_file(output, json.dumps(record, indent=2))


def _warm_up(engine: Engine, clip: MeasuredClip, kind: str) -> None:
    options = WindowOptions(crops=CropOptions(enabled=False))
    fill_clip(engine, clip.frames()[:WARM_UP_FRAMES], clip.holes(kind)[:WARM_UP_FRAMES], options)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _margins(text: str) -> list[int]:
    if not all(name.isdecimal() for name in _names(text)):
        raise UsageError(f"--margins {text} is not understood: give whole pixels with commas between, such as 0,32,64")
    return [int(name) for name in _names(text)]


def _plain(figures: Measured | Row) -> dict[str, object]:
    """For JSON, which has no NaN."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(figures).items()}


if __name__ == "__main__":
    typer.run(main)
