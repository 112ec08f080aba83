"""A contact sheet of frames chosen beforehand, or spread evenly over a clip whose length nobody knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..system.publication import Publication
from ..video import images
from .layout import Picture, label, shrink


class ContactSheet:
    """`offer` every frame's pictures; `picture()` is a sheet of `columns` of them a frame and one row (or cell) a
    frame.

    With `frames` those numbers are taken. Otherwise every frame is, then every second, every fourth, ... so that never
    more than twice `count` small pictures are held; `picture()` takes `count` of them, evenly.
    """

    def __init__(
        self, *, count: int = 6, frames: Sequence[int] | None = None, largest: int = 320, across: int = 1
    ) -> None:
        self._count, self._largest, self._across = max(1, count), largest, max(1, across)
        self._frames = None if frames is None else frozenset(frames)
        self._stride = 1
        self._cells: list[tuple[int, Picture]] = []

    def wants(self, index: int) -> bool:
        """Whether the pictures of frame `index` would be kept; asking first saves making them."""
        return index in self._frames if self._frames is not None else index % self._stride == 0

    def offer(self, index: int, pictures: Sequence[Picture], caption: str) -> None:
        """Keep the frame's pictures (uint8 RGB, one size), side by side under a caption, if it is wanted."""
        if not self.wants(index):
            return
        cell = np.hstack([np.pad(shrink(one, self._largest), ((0, 0), (0, 4), (0, 0))) for one in pictures])
        self._cells.append((index, label(cell, caption)))
        if self._frames is None and len(self._cells) > 2 * self._count:
            self._stride *= 2
            self._cells = [kept for kept in self._cells if kept[0] % self._stride == 0]

    def picture(self) -> Picture | None:
        """The sheet, or None if no frame was kept."""
        if not self._cells:
            return None
        chosen = self._cells
        if self._frames is None and len(chosen) > self._count:
            places = np.linspace(0, len(chosen) - 1, self._count).round().astype(int)
            chosen = [self._cells[place] for place in places]
        cells = [cell for _, cell in chosen]
        cells += [np.zeros_like(cells[0])] * (-len(cells) % self._across)
        rows = [np.hstack(cells[start : start + self._across]) for start in range(0, len(cells), self._across)]
        return np.vstack(rows)

    def save(self, path: Path, publication: Publication, *, overwrite: bool = False) -> bool:
        """Write the sheet as PNG, which `publication` gives its name; False if there was no frame. Raises OSError."""
        sheet = self.picture()
        if sheet is None:
            return False
        images.write_image(publication.temporary(path, overwrite=overwrite), sheet)
        return True
