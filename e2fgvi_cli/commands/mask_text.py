"""`e2fgvi mask text|logo`: masks of captions and logos."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ..mask_tools.shown import Region


def text(
    video: Path = typer.Option(..., "--video", help="Video file or folder of frames."),
    output: Path = typer.Option(..., "--output", "-o", help="Folder for one mask a frame."),
    shape: str = typer.Option("strokes", "--shape", help="strokes (the letters) or boxes."),
    region: str | None = typer.Option(None, "--region", help="x,y,w,h: look only there."),
    start: str | None = typer.Option(None, "--from", help="First frame (120) or time (4.5s, 1:04)."),
    end: str | None = typer.Option(None, "--to", help="Last frame, or the time where it ends."),
    every: int = typer.Option(6, "--every", min=1, help="Look for text on each N-th frame; 1 for text that moves."),
    persistent: bool = typer.Option(
        False, "--persistent/--no-persistent", help="Only text that stands in most of the frames, as logos do."
    ),
    overwrite: bool = typer.Option(False, "--overwrite/--no-overwrite", help="Replace the folder if it exists."),
    as_json: bool = typer.Option(False, "--json/--no-json", help="One JSON object on standard output."),
) -> None:
    """Find captions and mask their letters. Text of the scene (signs, shirts) is text, too: --region says where. Needs
    the extra [text]. Without any text found it writes nothing and ends with exit code 3."""
    from ..mask_tools.text import TextOptions, text_to_folder
    from ..video.span import parse_span

    options = TextOptions(shape, _region(region), parse_span(start, end, ("--from", "--to")), every, persistent)
    done = text_to_folder(video, output, options, overwrite=overwrite, on_progress=_progress)
    if as_json:
        captions = [
            {"box": [c.box.x, c.box.y, c.box.width, c.box.height], "first": c.first, "last": c.last}
            for c in done.captions
        ]
        typer.echo(
            json.dumps({"output": str(output), "frames": done.frames, "masked": done.masked, "captions": captions})
        )
        return
    typer.echo(
        f"{len(done.captions)} texts in {done.masked} of {done.frames} frames, {done.mean_share:.2%} of the frame "
        f"where there is one: {output}"
    )


def logo(
    video: Path = typer.Option(..., "--video", help="Video file or folder of frames."),
    output: Path = typer.Option(..., "--output", "-o", help="The mask (PNG)."),
    region: str | None = typer.Option(None, "--region", help="x,y,w,h: look only there."),
    every: int = typer.Option(2, "--every", min=1, help="Look at each N-th frame."),
    grow: int = typer.Option(2, "--grow", min=0, help="Pixels around what was found."),
    overwrite: bool = typer.Option(False, "--overwrite/--no-overwrite", help="Replace the mask if it exists."),
    as_json: bool = typer.Option(False, "--json/--no-json", help="One JSON object on standard output."),
) -> None:
    """Find a logo, opaque or not, that stays in its place while the picture under it moves. Look at the result (`e2fgvi
    mask preview`). Where no logo is found it writes nothing and ends with exit code 3."""
    from ..mask_tools.logo import LogoOptions, logo_to_file

    options = LogoOptions(_region(region), every, grow)
    done = logo_to_file(
        video,
        output,
        options,
        overwrite=overwrite,
        on_progress=lambda frames, total: _progress("looking", frames, total),
    )
    boxes = [[box.x, box.y, box.width, box.height] for box in done.boxes]
    if done.still:
        typer.echo(
            "the camera stands still there, so edges of the ground in --region are in the mask, too; letters are found "
            f"more closely by: e2fgvi mask text --persistent --region {region} --video {shlex.quote(str(video))}",
            err=True,
        )
    if as_json:
        typer.echo(json.dumps({"output": str(output), "boxes": boxes, "share": done.share, "looked": done.looked}))
        return
    places = "; ".join(",".join(map(str, box)) for box in boxes)
    typer.echo(f"found at {places} ({done.share:.2%} of the frame), looking at {done.looked} frames: {output}")


def _region(text: str | None) -> Region | None:
    from ..mask_tools.shown import parse_region

    return None if text is None else parse_region(text)


def _progress(stage: str, done: int, total: int | None) -> None:
    if done % max(10, (total or 500) // 10) == 0 or done == total:
        typer.echo(f"{stage}: frame {done}" + (f" of {total}" if total else ""), err=True)
