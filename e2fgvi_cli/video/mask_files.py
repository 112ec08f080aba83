"""Mask pictures on disk: gray, colour, alpha, palette and object-number images, each read as a hole of its own size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

from .. import masks
from ..errors import InputError
from ..masks import MaskOptions
from ..masks.inspection import looks_compressed
from ..types import HoleArray
from . import images, local, native

_PNG_PALETTE = 3


class MaskDecoder:
    """Turns mask pictures into holes by one set of options, and collects in `notices` (each said once) what it assumed."""

    def __init__(self, options: MaskOptions, notices: list[str], *, inspect: bool = False) -> None:
        self._inspect = inspect
        self.options = options
        self.notices = notices
        self._said: set[str] = set()

    def say_once(self, key: str, sentence: str) -> None:
        """Add a notice unless one of this kind was given before."""
        if key not in self._said:
            self._said.add(key)
            self.notices.append(sentence)

    def read(self, path: Path) -> HoleArray:
        """(H, W) hole of a mask image at its own size. Raises `InputError` if it cannot be read."""
        palette = read_palette(path)
        if palette is not None and not self.options.any_value:
            return self._invert(self._from_palette(*palette, path))
        return self.decode(images.read_image(path), path.name)

    def decode(self, picture: NDArray[Any], name: str) -> HoleArray:
        """(H, W) hole of a decoded picture (gray, RGB or RGBA); `name` is what notices and errors call it."""
        options = self.options
        if options.ids is not None:
            return self._invert(masks.select_ids(_object_numbers(picture, name), options.ids))
        if self._inspect and looks_compressed(picture):
            self.say_once(
                "compressed",
                f"mask {name} has noisy edges that look like lossy compression (JPEG, H.264): save masks as PNG, and keep "
                "--mask-threshold near 127",
            )
        levels = masks.as_levels(picture, luma=options.any_value)
        if masks.has_mask_alpha(picture):
            self.say_once("alpha", f"mask {name} has transparency: its alpha channel is the mask, its colours are not")
        hole = masks.hole_from_levels(levels, options)
        if not hole.any() and levels.any():
            self.say_once(
                "faint",
                f"mask {name} has no level above the threshold {options.threshold} (its highest is {levels.max()}): "
                "no hole there; lower --mask-threshold, or use --mask-ids for images of object numbers",
            )
        return self._invert(hole)

    def _invert(self, hole: HoleArray) -> HoleArray:
        return 1 - hole if self.options.invert else hole

    def _from_palette(self, indices: NDArray[np.uint8], colours: NDArray[np.uint8], path: Path) -> HoleArray:
        """Object numbers if the palette is coloured (as in DAVIS and most tracking tools), else gray levels."""
        used = np.unique(indices)
        if self.options.ids is None and bool((colours[used].max(axis=1) == colours[used].min(axis=1)).all()):
            return masks.hole_from_levels(colours[:, 0][indices], self.options)
        objects = ", ".join(str(number) for number in used if number)
        self.say_once(
            "palette", f"mask {path.name} is a palette image: read as object numbers (here {objects or 'none'})"
        )
        return masks.select_ids(indices, self.options.ids)


def _object_numbers(picture: NDArray[Any], name: str) -> NDArray[Any]:
    if picture.ndim == 2:
        return picture
    if (picture[:, :, 0] == picture[:, :, 1]).all() and (picture[:, :, 1] == picture[:, :, 2]).all():
        return picture[:, :, 0]
    raise InputError(
        f"--mask-ids needs object numbers, and mask {name} is a colour image; save it as gray or palette PNG"
    )


def read_palette(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """((H, W) indices, (256, 3) RGB colours) of a palette PNG; None for any other file. Raises `InputError`."""
    try:
        with path.open("rb") as stream:
            head = stream.read(26)
    except OSError as error:
        raise InputError(f"cannot read image {path}: {error.strerror or error}") from error
    if head[:8] != b"\x89PNG\r\n\x1a\n" or len(head) < 26 or head[25] != _PNG_PALETTE:
        return None
    try:
        with local.open_local(path) as container:
            frame = next(container.decode(video=0))
    except (av.FFmpegError, StopIteration, IndexError, OSError) as error:
        raise InputError(f"cannot read image {path}: its palette PNG data is damaged") from error
    if frame.format.name != "pal8":
        return None
    rows = native.plane_rows(frame.planes[0])
    colours = np.frombuffer(cast(Any, frame.planes[1]), np.uint8)[:1024].reshape(256, 4)
    return np.ascontiguousarray(rows[:, : frame.width]), np.ascontiguousarray(colours[:, 2::-1])
