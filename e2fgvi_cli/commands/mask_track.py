"""`e2fgvi mask track`: follow objects from points, boxes and masks."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ..mask_tools.marks import Mark
    from ..mask_tools.track_job import Tracked

_BARS = " ▁▂▃▄▅▆▇█"


def track(
    video: Path = typer.Option(..., "--video", help="Video file or folder of frames."),
    output: Path = typer.Option(
        ..., "--output", "-o", help="Folder for one mask a frame; OUTPUT.confidence.csv is written beside it."
    ),
    point: list[str] = typer.Option(
        [], "--point", help="[object:]+x,y@frame on the object, -x,y@frame not on it, repeatable."
    ),
    box: list[str] = typer.Option([], "--box", help="[object:]x,y,w,h@frame around the object, repeatable."),
    keyframe: list[str] = typer.Option(
        [], "--keyframe", help="[object:]N=mask.png: the mask of frame N is this, repeatable."
    ),
    engine: str = typer.Option("auto", "--engine", help="What follows: auto, own, sam2, classic."),
    weights: str = typer.Option(
        "open", "--weights", help="classic: whose SPyNet estimates the flow, a name or a file."
    ),
    device: str = typer.Option("auto", "--device", help="auto, cpu, cuda[:n] or mps."),
    overwrite: bool = typer.Option(False, "--overwrite/--no-overwrite", help="Replace what is there."),
    as_json: bool = typer.Option(False, "--json/--no-json", help="One JSON object on standard output."),
) -> None:
    """Follow objects both ways from the frames marked. A mark on another frame corrects what is before it and after
    it. Look at the frames named at the end, correct them, run it again."""
    from ..mask_tools.engines import build_engine
    from ..mask_tools.marks import by_object, parse_box_mark, parse_keyframe, parse_point
    from ..mask_tools.track_job import check_track_paths, track_to_folder
    from ..weights.known import file_of

    marks: list[Mark] = [*map(parse_point, point), *map(parse_box_mark, box), *map(parse_keyframe, keyframe)]
    by_object(marks)
    check_track_paths(video, output, marks, file_of(weights), overwrite=overwrite)
    chosen = build_engine(engine, weights=weights, device=device)
    done = track_to_folder(video, output, marks, chosen.make, overwrite=overwrite, on_progress=_progress)
    if as_json:
        typer.echo(json.dumps(_report(done, chosen.name)))
    else:
        _print(done, chosen.name)


def _report(done: Tracked, engine: str) -> dict[str, object]:
    return {
        "output": str(done.output),
        "table": str(done.table),
        "engine": engine,
        "frames": done.frames,
        "lost": done.lost,
        "look_at": done.look_at,
        "followed": [
            {"frame": one.frame, "object": one.object, "confidence": round(one.confidence, 4)} for one in done.followed
        ],
        "notices": done.notices,
        "warnings": done.warnings,
    }


def _print(done: Tracked, engine: str) -> None:
    from ..mask_tools.track_job import to_look_at

    typer.echo(f"{done.frames} masks in {done.output} (engine {engine}; confidences in {done.table})")
    for number in sorted({one.object for one in done.followed}):
        values = [one.confidence for one in done.followed if one.object == number]
        typer.echo(f"object {number}: confidence {sum(values) / len(values):.2f} {_strip(values)}")
    for sentence in done.notices:
        typer.echo(f"note: {sentence}", err=True)
    for sentence in done.warnings:
        typer.echo(f"warning: {sentence}", err=True)
    if done.look_at:
        typer.echo(to_look_at(done))


def _strip(values: list[float], columns: int = 60) -> str:
    """The least confidence of each stretch of frames, first to last, as bars."""
    columns = min(columns, len(values))
    edges = [round(column * len(values) / columns) for column in range(columns + 1)]
    least = [min(values[first:last]) for first, last in itertools.pairwise(edges)]
    return "".join(_BARS[min(round(value * 8), 8)] for value in least)


def _progress(done: int, total: int) -> None:
    if done % max(10, total // 10) == 0 or done == total:
        typer.echo(f"frame {done} of {total}", err=True)
