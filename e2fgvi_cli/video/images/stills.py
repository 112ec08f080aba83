"""The pictures of a source of images by number: a folder, a pattern, one file, or the pages of one file."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from . import files as image_files
from . import samples as images
from . import sequences
from .headers import ImageHeader, Kind, is_moving_png, read_header

_MOST_MOVING_BYTES = 1 << 30  # of an animated WebP, which OpenCV decodes as a whole


@dataclass(frozen=True)
class Picture:
    """One picture: a file, or a page of a file of several (`page` as `ImageHeader.pages` counts)."""

    path: Path
    page: int | None = None

    def __str__(self) -> str:
        return str(self.path) if self.page is None else f"{self.path}, page {self.page + 1}"


def is_stills(path: Path) -> bool:
    """Whether a source is read as images: a folder, a pattern or an image file, but not an APNG, which is a video."""
    if path.is_dir() or sequences.is_pattern(path):
        return True
    return sequences.is_image_path(path) and not is_moving_png(path)


class Stills:
    """The pictures behind a path, in order. Raises `InputError` for none, and for those that cannot be one clip."""

    def __init__(self, path: Path) -> None:
        files = sequences.image_files(path)
        self._alone = None if path.is_dir() or len(files) > 1 else read_header(files[0])
        pages = self._alone.pages if self._alone is not None else ()
        self.pictures = [Picture(files[0], page) for page in pages] if len(pages) > 1 else [Picture(f) for f in files]
        self._moving: list[NDArray[Any]] = []

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def rate(self) -> Fraction | None:
        """Pictures a second, on average, where the file has times (animated WebP)."""
        milliseconds = sum(self.durations)
        return Fraction(1000 * len(self), milliseconds) if milliseconds else None

    @property
    def durations(self) -> tuple[int, ...]:
        """Milliseconds of each picture; () where the file has no times."""
        return self._alone.durations if self._alone is not None and len(self) > 1 else ()

    def read(self, index: int, on_damage: images.OnDamage | None = None) -> NDArray[Any]:
        """As `images.read_image`."""
        picture = self.pictures[index]
        if picture.page is None or not self.durations:
            return images.read_image(picture.path, picture.page, on_damage)
        if not self._moving:
            self._moving = _moving_webp(picture.path, self._alone)
        if len(self._moving) != len(self):
            raise InputError(
                f"cannot read image {picture.path}: {len(self._moving)} of {len(self)} pictures can be decoded; "
                "export it again"
            )
        return self._moving[index]

    def kind(self, first: NDArray[Any]) -> Kind:
        """The narrowest kind that holds every picture, by the headers of all and `first`, the first one as decoded.

        Raises `InputError` where they differ in size, or mix floats with whole numbers.
        """
        kind, size = images.kind_of(first), first.shape[:2]
        for picture in self.pictures[1:] if self._alone is None else ():
            header = read_header(picture.path)
            if header is None:
                continue  # reading it says what is wrong
            if header.size is not None and header.size != size:
                raise mixed_sizes(self.pictures[0].path, size, picture.path, header.size)
            if (header.kind.depth == 32) != (kind.depth == 32):
                raise InputError(
                    f"the frames differ in kind: one of {self.pictures[0]} and {picture} has float samples, the "
                    "other has none; export them in one format"
                )
            kind |= header.kind
        return kind


def mixed_sizes(first: object, first_size: tuple[int, ...], other: object, other_size: tuple[int, ...]) -> InputError:
    """The error for two frames of a folder whose sizes (height, width) differ."""
    return InputError(
        f"the frames differ in size: {first} is {first_size[1]}x{first_size[0]}, "
        f"{other} is {other_size[1]}x{other_size[0]}; export them at one size"
    )


def _moving_webp(path: Path, header: ImageHeader | None) -> list[NDArray[Any]]:
    """All pictures of an animated WebP, RGB or RGBA."""
    assert header is not None
    needed = header.stored[0] * header.stored[1] * len(header.pages) * (4 if header.kind.alpha else 3)
    if needed > _MOST_MOVING_BYTES:
        raise InputError(
            f"the animated WebP {path} decodes to {needed} bytes, and {_MOST_MOVING_BYTES} is the limit; convert "
            "it to a video"
        )
    if not hasattr(cv2, "imdecodeanimation"):
        raise InputError(
            f"{path} is an animated WebP, which needs OpenCV 4.11; convert it to a video, or update OpenCV"
        )
    try:
        _, animation = cv2.imdecodeanimation(np.frombuffer(image_files.whole_bytes(path), np.uint8))
    except cv2.error as error:
        raise InputError(f"cannot read image {path}: it is no animated WebP that OpenCV can decode") from error
    return [images.swap_red_blue(np.asarray(frame)) for frame in animation.frames]
