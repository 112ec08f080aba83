"""`e2fgvi mask grow`: masks with the shadow or the reflection of what they cover."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import UsageError

if TYPE_CHECKING:
    from ..mask_tools.grow_job import GrownMasks


def grow(
    video: Path = typer.Option(..., "--video", help="Video file or folder of frames."),
    mask: Path = typer.Option(..., "--mask", help="Folder, image or video of masks."),
    output: Path = typer.Option(..., "--output", "-o", help="Folder for one mask a frame."),
    shadow: bool = typer.Option(False, "--shadow/--no-shadow", help="Over the shadow that moves with the object."),
    reflection: bool = typer.Option(
        False, "--reflection/--no-reflection", help="Over whatever moves with it: reflections, shadows of colour."
    ),
    max_distance: float = typer.Option(
        1.0, "--max-distance", help="How far a shadow may reach, times the object's longer side."
    ),
    pixels: int = typer.Option(0, "--pixels", min=0, max=10_000, help="Grow by so many pixels all around, after that."),
    mask_ids: str | None = typer.Option(None, "--mask-ids", help="Object numbers, such as 1,3."),
    preview: Path | None = typer.Option(None, "--preview", help="A PNG that shows masks before and after."),
    overwrite: bool = typer.Option(False, "--overwrite/--no-overwrite", help="Replace what is there."),
    as_json: bool = typer.Option(False, "--json/--no-json", help="One JSON object on standard output."),
) -> None:
    """Extend masks over the shadow or reflection of what they cover: what differs from the ground behind it, as other
    frames show it, and touches the object. The object has to move over the ground. Look at the result (--preview)."""
    from ..mask_tools.grow_job import GrowOptions, grow_to_folder
    from ..masks import Dilation, MaskOptions, parse_ids

    if shadow and reflection:
        raise UsageError("--reflection takes shadows, too: give it without --shadow")
    kind = "shadow" if shadow else "reflection" if reflection else None
    masking = MaskOptions(dilation=Dilation(0), ids=parse_ids(mask_ids) if mask_ids is not None else None)
    done = grow_to_folder(
        video,
        mask,
        output,
        GrowOptions(kind, max_distance, pixels),
        masking=masking,
        sheet=preview,
        overwrite=overwrite,
        on_progress=_progress,
    )
    if as_json:
        typer.echo(json.dumps(_report(done)))
        return
    count, shares = len(done.frames), [one.after - one.before for one in done.frames if one.before]
    grown = sum(share > 0 for share in shares)
    typer.echo(
        f"{count} masks in {output}: {grown} of {len(shares)} grew, by {sum(shares) / len(shares):.2%} of the frame on "
        "average"
    )
    for sentence in done.notices:
        typer.echo(f"note: {sentence}", err=True)
    if done.sheet is not None:
        typer.echo(f"preview: {done.sheet}")


def _report(done: GrownMasks) -> dict[str, object]:
    return {
        "output": str(done.output),
        "frames": [{"frame": one.index, "before": one.before, "after": one.after} for one in done.frames],
        "unsure": done.unsure,
        "notices": done.notices,
        "preview": str(done.sheet) if done.sheet else None,
    }


def _progress(done: int, total: int | None) -> None:
    if done % max(1, (total or 500) // 10) == 0 or done == total:
        typer.echo(f"frame {done}" + (f" of {total}" if total else ""), err=True)
