"""The command of the command line that does what a button does, and the manifest of a batch."""

from __future__ import annotations

import csv
import io
import os
import shlex
from pathlib import Path

from ..errors import InputError
from .project import Project
from .work import write_whole

MANIFEST = "clips.csv"
_FIRST_LINE = "# overwrite: true"


def short(path: Path) -> str:
    """A path as one types it: relative where it lies below the working folder."""
    here = Path(os.getcwd()).resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def commands(project: Project, frame: int) -> dict[str, str]:
    """What tracks, tests and fills this clip on the command line."""
    clip, masks = short(project.path), short(project.masks)
    marks: list[str] = []
    for number, mark in sorted(project.marks.items()):
        if "box" in mark:
            marks += ["--box", ",".join(f"{value:g}" for value in mark["box"]) + f"@{number}"]
        elif "points" in mark:
            for x, y, inside in mark["points"]:
                marks += ["--point", f"{'+' if inside else '-'}{x:g},{y:g}@{number}"]
        else:
            marks += ["--keyframe", f"{number}={short(project.keyframe(number))}"]
    test = project.home / "test"
    parts = [short(test / "frames"), "-m", short(test / "masks"), "-o", short(test / "filled")]
    return {
        "open": shlex.join(["e2fgvi", "ui", clip]),
        "track": shlex.join(["e2fgvi", "mask", "track", "--video", clip, *marks, "-o", masks, "--overwrite"]),
        "test": shlex.join(["e2fgvi", "inpaint", "-v", *parts]),
        "fill": shlex.join(["e2fgvi", "inpaint", "-v", clip, "-m", masks, "-o", short(project.output), "--overwrite"]),
    }


def write_manifest(folder: Path, projects: list[Project]) -> tuple[Path, int]:
    """Write `clips.csv` of all clips that have masks; the file and how many. Raises `InputError` where there is none,
    or where another file has that name."""
    ready = [project for project in projects if project.tracked is not None]
    target = folder / MANIFEST
    if not ready:
        raise InputError("no clip has masks yet: mark and track at least one")
    if target.is_symlink() or (target.exists() and not target.read_bytes().startswith(_FIRST_LINE.encode())):
        raise InputError(f"{target} is there already and is not of this page: rename it")
    text = io.StringIO()
    text.write(_FIRST_LINE + "\n")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["video", "mask", "output"])
    rows.writerows([str(p.relative_to(folder)) for p in (one.path, one.masks, one.output)] for one in ready)
    write_whole(target, text.getvalue().encode())
    return target, len(ready)
