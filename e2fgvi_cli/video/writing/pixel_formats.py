"""Pixel formats by name: the one a source's frames have, and which one keeps most of it."""

from __future__ import annotations

import av

from ...types import VideoInfo
from .. import native

RGB8 = frozenset({"rgb24", "bgr24", "rgb0", "bgr0", "0rgb", "0bgr", "gbrp"})
# formats into which a source converts without changing a sample, by preference
LOSSLESS_EQUIVALENT = {
    "rgb24": ("gbrp", "bgr0"),
    "bgr24": ("gbrp", "bgr0"),
    "rgb0": ("gbrp", "bgr0"),
    "0rgb": ("gbrp", "bgr0"),
    "0bgr": ("gbrp", "bgr0"),
    "bgr0": ("gbrp",),
    "gbrp": ("bgr0",),
    "rgba": ("gbrap", "bgra"),
    "argb": ("gbrap", "bgra"),
    "abgr": ("gbrap", "bgra"),
    "bgra": ("gbrap",),
    "gbrap": ("bgra",),
    "rgb48le": ("gbrp16le",),
    "rgba64le": ("gbrap16le",),
}


def source_format(info: VideoInfo) -> str:
    """The viewable pixel format the frames of this source have."""
    if info.is_folder:
        deep = info.bit_depth > 8
        if info.pixel_format == "gray":
            return "gray16le" if deep else "gray"
        alpha = info.pixel_format == "rgba"
        return ("rgba64le" if alpha else "rgb48le") if deep else ("rgba" if alpha else "rgb24")
    return native.viewable_format(av.VideoFormat(info.pixel_format))


def without_j(name: str) -> str:
    """The name of the format with the same samples and no word on their range."""
    return name.replace("yuvj", "yuv")


def nearest(source: str, available: tuple[str, ...]) -> str:
    """The encoder's format that keeps most: alpha if it can, then the chroma (4:2:0 for RGB, as players expect), then
    depth."""
    layout = native.require_layout(source)
    sampling = {(1, 1): 444, (1, 2): 422, (2, 2): 420, (2, 1): 420, (1, 4): 422, (4, 4): 420}[layout.subsampling]
    if layout.kind != "yuv":
        sampling = 420
    candidates = [
        candidate
        for candidate in map(native.layout_of, available)
        if candidate is not None and candidate.kind == "yuv" and not candidate.forced_full_range
    ]

    def loss(candidate: native.PixelLayout) -> tuple[bool, bool, int, int]:
        kept = int({(1, 1): 444, (1, 2): 422, (2, 2): 420}.get(candidate.subsampling, 400))
        return (
            candidate.alpha != layout.alpha,
            kept < sampling,
            abs(min(layout.depth, 12 if sampling > 420 else 10) - candidate.depth),
            kept - sampling,
        )

    return min(candidates, key=loss).name
