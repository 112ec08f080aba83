"""Folders of clips as data sets lay them, and the masks that go with them. Read frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from .. import video
from ..errors import InputError, UsageError
from ..frames.stages import HoledFrame
from ..masks import Dilation, MaskOptions
from ..system.paths import IMAGE_SUFFIXES
from ..types import Frame, HoleArray, VideoInfo
from .seeded_masks import SeededMasks

LAYOUTS = "JPEGImages/480p/NAME/*.jpg, NAME/frames/*, NAME/video.mp4 or NAME/*.jpg"
_DAVIS = ("JPEGImages/480p", "JPEGImages/Full-Resolution", "JPEGImages")
AS_THEY_ARE = "0px"
"""Masks are not grown: what is hole is what the folder says."""


@dataclass(frozen=True)
class Clip:
    """One clip. frames: folder or file; truth: another one that it is scored against, None for the frames
    themselves."""

    name: str
    frames: Path
    truth: Path | None = None

    def pictures(self, size: tuple[int, int] | None, limit: int | None) -> Generator[Frame, None, None]:
        """The true frames with 8-bit pictures, at most `limit`."""
        return read_pictures(self.truth or self.frames, size, limit)

    def info(self, size: tuple[int, int] | None) -> VideoInfo:
        """Of the frames as they are read."""
        with video.open_reader(self.frames, size=size) as reader:
            return reader.info


def read_pictures(path: Path, size: tuple[int, int] | None, limit: int | None) -> Generator[Frame, None, None]:
    """The first frames of a folder or a file. Raises `InputError` for samples of more than 8 bits."""
    with video.open_reader(path, size=size) as reader:
        if reader.info.bit_depth > 8:
            raise InputError(f"{path} has {reader.info.bit_depth} bits a sample: evaluate clips of 8 bits")
        yield from islice(reader, limit)


def find_clips(root: Path, only: tuple[str, ...] = ()) -> list[Clip]:
    """The clips below `root` by name. Raises `InputError` where there is none, or not one of `only`."""
    if not root.is_dir():
        raise InputError(f"{root} is no folder: give one with {LAYOUTS}")
    base = next((root / name for name in _DAVIS if (root / name).is_dir()), root)
    found = {clip.name: clip for path in sorted(base.iterdir()) if (clip := _clip(path)) is not None}
    if not found:
        raise InputError(f"{root} holds no clip: it needs {LAYOUTS}")
    missing = [name for name in only if name not in found]
    if missing:
        raise InputError(f"{root} has no clip {missing[0]!r}: it has {', '.join(found)}")
    return [clip for name, clip in found.items() if not only or name in only]


def _clip(path: Path) -> Clip | None:
    if not path.is_dir():
        return None
    if _has_pictures(path / "frames"):
        truth = path / "truth"
        return Clip(path.name, path / "frames", truth if _has_pictures(truth) else None)
    if (path / "video.mp4").is_file():
        truth = path / "background.mp4"
        return Clip(path.name, path / "video.mp4", truth if truth.is_file() else None)
    return Clip(path.name, path) if _has_pictures(path) else None


def _has_pictures(folder: Path) -> bool:
    return folder.is_dir() and any(one.suffix.lower() in IMAGE_SUFFIXES for one in folder.iterdir())


HoleAt = Callable[[Frame], HoleArray]
"""Asked for every frame in order: (H, W) in {0, 1}."""


class Masks(Protocol):
    """Where holes come from. `describe` is for the report."""

    @property
    def kinds(self) -> tuple[str, ...]: ...

    def describe(self) -> str: ...

    def opened(self, clip: Clip, kind: str, size: tuple[int, int] | None) -> AbstractContextManager[HoleAt]: ...


@dataclass(frozen=True)
class FolderMasks:
    """FOLDER/CLIP/* for every clip, or the folder of this name inside each clip's own, grown by `dilation`."""

    name: str
    dilation: Dilation = field(default_factory=lambda: Dilation.parse(AS_THEY_ARE))

    @property
    def kinds(self) -> tuple[str, ...]:
        return (Path(self.name).name,)

    def describe(self) -> str:
        return f"folder {self.name}, grown by {self.dilation.text}"

    def path(self, clip: Clip) -> Path:
        """The masks of a clip. Raises `InputError`."""
        places = [Path(self.name) / clip.name, clip.frames.parent / self.name]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            raise InputError(f"clip {clip.name} has no masks: neither {places[0]} nor {places[1]} is there")
        return found

    @contextmanager
    def opened(self, clip: Clip, kind: str, size: tuple[int, int] | None) -> Iterator[HoleAt]:
        with video.open_holes(self.path(clip), clip.info(size), MaskOptions(dilation=self.dilation)) as holes:
            yield holes.hole_at


@dataclass(frozen=True)
class DrawnMasks:
    """`SeededMasks` as `Masks`."""

    drawn: SeededMasks

    @property
    def kinds(self) -> tuple[str, ...]:
        return self.drawn.kinds

    def describe(self) -> str:
        return self.drawn.generator

    @contextmanager
    def opened(self, clip: Clip, kind: str, size: tuple[int, int] | None) -> Iterator[HoleAt]:
        info = clip.info(size)
        # As many as the whole clip has, whatever is looked at of them: a limit must not change the holes.
        frames = info.frame_count or sum(1 for _ in read_pictures(clip.frames, size, None))
        holes = self.drawn.holes(clip.name, kind, (info.height, info.width), frames)
        yield lambda frame: next(holes)


def parse_masks(texts: tuple[str, ...], dilation: str = AS_THEY_ARE) -> list[Masks]:
    """Of every --masks. Raises `UsageError` for two of one kind's name."""
    grown = Dilation.parse(dilation)
    found: list[Masks] = [
        DrawnMasks(SeededMasks.parse(text)) if text.startswith("seed:") else FolderMasks(text, grown) for text in texts
    ]
    kinds = [kind for masks in found for kind in masks.kinds]
    twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
    if twice is not None:
        raise UsageError(f"--masks names {twice!r} twice: give kinds of masks different names")
    return found


def holed_frames(
    clip: Clip, masks: Masks, kind: str, size: tuple[int, int] | None, limit: int | None
) -> Iterator[HoledFrame]:
    """A clip's frames with their holes, blacked out there: no fill can learn the answer from them."""
    with masks.opened(clip, kind, size) as hole_at, closing(read_pictures(clip.frames, size, limit)) as frames:
        for frame in frames:
            hole = hole_at(frame)
            rgb = np.where(hole[..., None] != 0, np.uint8(0), frame.rgb).astype(np.uint8)
            yield HoledFrame.of(Frame(frame.index, rgb, Fraction(frame.index)), hole, hole)
