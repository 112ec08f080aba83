"""Image files as bytes, within limits and whole as far as they tell. Needs neither PyAV nor OpenCV: training reads by
it, too."""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError
from . import sequences
from .damage import damage
from .headers import ImageHeader, read_header

MAX_PIXELS = 1 << 28  # 16384 x 16384: what one picture may have
MAX_BYTES = 1 << 31  # what an image file may have


def whole_bytes(path: Path, max_pixels: int = MAX_PIXELS) -> bytes:
    """What an image file holds, after checking limits and whatever tells of damage. Raises `InputError`."""
    sequences.require_file(path)
    _check_limits(path, read_header(path), max_pixels)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(
                f"cannot read image {path}: it has {size} bytes, and {MAX_BYTES} is the limit for an image"
            )
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read image {path}: {error.strerror or error}") from error
    reason = damage(data)
    if reason is not None:
        raise InputError(f"cannot read image {path}: {reason}")
    return data


def _check_limits(path: Path, header: ImageHeader | None, max_pixels: int) -> None:
    height, width = header.stored if header is not None else (0, 0)
    if height * width > max_pixels:
        raise InputError(
            f"cannot read image {path}: it is {width}x{height}, more than the {max_pixels} pixels an image may "
            "have here; scale it down"
        )
