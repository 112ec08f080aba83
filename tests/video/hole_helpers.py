"""Masks that tell their number, and the holes a reader makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.masks import Dilation, MaskOptions
from e2fgvi_cli.types import HoleArray
from e2fgvi_cli.video import open_holes, open_reader

EXACT = MaskOptions(dilation=Dilation(0))


def holes_of(source: Path, mask: Path | None, options: MaskOptions = EXACT) -> tuple[list[HoleArray], list[str]]:
    with open_reader(source) as reader, open_holes(mask, reader.info, options) as holes:
        return [holes.hole_at(frame) for frame in reader], holes.notices


def refused(source: Path, mask: Path | None, options: MaskOptions = EXACT) -> str:
    with pytest.raises((InputError, UsageError)) as caught:
        holes_of(source, mask, options)
    return str(caught.value)


def marked(index: int, size: tuple[int, int] = (48, 64)) -> HoleArray:
    """A mask that tells its number: column `index` set."""
    hole = np.zeros(size, np.uint8)
    hole[:, index] = 255
    return hole


def numbers(holes: Iterable[HoleArray]) -> list[int | None]:
    """Inverse of `marked`: the first column set of each hole."""
    return [int(np.flatnonzero(hole.any(axis=0))[0]) if hole.any() else None for hole in holes]


def mask_folder(path: Path, names: Iterable[str], size: tuple[int, int] = (48, 64)) -> Path:
    path.mkdir(parents=True)
    for index, name in enumerate(names):
        cv2.imwrite(str(path / name), marked(index, size))
    return path


def mask_video(path: Path, ticks: Iterable[int], time_base: Fraction) -> Path:
    """A lossless video whose frame n is `marked(n)`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt, context.time_base = 64, 48, "gray", time_base
        for index, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(marked(index), "gray")
            frame.pts, frame.time_base = tick, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
