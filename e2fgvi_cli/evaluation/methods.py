"""What is scored: the network through the program's own stream, fills that need no network, another program's files.

Each takes a clip's frames with their holes blacked out and gives its pictures in order, with the hole each has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import video
from ..errors import InputError
from ..fill.stream import WindowEngine
from ..frames.stages import HoledFrame
from ..options import InpaintOptions
from ..propagation.options import PropagationOptions
from ..propagation.propagate import propagate
from ..quality.baselines import median_clip, telea
from ..types import Frame, HoleArray

NETWORK, RESULTS = "network", "results"
Picture = NDArray[np.uint8]
Filled = Iterator[tuple[Picture, HoleArray]]
Fill = Callable[[Iterator[HoledFrame]], Filled]


def fill_telea(frames: Iterator[HoledFrame]) -> Filled:
    """Telea's method, each frame on its own."""
    for item in frames:
        yield telea(_rgb(item), item.hole), item.hole


def fill_median(frames: Iterator[HoledFrame]) -> Filled:
    """The temporal median, as for a camera that stands still. Holds the clip."""
    items = list(frames)
    holes = [item.hole for item in items]
    yield from zip(median_clip([_rgb(item) for item in items], holes), holes, strict=True)


def fill_propagated(frames: Iterator[HoledFrame]) -> Filled:
    """The pixels that image propagation finds in other frames, and Telea's method for the rest."""
    for item, found in propagate(frames, PropagationOptions()):
        rgb, rest = _rgb(item), item.hole
        if found is not None:
            rgb, rest = np.asarray(found[0], np.uint8), np.where(found[1], np.uint8(0), item.hole)
        yield telea(rgb, rest), item.hole


BASELINES: dict[str, Fill] = {"propagated": fill_propagated, "median": fill_median, "telea": fill_telea}
METHODS = (NETWORK, *BASELINES)


class NetworkFill:
    """The network as `e2fgvi inpaint` runs it with these options, cuts not looked for. Assembled anew for frames of
    another size."""

    def __init__(self, options: InpaintOptions) -> None:
        self.options = options
        self._engines: dict[tuple[int, int], WindowEngine] = {}
        self.notices: tuple[str, ...] = ()

    def __call__(self, frames: Iterator[HoledFrame]) -> Filled:
        from ..engine import assemble
        from ..pipeline import finished_frames

        first = next(frames, None)
        if first is None:
            return
        size = first.frame.size
        if size not in self._engines:
            made = assemble(self.options, None, size, 8)
            self._engines, self.notices = {size: made.engine}, made.notices
        holes: dict[int, HoleArray] = {}

        def read() -> Iterator[Frame]:
            for item in chain([first], frames):
                holes[item.frame.index] = item.hole
                yield item.frame

        engine = self._engines[size]
        for finished in finished_frames(read(), lambda frame: holes.pop(frame.index), [engine], self.options):
            yield np.asarray(finished.rgb, np.uint8), finished.source.hole


@dataclass(frozen=True)
class StoredFill:
    """Pictures of another program: FOLDER/KIND/CLIP or FOLDER/CLIP, a folder of images or a video file."""

    folder: Path
    clip: str
    kind: str
    limit: int | None

    def path(self) -> Path:
        """Raises `InputError`."""
        names = [self.folder / self.kind / self.clip, self.folder / self.clip]
        for name in names:
            if name.is_dir():
                return name / "frames" if (name / "frames").is_dir() else name
            for suffix in (".mp4", ".mkv", ".avi", ".mov"):
                if (file := name.with_name(name.name + suffix)).is_file():
                    return file
        raise InputError(f"--results {self.folder} has nothing for clip {self.clip}: put its frames in {names[0]}")

    def __call__(self, frames: Iterator[HoledFrame]) -> Filled:
        path = self.path()
        with video.open_reader(path) as reader:
            pictures = iter(islice(reader, self.limit))
            for item in frames:
                picture = next(pictures, None)
                if picture is None:
                    raise InputError(f"{path} ends before frame {item.frame.index}: give a picture for every frame")
                if picture.rgb.shape != item.frame.rgb.shape or picture.rgb.dtype != np.uint8:
                    shown, wanted = (f"{p.shape[1]}x{p.shape[0]}" for p in (picture.rgb, item.frame.rgb))
                    raise InputError(f"{path} has pictures of {shown}, the protocol {wanted}: give 8 bits of that size")
                yield np.asarray(picture.rgb, np.uint8), item.hole
            if next(pictures, None) is not None:
                raise InputError(f"{path} has more pictures than the clip has frames: give one for every frame")


def _rgb(item: HoledFrame) -> Picture:
    return np.asarray(item.frame.rgb, np.uint8)
