"""Image files: what they are, whether they are whole, and their pictures by number.

What `samples` offers is resolved on first use: `headers`, `files` and `damage` are imported where neither PyAV nor
OpenCV is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .samples import ImageNative, OnDamage, blend, kind_of, read_image, swap_red_blue, to_rgb, widen, write_image

__all__ = [
    "ImageNative",
    "OnDamage",
    "blend",
    "kind_of",
    "read_image",
    "swap_red_blue",
    "to_rgb",
    "widen",
    "write_image",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import samples

    return getattr(samples, name)
