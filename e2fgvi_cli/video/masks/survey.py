"""A look at the masks before the work: enough of them to decide what all mean, and all of them where some leave
doubt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ...masks.looks import Look
from ...types import Frame, VideoInfo
from .. import images, native
from ..reading.reader import FolderReader, FrameReader, VideoReader
from .files import MaskDecoder

ENOUGH = 64
"""So many masks are looked at, spread over the folder (of a video: the first ones); more while none of those shows what
kind they are."""

_BLACK_LEVEL = 16  # of the limited range
_LOSSLESS_CODECS = frozenset(
    {"ffv1", "png", "apng", "rawvideo", "huffyuv", "ffvhuff", "utvideo", "qtrle", "magicyuv", "tif", "tiff"}
)


def survey_files(files: Sequence[Path], decoder: MaskDecoder) -> None:
    """Let the decoder decide how the mask files are read. Raises `UserError` as `MaskDecoder` does."""
    first = sorted({round(place) for place in np.linspace(0, len(files) - 1, min(ENOUGH, len(files)))})
    chosen = set(first)
    order = [*first, *(place for place in range(len(files)) if place not in chosen)]
    looks = _enough((decoder.look_at(files[place]) for place in order), decoder)
    decoder.settle(looks, len(files))


def open_masks(info: VideoInfo) -> FrameReader:
    """A reader of a mask video, or of the pages of one image file."""
    return FolderReader(info) if info.is_folder else VideoReader(info)


def survey_video(info: VideoInfo, decoder: MaskDecoder) -> None:
    """Let the decoder decide how the frames of a mask video are read. Raises `UserError`."""
    lossless = info.codec in _LOSSLESS_CODECS and not info.pixel_format.startswith(("yuv", "nv"))
    with open_masks(info) as reader:
        looks = _enough(
            (
                decoder.look(mask_picture(frame), f"{info.path.name} (frame {frame.index})", lossless=lossless)
                for frame in reader
            ),
            decoder,
        )
    decoder.settle(looks, None)


def _enough(looks: Iterable[Look], decoder: MaskDecoder) -> list[Look]:
    """The first `ENOUGH` looks; while those leave doubt also the others."""
    found: list[Look] = []
    missing = set(decoder.options.ids or ())
    doubt = True
    for look in looks:
        found.append(look)
        missing.difference_update(look.numbers.values.tolist())
        doubt = doubt and not look.settles
        if len(found) >= ENOUGH and not doubt and not missing:
            break
    return found


def mask_picture(frame: Frame) -> NDArray[Any]:
    """A mask video's frame as gray (H, W), RGB, or RGBA if it has an alpha plane."""
    if isinstance(frame.native, images.ImageNative):
        return frame.native.samples
    layout = native.require_layout(frame.native.format.name)
    if layout.kind == "gray":
        import cv2

        samples = native.plane_view(frame.native, 0, layout)
        if layout.depth == 8 and samples.max() < _BLACK_LEVEL and frame.size == samples.shape:
            return samples.copy()  # numbers such as 0 and 1: as levels of the limited range they would all be black
        return cast(NDArray[Any], cv2.extractChannel(frame.rgb, 0))
    alpha = native.alpha_of(frame.native)
    return frame.rgb if alpha is None else np.dstack([frame.rgb, alpha])
