"""Pictures of an evaluation, kept beside its figures as they come: what a page shows of each case.

Of each clip and kind of mask the same frames by every method: the worst one of the method that was scored first, and
some spread over the clip. They lie in FOLDER/pictures/KIND/CLIP/FRAME/LAYER.jpg.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..report.pictures import error_map, jpeg, masked
from ..system.publication import replace_file
from ..types import HoleArray

PICTURES = "pictures"
SPREAD = 2
"""Frames beside the worst one."""
LARGEST = 640
TRUTH, INPUT = "truth", "input"

Picture = NDArray[np.uint8]


def error_layer(method: str) -> str:
    """What the map of a method's error is called."""
    return f"error of {method}"


@dataclass
class Album:
    """Makes a watcher for every case. known: cases of an earlier run, whose frames are kept."""

    folder: Path
    known: list[dict[str, Any]] = field(default_factory=list)
    _frames: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for case in self.known:
            self.remember(case["kind"], case["clip"], case.get("pictures", {}).get("frames", []))

    def remember(self, kind: str, clip: str, frames: list[int]) -> None:
        """These frames of the clip are shown by every method."""
        if frames:
            self._frames.setdefault((kind, clip), frames)

    def watch(self, method: str, kind: str, clip: str, length: int | None) -> CaseWatcher:
        """For one case."""
        return CaseWatcher(self, method, kind, clip, self._frames.get((kind, clip)), length)

    def place(self, kind: str, clip: str) -> Path:
        """Where a clip's pictures lie."""
        return self.folder / PICTURES / kind / clip


class CaseWatcher:
    """Keeps the pictures of one case; at most `SPREAD` + 1 of them are held."""

    def __init__(
        self, album: Album, method: str, kind: str, clip: str, frames: list[int] | None, length: int | None
    ) -> None:
        self._album, self._method, self._kind, self._clip = album, method, kind, clip
        self._first = frames is None
        spread = [] if length is None else [round((i + 0.5) * length / SPREAD) for i in range(SPREAD)]
        self._wanted = set(spread if frames is None else frames)
        self._kept: dict[int, dict[str, bytes]] = {}
        self._worst: tuple[float, int, dict[str, bytes]] | None = None

    def add(self, index: int, result: Picture, truth: Picture, hole: HoleArray, squared: float | None) -> None:
        """The next frame."""
        worse = self._first and (self._worst is None or (squared or 0.0) > self._worst[0])
        if index not in self._wanted and not worse:
            return
        inside = hole != 0
        pasted = np.where(inside[..., None], result, truth).astype(np.uint8)
        layers = {
            TRUTH: truth,
            self._method: pasted,
            INPUT: masked(truth, inside),
            error_layer(self._method): error_map(pasted, truth, inside),
        }
        stored = {name: jpeg(picture, LARGEST) for name, picture in layers.items()}
        if index in self._wanted:
            self._kept[index] = stored
        if worse:
            self._worst = (squared or 0.0, index, stored)

    def finish(self) -> dict[str, Any]:
        """Write the pictures; what to keep in the case's record."""
        if self._worst is not None:
            self._kept.setdefault(self._worst[1], self._worst[2])
        frames = sorted(self._kept)
        self._album.remember(self._kind, self._clip, frames)
        for index, layers in self._kept.items():
            folder = self._album.place(self._kind, self._clip) / f"{index:05d}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                for name, data in layers.items():
                    replace_file(folder / f"{name}.jpg", data)
            except OSError as error:
                raise InputError(f"cannot write into {folder}: {error.strerror or error}") from error
        return {"frames": frames}
