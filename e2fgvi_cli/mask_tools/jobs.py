"""What `e2fgvi mask preview` does: look at masks before a long run. No printing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .. import masks, video
from ..comparison.layout import overlay, shrink
from ..comparison.ruler import LEFT, TOP, with_ruler
from ..comparison.sheet import ContactSheet
from ..errors import InputError
from ..masks import MaskOptions
from ..masks.inspection import FrameCoverage, coverage, coverage_warnings
from ..system.paths import Read, Written, check_all
from ..system.publication import Publication

_WARNING = "warning: "
_SHEET_SIDE = 320  # of a frame on the contact sheet


@dataclass(frozen=True)
class Preview:
    """`frames` with their coverage, `notices` (what was assumed) and `warnings`; `sheet` is None if nothing was
    drawn."""

    frames: list[FrameCoverage]
    notices: list[str]
    warnings: list[str]
    sheet: Path | None


def preview(
    clip: Path, mask: Path | None, options: MaskOptions, sheet: Path | None, *, count: int = 12, overwrite: bool = False
) -> Preview:
    """Read a clip with its masks, and draw `count` frames with the hole painted over into `sheet` (PNG).

    Raises `InputError` and `UsageError` as a run with these masks would, and for a sheet that exists.
    """
    if sheet is not None:
        check_png(sheet)
        given = [("the input", clip), ("the mask", mask)]
        check_all([Written("the sheet", sheet, False, overwrite)], [Read(n, p) for n, p in given if p is not None])
    drawn = ContactSheet(count=count, across=3, largest=_SHEET_SIDE + LEFT + TOP)
    frames: list[FrameCoverage] = []
    with video.open_reader(clip) as reader, video.open_holes(mask, reader.info, options, inspect=True) as holes:
        for frame in reader:
            hole = holes.hole_at(frame)
            frames.append(FrameCoverage(frame.index, coverage(hole)))
            if sheet is not None and drawn.wants(frame.index):
                picture = masks.turn_to_display(overlay(frame.rgb, hole), reader.info.rotation)
                ruled = with_ruler(shrink(picture, _SHEET_SIDE), reader.info.display_size)
                drawn.offer(frame.index, [ruled], f"frame {frame.index}: {frames[-1].share:.1%} hole")
        said = [*reader.notices, *holes.notices]
    written = sheet if sheet is not None and _save(drawn, sheet, overwrite) else None
    notices = [one for one in said if not one.startswith(_WARNING)]
    warnings = [one.removeprefix(_WARNING) for one in said if one.startswith(_WARNING)]
    return Preview(frames, notices, [*warnings, *coverage_warnings(frames)], written)


def _save(drawn: ContactSheet, sheet: Path, overwrite: bool) -> bool:
    with Publication() as publication:
        return drawn.save(sheet, publication, overwrite=overwrite)


def check_png(path: Path) -> None:
    """Raise `InputError` if the name is not that of a PNG."""
    if path.suffix.lower() != ".png":
        raise InputError(f"the sheet {path} should end in .png")
