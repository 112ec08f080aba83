"""`e2fgvi mask`: look at masks before a run, or make some by following an object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .mask_grow import grow
from .mask_text import logo, text
from .mask_track import track

if TYPE_CHECKING:
    from ..mask_tools.jobs import Preview

mask_app = typer.Typer(no_args_is_help=True, help="Look at masks before a run, or make some by following an object.")
mask_app.command()(text)
mask_app.command()(logo)
mask_app.command()(grow)


@mask_app.command()
def preview(
    video: Path = typer.Option(..., "--video", help="Video file or folder of frames."),
    mask: Path | None = typer.Option(None, "--mask", help="Folder, image or video of masks."),
    output: Path = typer.Option(Path("mask_preview.png"), "--output", "-o", help="The contact sheet (PNG)."),
    frames: int = typer.Option(12, "--frames", min=1, max=200, help="Frames on the sheet."),
    mask_threshold: int = typer.Option(127, "--mask-threshold", help="Levels above it (0..254) are hole."),
    mask_dilation: str = typer.Option("auto", "--mask-dilation", help="Growth: auto, 4px or 1% of the height."),
    mask_invert: bool = typer.Option(False, "--mask-invert/--no-mask-invert", help="Dark is hole."),
    mask_union: int = typer.Option(0, "--mask-union", help="Join the masks of N frames before and after."),
    grow_gaps: bool = typer.Option(
        False, "--grow-gaps/--no-grow-gaps", help="Frames without a mask get one between those before and after."
    ),
    mask_ids: str | None = typer.Option(None, "--mask-ids", help="Object numbers, such as 1,3."),
    mask_box: list[str] = typer.Option([], "--mask-box", help="x,y,w,h[@start-end], repeatable."),
    mask_polygon: list[str] = typer.Option([], "--mask-polygon", help="'x,y x,y x,y[@start-end]', repeatable."),
    overwrite: bool = typer.Option(False, "--overwrite/--no-overwrite", help="Replace the sheet if it exists."),
    as_json: bool = typer.Option(False, "--json/--no-json", help="One JSON object on standard output."),
) -> None:
    """A contact sheet with the hole painted over, the hole's share of each frame, and what looks wrong."""
    from ..mask_tools.jobs import preview as run
    from ..masks import Dilation, MaskOptions, parse_boxes, parse_ids, parse_polygons

    options = MaskOptions(
        threshold=mask_threshold,
        dilation=Dilation.parse(mask_dilation),
        invert=mask_invert,
        union=mask_union,
        ids=parse_ids(mask_ids) if mask_ids is not None else None,
        boxes=tuple(box for text in mask_box for box in parse_boxes(text)),
        polygons=tuple(one for text in mask_polygon for one in parse_polygons(text)),
        grow_gaps=grow_gaps,
    )
    report = run(video, mask, options, output, count=frames, overwrite=overwrite)
    if as_json:
        _print_json(report)
    else:
        _print_table(report)


def _print_json(report: Preview) -> None:
    typer.echo(
        json.dumps(
            {
                "frames": len(report.frames),
                "coverage": [round(frame.share, 6) for frame in report.frames],
                "notices": report.notices,
                "warnings": report.warnings,
                "sheet": str(report.sheet) if report.sheet else None,
            }
        )
    )


def _print_table(report: Preview) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("frame", "hole")
    step = max(1, len(report.frames) // 24)
    for frame in report.frames[::step]:
        table.add_row(str(frame.index), f"{frame.share:.2%} " + "█" * round(frame.share * 40))
    console.print(table)
    for sentence in report.notices:
        console.print(f"note: {sentence}", markup=False, soft_wrap=True)
    for sentence in report.warnings:
        console.print(f"warning: {sentence}", markup=False, soft_wrap=True, style="yellow")
    if report.sheet is not None:
        console.print(f"sheet: {report.sheet}", markup=False, soft_wrap=True)


mask_app.command()(track)
