"""Clips made of arithmetic: a textured background under a moving camera, discs that cross it, and a hole that drifts.

The camera moves by whole pixels, which any alignment finds exactly; a hand-held one also turns, zooms and moves by
parts of a pixel.

Frames come one at a time and are forgotten, so ten thousand need no more memory than ten; a frame is little more than a
copy of a part of one large picture, so making it costs a small part of what is to be measured. The same seed gives the
same clip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..types import Frame, VideoInfo

if TYPE_CHECKING:
    from ..frames.stages import HoledFrame

Picture = NDArray[np.uint8]

FRAME_RATE = 25
MAX_HOLE_SHARE = 0.9
JPEG_QUALITY = 92
DISCS = 3
DRIFT = 2.0
"""Pixels a frame that the hole moves at most."""
_ROUNDNESS = 4
"""Exponent of the hole's outline, between an ellipse (2) and a box: real masks fill most of their bounding box."""


@dataclass(frozen=True)
class SyntheticClip:
    """`size` (height, width); `hole_share` of each frame's pixels is missing, 0 < share <= `MAX_HOLE_SHARE`. hand_held:
    the camera is. Raises `UsageError`."""

    size: tuple[int, int]
    frames: int
    hole_share: float = 0.1
    seed: int = 0
    hand_held: bool = False

    def __post_init__(self) -> None:
        if min(self.size) < 8:
            raise UsageError(f"a clip of {self.size[1]}x{self.size[0]} is too small: give at least 8x8")
        if self.frames < 1:
            raise UsageError(f"--frames {self.frames} is too small: give 1 or more")
        if not 0 < self.hole_share <= MAX_HOLE_SHARE:
            raise UsageError(
                f"--hole {self.hole_share:g} is no share of a frame: give more than 0, at most {MAX_HOLE_SHARE:g}"
            )

    def pictures(self) -> Iterator[tuple[Picture, Picture]]:
        """Each frame (H, W, 3) and its hole (H, W) in {0, 1}, new arrays every time."""
        height, width = self.size
        reach = max(4, min(self.size) // 8)
        rng = np.random.default_rng(self.seed)
        background = _texture(rng, (height + 2 * reach, width + 2 * reach))
        radius = max(2, min(self.size) // 10)
        discs = [_texture(rng, (2 * radius, 2 * radius)) for _ in range(DISCS)]
        round_ = _nearest((2 * radius, 2 * radius), round(math.pi * radius**2), exponent=2)[:, :, None] != 0
        phases = rng.uniform(0, 2 * math.pi, (DISCS, 2))
        blob = _blob(self.size, self.hole_share)
        drift = tuple(_Drift(side - part) for side, part in zip(self.size, blob.shape, strict=True))
        for t in range(self.frames):
            down, across = (reach + reach * math.sin(2 * math.pi * t / p + q) for p, q in ((97, 0.0), (61, 1.0)))
            if self.hand_held:
                rgb = _seen_by_hand(background, self.size, (down, across), t)
            else:
                top, left = round(down), round(across)
                rgb = background[top : top + height, left : left + width].copy()
            for number, (disc, phase) in enumerate(zip(discs, phases, strict=True)):
                y = round(
                    (height - 2 * radius) * (0.5 + 0.5 * math.sin(2 * math.pi * t / (83 + 10 * number) + phase[0]))
                )
                x = round(
                    (width - 2 * radius) * (0.5 + 0.5 * math.sin(2 * math.pi * t / (71 + 13 * number) + phase[1]))
                )
                np.copyto(rgb[y : y + 2 * radius, x : x + 2 * radius], disc, where=round_)
            hole = np.zeros(self.size, np.uint8)
            y, x = drift[0].at(t, 0.0), drift[1].at(t, 1.0)
            hole[y : y + blob.shape[0], x : x + blob.shape[1]] = blob
            yield rgb, hole

    def items(self) -> Iterator[HoledFrame]:
        """As `fill.stream.fill_shot` takes them."""
        from ..frames.stages import HoledFrame

        for i, (rgb, hole) in enumerate(self.pictures()):
            yield HoledFrame.of(Frame(i, rgb, Fraction(i, FRAME_RATE)), hole, hole.astype(np.float32))


@dataclass(frozen=True)
class _Drift:
    """To and fro between 0 and `room` pixels, at most `DRIFT` pixels a frame."""

    room: int

    def at(self, t: int, phase: float) -> int:
        period = max(60.0, math.pi * self.room / DRIFT)
        return round(self.room * (0.5 + 0.5 * math.sin(2 * math.pi * t / period + phase)))


def _seen_by_hand(background: Picture, size: tuple[int, int], corner: tuple[float, float], t: int) -> Picture:
    """What a camera at `corner` (top, left) sees that shakes, turns by up to 1.5 degrees and zooms by up to 3 %."""
    height, width = size
    angle = math.radians(1.5) * math.sin(2 * math.pi * t / 43)
    zoom = 1 + 0.03 * math.sin(2 * math.pi * t / 71 + 2)
    shake = [0.8 * math.sin(2 * math.pi * t / period) for period in (7.3, 5.1)]
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    middle = (width / 2, height / 2)
    turned = (cosine * middle[0] - sine * middle[1], sine * middle[0] + cosine * middle[1])
    place = [corner[1] + shake[0] + middle[0] - turned[0], corner[0] + shake[1] + middle[1] - turned[1]]
    to_background = np.array([[cosine, -sine, place[0]], [sine, cosine, place[1]]])
    flags, beyond = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REFLECT
    return np.asarray(
        cv2.warpAffine(background, to_background, (width, height), flags=flags, borderMode=beyond), np.uint8
    )


def write_frames(clip: SyntheticClip, folder: Path) -> tuple[Path, Path]:
    """The clip as folders in `folder`: (JPEG frames as a camera writes them, PNG masks)."""
    frames, masks = folder / "frames", folder / "masks"
    frames.mkdir()
    masks.mkdir()
    for i, (rgb, hole) in enumerate(clip.pictures()):
        cv2.imwrite(str(frames / f"{i:05d}.jpg"), rgb[:, :, ::-1], (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
        cv2.imwrite(str(masks / f"{i:05d}.png"), hole * np.uint8(255))
    return frames, masks


def write_clip(clip: SyntheticClip, folder: Path) -> tuple[Path, Path]:
    """The clip as files in `folder`: (H.264 video, lossless mask video). Needs PyAV."""
    from .. import video

    film, masks = folder / "clip.mp4", folder / "masks.mkv"
    height, width = clip.size

    def info(pixel_format: str) -> VideoInfo:
        source = folder / "synthetic"  # the writer refuses to overwrite its source
        return VideoInfo(source, True, height, width, clip.frames, Fraction(FRAME_RATE), pixel_format=pixel_format)

    colour = video.open_writer(film, info("rgb24"), video.OutputOptions(codec="h264"))
    grey = video.open_writer(masks, info("gray"), video.OutputOptions(codec="ffv1"))
    with colour, grey:
        for i, (rgb, hole) in enumerate(clip.pictures()):
            time = Fraction(i, FRAME_RATE)
            colour.write(Frame(i, rgb, time), None, None)
            grey.write(Frame(i, hole * np.uint8(255), time), None, None)
    return film, masks


def _texture(rng: np.random.Generator, size: tuple[int, int]) -> Picture:
    """A smooth random picture (h, w, 3) with detail at three scales."""
    total = np.full((*size, 3), 128.0, np.float32)
    for cell, contrast in ((32, 70.0), (12, 35.0), (5, 18.0)):
        coarse = rng.uniform(-1, 1, (size[0] // cell + 2, size[1] // cell + 2, 3)).astype(np.float32)
        total += contrast * cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.rint(total), 0, 255).astype(np.uint8)


def _blob(size: tuple[int, int], share: float) -> Picture:
    """A rounded box of exactly round(share * H * W) pixels, of the frame's proportions, cut to its bounding box."""
    whole = _nearest(size, max(1, round(share * size[0] * size[1])), exponent=_ROUNDNESS)
    rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
    return np.ascontiguousarray(whole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _nearest(size: tuple[int, int], count: int, exponent: int) -> Picture:
    """(h, w) in {0, 1}: the `count` pixels nearest to the middle, in units of the sides, by the norm of that
    exponent."""
    ys, xs = (np.abs((np.arange(side) + 0.5) / side - 0.5) ** exponent for side in size)
    order = np.argsort((ys[:, None] + xs[None, :]).ravel(), kind="stable")
    chosen = np.zeros(size[0] * size[1], np.uint8)
    chosen[order[:count]] = 1
    return chosen.reshape(size)
