"""What the page works on: the opened folder, its clips, and the project folder beside each clip that keeps the work.

Nothing outside the opened folder is read or written. `CLIP.e2fgvi/` holds `state.json`, `keyframes/` (the masks drawn,
PNG by frame number), `masks/` (one a frame, as `mask track` writes them), `test/` and the filled clip.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, UserError
from ..jobs.manifest import VIDEO_SUFFIXES
from ..system.publication import Publication
from ..types import HoleArray
from ..video import images

SUFFIX = ".e2fgvi"


class ConflictError(UserError):
    """Another page has changed the clip, or work is going on: what was asked for is not done."""


@dataclass
class Project:
    """One clip and its work. `marks`: frame -> {"box": [x, y, w, h]}, {"points": [[x, y, inside], ...]}
    or {"mask": true}; their masks lie in `keyframes/`. `confidence`: of every frame, 0 to 1, once followed; `look_at`
    the frames worth a look. `revision` grows with every change;
    `tracked` is that of the marks that `masks/` was made from, None before."""

    path: Path
    home: Path
    revision: int = 0
    changed: int = 0
    tracked: int | None = None
    marks: dict[int, dict[str, Any]] = field(default_factory=dict)
    confidence: list[float] = field(default_factory=list)
    look_at: list[int] = field(default_factory=list)
    tested: list[int] = field(default_factory=list)
    filled: bool = False

    @property
    def name(self) -> str:
        """The clip's file name, by which the page asks for it."""
        return self.path.name

    @property
    def masks(self) -> Path:
        """The folder of one mask a frame."""
        return self.home / "masks"

    @property
    def output(self) -> Path:
        """The filled clip."""
        return self.home / "clean.mp4"

    def keyframe(self, frame: int) -> Path:
        """The mask drawn in a frame."""
        return self.home / "keyframes" / f"{frame:06d}.png"

    def test_picture(self, frame: int) -> Path:
        """The frame as a test filled it."""
        return self.home / "test" / f"filled_{frame:06d}.jpg"

    def mask_file(self, frame: int) -> Path | None:
        """The mask that counts for a frame: the one drawn, else the one followed."""
        if frame in self.marks:
            return self.keyframe(frame)
        if self.tracked is None:
            return None
        files = sorted(self.masks.glob("*.png"))
        return files[frame] if frame < len(files) else None

    def mark(self, frame: int, mask: HoleArray, how: dict[str, Any]) -> None:
        """The object's mask (H, W) in {0, 1} in this frame, and how it was given."""
        save_mask(self.keyframe(frame), mask)
        self.marks[frame] = how
        self._changed()

    def unmark(self, frame: int) -> None:
        """Forget what was drawn in a frame."""
        self.marks.pop(frame, None)
        self.keyframe(frame).unlink(missing_ok=True)
        self._changed()

    def _changed(self) -> None:
        self.changed = self.revision + 1
        self.save()

    def save(self) -> None:
        """Write the state, whole or not at all."""
        self.revision += 1
        state = {name: getattr(self, name) for name in _KEPT}
        self.home.mkdir(exist_ok=True)
        temporary = self.home / "state.json.new"
        temporary.write_text(json.dumps(state), encoding="utf-8")
        os.replace(temporary, self.home / "state.json")


_KEPT = ("revision", "changed", "tracked", "marks", "confidence", "look_at", "tested", "filled")


def load(path: Path, home: Path) -> Project:
    """The work that is kept beside a clip; none yet where there is no project folder.

    Raises `InputError` for a project folder that leads elsewhere or whose state cannot be read.
    """
    if home.is_symlink():
        raise InputError(f"the project folder {home} is a link to elsewhere: remove the link")
    project = Project(path, home)
    file = home / "state.json"
    if not file.exists():
        return project
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        for name in _KEPT:
            setattr(project, name, state[name])
        project.marks = {int(frame): mark for frame, mark in state["marks"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"the state {file} cannot be read: move it away to begin anew ({error})") from None
    project.marks = {frame: mark for frame, mark in project.marks.items() if project.keyframe(frame).is_file()}
    project.tested = [frame for frame in project.tested if project.test_picture(frame).is_file()]
    project.tracked = project.tracked if project.masks.is_dir() else None
    project.filled = project.filled and project.output.is_file()
    return project


def open_folder(target: Path) -> tuple[Path, list[Project]]:
    """The folder that may be read and written, and its clips: a video file, a folder of frames, or a folder of video
    files. Raises `InputError` where there is none."""
    if not target.exists():
        raise InputError(f"there is no {target}: give a video file, a folder of frames or a folder of clips")
    target = target.resolve()
    if target.is_file():
        return target.parent, [_project(target)]
    files = sorted(p for p in target.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
    clips = [file for file in files if file.resolve().parent == target and not file.name.startswith(".")]
    if clips:
        return target, [_project(file) for file in clips]
    from ..video.reading import probe

    if not any(target.iterdir()) or not probe.image_list(target):
        raise InputError(f"{target} has no video file and no frames: give a clip or a folder of clips")
    return target.parent, [_project(target)]


def _project(path: Path) -> Project:
    return load(path, path.parent / f"{path.name}{SUFFIX}")


def save_mask(path: Path, mask: HoleArray) -> None:
    """Write (H, W) in {0, 1} as a PNG of 0 and 255, whole or not at all."""
    with Publication() as publication:
        temporary = publication.temporary(path, overwrite=True)
        image = temporary.with_suffix(".png")
        images.write_image(image, np.asarray(mask * 255, np.uint8))
        os.replace(image, temporary)


def apply_marks(project: Project) -> None:
    """What was drawn since the object was followed counts in its own frames: into `masks/`."""
    files = sorted(project.masks.glob("*.png"))
    for frame in project.marks:
        if frame < len(files):
            save_mask(files[frame], images.read_image(project.keyframe(frame)) // 255)
