"""Pictures of a before and an after: beside each other, split, wiped; and a frame with its hole painted over."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ..types import HoleArray, PixelArray

COMPARE_MODES = ("side", "split", "wipe")
WIPE_SECONDS = 4.0
_LINE = 2
_HOLE_COLOUR = (255, 40, 80)

Picture = NDArray[np.uint8]


def eight_bits(rgb: PixelArray) -> Picture:
    """uint8 as it is, uint16 rounded to it."""
    return cast(Picture, rgb if rgb.dtype == np.uint8 else np.rint(rgb / 257.0).astype(np.uint8))


def before_after(source: PixelArray, result: PixelArray, mode: str, time: Fraction = Fraction(0)) -> Picture:
    """One uint8 RGB picture of two (H, W, 3): "side" (H, 2W + 2), "split" and "wipe" (H, W) with a white line between
    the source on the left and the result on the right; the line of "wipe" swings from the right edge to
    the left and back in `WIPE_SECONDS` of `time`."""
    left, right = eight_bits(source), eight_bits(result)
    if mode == "side":
        line = np.full((left.shape[0], _LINE, 3), 255, np.uint8)
        return np.hstack([left, line, right])
    width = left.shape[1]
    swing = 0.5 + 0.5 * math.cos(2 * math.pi * float(time) / WIPE_SECONDS) if mode == "wipe" else 0.5
    place = round(swing * width)
    picture = np.concatenate([left[:, :place], right[:, place:]], axis=1)
    picture[:, max(place - _LINE // 2, 0) : place + _LINE // 2] = 255
    return picture


def overlay(rgb: PixelArray, hole: HoleArray) -> Picture:
    """The frame with its hole tinted and outlined, uint8."""
    picture = eight_bits(rgb).copy()
    inside = hole > 0
    picture[inside] = np.rint(0.45 * picture[inside] + 0.55 * np.array(_HOLE_COLOUR)).astype(np.uint8)
    outline = inside & (cv2.erode(hole, np.ones((3, 3), np.uint8)) == 0)
    picture[outline] = 255
    return picture


def label(picture: Picture, text: str) -> Picture:
    """A copy with a line of text (ASCII) on a dark strip above it."""
    strip = np.full((18, picture.shape[1], 3), 24, np.uint8)
    cv2.putText(cast(Any, strip), text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (235, 235, 235), 1, cv2.LINE_AA)
    return np.vstack([strip, picture])


def shrink(picture: Picture, largest: int) -> Picture:
    """At most `largest` pixels on the longer side."""
    scale = largest / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = (max(round(picture.shape[1] * scale), 1), max(round(picture.shape[0] * scale), 1))
    return cast(Picture, cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
