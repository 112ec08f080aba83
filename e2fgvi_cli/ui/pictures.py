"""Frames of clips and masks as the bytes that a browser shows, at the orientation in which they are displayed."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np

from .. import masks, video
from ..comparison.layout import eight_bits
from ..errors import InputError
from ..types import HoleArray, PixelArray

LARGEST_MASK = 64 << 20
"""Bytes of a mask that a page may send."""
_OPEN = 3
_KEEP = 16


class Pictures:
    """Frames of some clips by number, from any thread; the clips last asked for stay open."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: OrderedDict[tuple[Path, int], Any] = OrderedDict()

    def frame(self, clip: Path, index: int) -> PixelArray:
        """(H, W, 3) uint8 as displayed. Raises `InputError` where there is no such frame."""
        with self._lock:
            access = self._access(clip)
            if not 0 <= index < len(access):
                raise InputError(f"frame {index} is not in {clip.name}, which has frames 0 to {len(access) - 1}")
            picture = eight_bits(access.frame(index).rgb)
            return np.ascontiguousarray(masks.turn_to_display(picture, access.info.rotation))

    def describe(self, clip: Path) -> dict[str, Any]:
        """Number of frames, size as displayed, frames a second. Raises `InputError` for what is no clip."""
        with self._lock:
            access = self._access(clip)
            height, width = access.info.display_size
            rate = float(access.info.frame_rate or 25)
            return {"frames": len(access), "width": width, "height": height, "rate": rate}

    def _access(self, clip: Path) -> Any:
        key = (clip, clip.stat().st_mtime_ns)
        if key not in self._open:
            while len(self._open) >= _OPEN:
                self._open.popitem(last=False)[1].__exit__(None, None, None)
            self._open[key] = video.open_random_access(clip, keep=_KEEP).__enter__()
        self._open.move_to_end(key)
        return self._open[key]

    def close(self) -> None:
        """Close all clips."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].__exit__(None, None, None)


def jpeg(rgb: PixelArray) -> bytes:
    """(H, W, 3) uint8 as a JPEG."""
    return cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def png(numbers: HoleArray) -> bytes:
    """(H, W) uint8 as a PNG."""
    return cv2.imencode(".png", numbers)[1].tobytes()


def mask_from_png(data: bytes, size: tuple[int, int]) -> HoleArray:
    """(H, W) in {0, 1} from the PNG that a page sent. Raises `InputError` unless it has the frame's size."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    if image is None:
        raise InputError("the mask that was sent is no PNG: reload the page and draw it again")
    if image.shape != size:
        found = f"{image.shape[1]}x{image.shape[0]}"
        raise InputError(f"the mask has {found} pixels, the frame {size[1]}x{size[0]}: reload the page")
    return (image > 127).astype(np.uint8)
