"""Mask pictures on disk: gray, colour, alpha, palette and object-number images, each read as a hole of its own size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

from ... import masks
from ...errors import InputError
from ...masks import MaskOptions
from ...masks.inspection import looks_compressed
from ...masks.looks import Look, is_coloured
from ...masks.reading import Reading, coverage_notices, decide, tells_objects
from ...types import HoleArray
from .. import images, local, native
from ..images import files as image_files
from ..images import sequences

HIGHEST = 127
"""The highest number of an object in a gray picture: what is above is a level."""
_PNG_PALETTE = 3
_LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg", ".webp"})


class MaskDecoder:
    """Turns mask pictures into holes by one set of options, and collects in `notices` (each said once) what it assumed.

    `settle` decides once, for all masks of a clip, what their samples mean; without it they are plain levels. A mask
    image of more than `max_pixels` is refused.
    """

    def __init__(self, options: MaskOptions, notices: list[str], *, inspect: bool = False) -> None:
        self._inspect = inspect
        self.options = options
        self.notices = notices
        self.max_pixels = image_files.MAX_PIXELS
        self._said: set[str] = set()
        self._reading = Reading()
        self.tells_objects = False
        """Whether the masks that were looked at hold several objects by number."""

    def say_once(self, key: str, sentence: str) -> None:
        """Add a notice unless one of this kind was given before."""
        if key not in self._said:
            self._said.add(key)
            self.notices.append(sentence)

    def settle(self, looks: Sequence[Look], whole: int | None) -> None:
        """Decide by what was looked at (of `whole` masks; None: unknown) how all are read, and say so. Raises
        `UserError`."""
        self._reading, notices = decide(looks, self.options)
        self.notices += notices
        self.tells_objects = tells_objects(looks, self._reading, self.options)
        if not self._inspect:  # who inspects looks at every frame
            shares = [(look.name, self._reading.share(look, self.options)) for look in looks]
            self.notices += coverage_notices(shares, whole, inverted=self.options.invert)

    def look_at(self, path: Path) -> Look:
        """What the mask image holds. Raises `InputError` if it cannot be read."""
        palette = self._palette(path)
        if palette is not None:
            return Look.of_palette(*palette, path.name)
        lossless = path.suffix.lower() not in _LOSSY_SUFFIXES
        return self.look(self._picture(path), path.name, lossless=lossless)

    def look(self, picture: NDArray[Any], name: str, *, lossless: bool) -> Look:
        """What a decoded mask picture holds, counted as the options need it."""
        options = self.options
        return Look.of(picture, name, lossless=lossless, luma=options.any_value, exact=options.ids is not None)

    def read(self, path: Path) -> HoleArray:
        """(H, W) hole of a mask image at its own size. Raises `InputError` if it cannot be read."""
        palette = self._palette(path)
        if palette is None:
            return self.decode(self._picture(path), path.name)
        if self.options.ids is not None:
            return self._invert(masks.select_ids(palette[0], self.options.ids))
        return self._invert(self._reading.hole_of_palette(*palette, self.options))

    def numbers(self, path: Path) -> NDArray[np.uint8]:
        """(H, W): the object's number in each pixel of the hole, 1 to `HIGHEST`, else 0. Those above are told apart
        no more. Raises `InputError` if it cannot be read."""
        palette = self._palette(path)
        given = palette[0] if palette is not None else _object_numbers(self._picture(path), path.name)
        numbers = np.where(given == 0, HIGHEST, np.minimum(given, HIGHEST)).astype(np.uint8)
        return numbers * self.read(path)

    def decode(self, picture: NDArray[Any], name: str) -> HoleArray:
        """(H, W) hole of a decoded picture (gray, RGB or RGBA); `name` is what notices and errors call it."""
        options = self.options
        if options.ids is not None:
            return self._invert(masks.select_ids(_object_numbers(picture, name), options.ids))
        if self._inspect and looks_compressed(picture):
            self.say_once(
                "compressed",
                f"mask {name} has noisy edges that look like lossy compression (JPEG, H.264): save masks as PNG, "
                "and keep --mask-threshold near 127",
            )
        hole = self._reading.hole(picture, options)
        if self._inspect and not hole.any() and picture.ndim == 2 and picture.any():
            self.say_once(
                "faint", f"mask {name} has no hole: its highest level is {int(picture.max())}, below the threshold"
            )
        return self._invert(hole)

    def _invert(self, hole: HoleArray) -> HoleArray:
        return 1 - hole if self.options.invert else hole

    def _palette(self, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
        return None if self.options.any_value else read_palette(path, self.max_pixels)

    def _picture(self, path: Path) -> NDArray[Any]:
        return images.read_image(
            path, on_damage=lambda sentence: self.say_once(f"damaged {path}", sentence), max_pixels=self.max_pixels
        )


def _object_numbers(picture: NDArray[Any], name: str) -> NDArray[Any]:
    if picture.ndim == 2:
        return picture
    if not is_coloured(picture, 0):
        return picture[:, :, 0]
    raise InputError(
        f"--mask-ids needs object numbers, and mask {name} is a colour image; save it as gray or palette PNG"
    )


def read_palette(
    path: Path, max_pixels: int = image_files.MAX_PIXELS
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """((H, W) indices, (256, 4) RGBA colours) of a palette PNG; None for any other file. Raises `InputError`."""
    sequences.require_file(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(26)
    except OSError as error:
        raise InputError(f"cannot read image {path}: {error.strerror or error}") from error
    if head[:8] != b"\x89PNG\r\n\x1a\n" or len(head) < 26 or head[25] != _PNG_PALETTE:
        return None
    image_files.whole_bytes(path, max_pixels)
    try:
        with local.open_local(path) as container:
            frame = next(container.decode(video=0))
    except (av.FFmpegError, StopIteration, IndexError, OSError) as error:
        raise InputError(f"cannot read image {path}: its palette PNG data is damaged") from error
    if frame.format.name != "pal8":
        return None
    rows = native.plane_rows(frame.planes[0])
    colours = np.frombuffer(cast(Any, frame.planes[1]), np.uint8)[:1024].reshape(256, 4)
    return np.ascontiguousarray(rows[:, : frame.width]), np.ascontiguousarray(colours[:, [2, 1, 0, 3]])
