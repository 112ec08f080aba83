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


def chosen(device: str, weights: str) -> list[str]:
    """The options of a page that was not opened with the defaults."""
    given = [] if weights == "open" else ["--weights", weights]
    return given if device == "auto" else [*given, "--device", device]


def commands(project: Project, options: list[str]) -> dict[str, str]:
    """What tracks, tests and fills this clip on the command line, each with the `options` of the page.
    "test" lacks the frame, `--preview-frame N`."""
    clip, masks = short(project.path), short(project.masks)
    marks: list[str] = []
    for number, frames in sorted(project.marks.items()):
        of = "" if number == 1 else f"{number}:"
        for frame, mark in sorted(frames.items()):
            if "box" in mark:
                marks += ["--box", of + ",".join(f"{value:g}" for value in mark["box"]) + f"@{frame}"]
            elif "points" in mark:
                for x, y, inside in mark["points"]:
                    marks += ["--point", f"{of}{'+' if inside else '-'}{x:g},{y:g}@{frame}"]
            elif mark["mask"]:
                marks += ["--keyframe", f"{of}{frame}={short(project.keyframe(number, frame))}"]
    parts = {
        "open": ["ui", clip],
        "track": ["mask", "track", "--video", clip, *marks, "-o", masks, "--overwrite"],
        "test": ["inpaint", "-v", clip, "-m", masks],
        "fill": ["inpaint", "-v", clip, "-m", masks, "-o", short(project.output), "--overwrite"],
    }
    return {name: shlex.join(["e2fgvi", *words, *options]) for name, words in parts.items()}


def write_manifest(folder: Path, projects: list[Project], weights: str = "open") -> tuple[Path, int]:
    """Write `clips.csv` of all clips that have masks, with the page's weights; the file and how many. Raises
    `InputError` where there is none, or where another file has that name."""
    ready = [project for project in projects if project.tracked is not None]
    target = folder / MANIFEST
    if not ready:
        raise InputError("no clip has masks yet: mark and track at least one")
    if target.is_symlink() or (target.exists() and not target.read_bytes().startswith(_FIRST_LINE.encode())):
        raise InputError(f"{target} is there already and is not of this page: rename it")
    text = io.StringIO()
    text.write(_FIRST_LINE + "\n")
    rows = csv.writer(text, lineterminator="\n")
    file = Path(weights)
    more = {} if weights == "open" else {"weights": str(file.resolve()) if file.is_file() else weights}
    rows.writerow(["video", "mask", "output", *more])
    for one in ready:
        rows.writerow([*(str(p.relative_to(folder)) for p in (one.path, one.masks, one.output)), *more.values()])
    write_whole(target, text.getvalue().encode())
    return target, len(ready)
