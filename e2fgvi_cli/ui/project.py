"""What the page works on: the opened folder, its clips, and the project folder beside each clip that keeps the work.

Nothing outside the opened folder is read or written. `CLIP.e2fgvi/` holds `state.json`, `keyframes/` (the masks drawn,
PNG by frame number and object), `masks/` (one a frame, as `mask track` writes them), `test/` and the filled clip.
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
    """One clip and its work. `marks`: object -> frame -> {"box": [x, y, w, h]}, {"points": [[x, y, inside], ...]}
    or {"mask": whether any of it is there}; their masks lie in `keyframes/`. `confidence`: of every frame, 0 to 1, once
    followed, of the least sure object; `look_at` the frames worth a look, each with the object that it is for.
    `revision` grows with every change; `tracked` is that of the marks that `masks/` was made from, None before,
    `followed` its objects."""

    path: Path
    home: Path
    revision: int = 0
    changed: int = 0
    tracked: int | None = None
    followed: list[int] = field(default_factory=lambda: [1])
    marks: dict[int, dict[int, dict[str, Any]]] = field(default_factory=dict)
    confidence: list[float] = field(default_factory=list)
    look_at: list[list[int]] = field(default_factory=list)
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

    @property
    def objects(self) -> list[int]:
        """The numbers of what is marked or was followed."""
        return sorted({*self.marks, *(self.followed if self.tracked is not None else ())})

    def keyframe(self, number: int, frame: int) -> Path:
        """The mask of an object drawn in a frame."""
        return self.home / "keyframes" / (f"{frame:06d}.png" if number == 1 else f"{frame:06d}_obj{number}.png")

    def test_picture(self, frame: int) -> Path:
        """The frame as a test filled it."""
        return self.home / "test" / f"filled_{frame:06d}.jpg"

    def numbers(self, frame: int) -> HoleArray | None:
        """(H, W) the number of the object in each pixel, 0 for none: those drawn, else those followed. None where the
        frame has no mask."""
        whole = self.followed_numbers(frame)
        for number, frames in sorted(self.marks.items()):
            if frame in frames:
                drawn = images.read_image(self.keyframe(number, frame)) > 127
                whole = np.zeros(drawn.shape, np.uint8) if whole is None else whole
                whole[whole == number] = 0
                whole[drawn] = number
        return whole

    def followed_numbers(self, frame: int) -> HoleArray | None:
        """As `numbers`, of what was followed alone."""
        files = sorted(self.masks.glob("*.png")) if self.tracked is not None else []
        if frame >= len(files):
            return None
        picture = images.read_image(files[frame])
        several = len(self.followed) > 1
        return picture.copy() if several else np.asarray((picture > 127) * self.followed[0], np.uint8)

    def adopt_followed(self) -> None:
        """What boxes and points became as they were followed is from now on what they mean."""
        for number, frames in self.marks.items():
            for frame, mark in frames.items():
                found = None if "mask" in mark else self.followed_numbers(frame)
                if found is not None:
                    save_picture(self.keyframe(number, frame), np.asarray((found == number) * 255, np.uint8))

    def mask(self, number: int, frame: int) -> HoleArray | None:
        """(H, W) in {0, 1}: the mask of an object that counts for a frame; None where neither it is drawn nor anything
        was followed."""
        if frame in self.marks.get(number, {}):
            return np.asarray(images.read_image(self.keyframe(number, frame)) > 127, np.uint8)
        whole = self.numbers(frame) if self.tracked is not None and number in self.followed else None
        return None if whole is None else np.asarray(whole == number, np.uint8)

    def mark(self, number: int, frame: int, mask: HoleArray, how: dict[str, Any]) -> None:
        """The object's mask (H, W) in {0, 1} in this frame, and how it was given."""
        save_picture(self.keyframe(number, frame), mask * np.uint8(255))
        self.marks.setdefault(number, {})[frame] = how
        self._changed()

    def unmark(self, number: int, frame: int) -> None:
        """Forget what was drawn of an object in a frame."""
        frames = self.marks.get(number, {})
        frames.pop(frame, None)
        if not frames:
            self.marks.pop(number, None)
        self.keyframe(number, frame).unlink(missing_ok=True)
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


_KEPT = ("revision", "changed", "tracked", "followed", "marks", "confidence", "look_at", "tested", "filled")


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
        state = _with_objects(json.loads(file.read_text(encoding="utf-8")))
        for name in _KEPT:
            setattr(project, name, state[name])
        project.marks = {
            int(number): {
                int(frame): mark
                for frame, mark in frames.items()
                if project.keyframe(int(number), int(frame)).is_file()
            }
            for number, frames in state["marks"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise InputError(f"the state {file} cannot be read: move it away to begin anew ({error})") from None
    project.marks = {number: frames for number, frames in project.marks.items() if frames}
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


def _with_objects(state: dict[str, Any]) -> dict[str, Any]:
    """A state as it is kept today; those of before there were objects hold one, whose marks are by frame."""
    if "followed" in state or "marks" not in state:
        return state
    look_at = [[frame, 1] for frame in state["look_at"]]
    return {**state, "followed": [1], "marks": {"1": state["marks"]}, "look_at": look_at}


def save_picture(path: Path, picture: HoleArray) -> None:
    """Write (H, W) of levels or numbers as a PNG, whole or not at all."""
    with Publication() as publication:
        temporary = publication.temporary(path, overwrite=True)
        image = temporary.with_suffix(".png")
        images.write_image(image, picture)
        os.replace(image, temporary)


def apply_marks(project: Project) -> None:
    """What was drawn since the objects were followed counts in its own frames: into `masks/`, as numbers if those are
    there, else as 255."""
    files = sorted(project.masks.glob("*.png"))
    several = len(project.followed) > 1
    for frame in sorted({frame for frames in project.marks.values() for frame in frames}):
        numbers = project.numbers(frame)
        if frame < len(files) and numbers is not None:
            save_picture(files[frame], numbers if several else np.asarray((numbers > 0) * 255, np.uint8))
