"""Clips laid out for measuring: one folder a clip with `frames/` and one or more folders of masks, 255 = hole.

The masks of a real object (`object/`) hide what nobody knows; seeded ones (`still/`, `drifting/`) hide pixels that
`frames/` still has, so that a fill can be scored. Nothing here knows where such clips lie: the caller says.

The project's convention for a table over such clips: the masks as they are (no dilation), `metrics.score_clip(...,
every=5).hole_psnr` for a clip, and the plain mean of the clips' decibels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..frames.stages import HoledFrame
from ..types import Frame
from ..video.images.files import whole_bytes

FRAMES = "frames"
SEEDED_HOLES = ("still", "drifting")
EVAL_STRIDE = 5
"""The eval table scores frames 0, 5, 10, ... of each clip (all frames are filled)."""

HOLE_THRESHOLD = 127
PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png"}


def holed_frames(frames: NDArray[np.uint8], holes: NDArray[np.uint8]) -> Iterator[HoledFrame]:
    """A clip (t, H, W, 3) with holes (t, H, W) in {0, 1} as `fill.stream.fill_shot` takes it. What it has in its holes
    is blacked out: no fill can learn the answer from it."""
    for i, (rgb, hole) in enumerate(zip(frames, holes, strict=True)):
        yield HoledFrame.of(Frame(i, rgb * (1 - hole[:, :, None]), Fraction(i)), hole, hole.astype(np.float32))


@dataclass(frozen=True)
class MeasuredClip:
    """A clip's folder. Pictures are read when asked for, in the order of their names."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    def frame_count(self) -> int:
        """Number of pictures in `frames/`."""
        return len(_pictures_in(self.path / FRAMES))

    def iter_frames(self) -> Iterator[NDArray[np.uint8]]:
        """(H, W, 3) uint8 RGB, one after the other. Raises InputError for an unreadable picture."""
        for path in self._pictures(FRAMES):
            yield np.ascontiguousarray(_read(path, cv2.IMREAD_COLOR)[..., ::-1])

    def iter_holes(self, kind: str) -> Iterator[NDArray[np.uint8]]:
        """(H, W) uint8 in {0, 1}, 1 = hole, from the folder `kind`: one a frame, or InputError."""
        paths, frames = self._pictures(kind), self.frame_count()
        if len(paths) != frames:
            raise InputError(f"{self.path / kind} has {len(paths)} masks for {frames} frames: give one a frame.")
        for path in paths:
            yield (_read(path, cv2.IMREAD_GRAYSCALE) > HOLE_THRESHOLD).astype(np.uint8)

    def frames(self) -> NDArray[np.uint8]:
        """The whole clip: (t, H, W, 3) uint8 RGB."""
        return _stack(list(self.iter_frames()), self.path / FRAMES)

    def holes(self, kind: str) -> NDArray[np.uint8]:
        """All holes of a kind: (t, H, W) uint8 in {0, 1}."""
        return _stack(list(self.iter_holes(kind)), self.path / kind)

    def _pictures(self, folder: str) -> list[Path]:
        found = _pictures_in(self.path / folder)
        if not found:
            raise InputError(f"{self.path / folder} holds no pictures: give a clip with a folder '{folder}' of images.")
        return found


def find_clips(root: Path) -> list[MeasuredClip]:
    """The folders below `root` that have `frames/`, by name. Raises InputError if there is none."""
    if not root.is_dir():
        raise InputError(f"{root} is no folder: give one that holds NAME/{FRAMES} for each clip.")
    clips = [MeasuredClip(path) for path in sorted(root.iterdir()) if _pictures_in(path / FRAMES)]
    if not clips:
        raise InputError(f"{root} holds no clip: each needs a folder NAME/{FRAMES} with pictures.")
    return clips


def _pictures_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)


def _read(path: Path, mode: int) -> NDArray[np.uint8]:
    # Through numpy, because imread cannot open every Unicode path on Windows.
    data = np.frombuffer(whole_bytes(path), np.uint8)
    picture = cv2.imdecode(data, mode) if data.size else None
    if picture is None:
        raise InputError(f"{path} is not a picture that can be read: replace or remove it.")
    return np.asarray(picture, np.uint8)


def _stack(pictures: list[NDArray[np.uint8]], folder: Path) -> NDArray[np.uint8]:
    sizes = {picture.shape for picture in pictures}
    if len(sizes) > 1:
        raise InputError(f"{folder} mixes pictures of the sizes {sorted(sizes)}: a clip needs one size.")
    return np.stack(pictures)
