"""The mask of a logo that stays in its place while the picture under it changes: no model, only what lasts.

After "On the Effectiveness of Visible Watermarks" (Dekel, Rubinstein, Liu, Freeman, CVPR 2017): the edges of a
watermark are those whose gradient is the same in every frame. Means stand for its medians, so that memory does not
grow with the frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from .. import video
from ..errors import InputError
from ..system.paths import Read, Written, check_all
from ..system.publication import Publication
from ..types import HoleArray
from ..video import images
from .shown import Region, displayed, region_in

FEWEST = 6
"""Frames below which nothing can be said to stay."""
_LEAST_EDGE, _STEADY = 3.0, 1.2
"""Levels a pixel of a lasting edge, and how many times its spread over time its mean has to be."""
_SURE_EDGE, _SURELY_STEADY, _SURE_PIXELS = 12.0, 2.5, 4
"""The same of the surest pixels, and how many of those an edge needs: a slow drift along a soft edge has none."""
_STILL = 0.12
"""Share of the picture with lasting edges from which the camera is taken to stand still."""
_LARGEST, _LONG = 0.1, 0.8
"""Share of the frame a logo may cover, and of its width or height it may span: bars span more."""
_LEAST_SIDE = 5


@dataclass(frozen=True)
class LogoOptions:
    """region: where to look, in pixels as displayed, None the frame. every: each so many-th frame is looked at. grow:
    pixels around what was found."""

    region: Region | None = None
    every: int = 2
    grow: int = 2


@dataclass(frozen=True)
class Logo:
    """boxes: of its parts; share: of the frame; looked: at how many frames; still: the ground around the region stays,
    too, so that edges of the ground in the region are taken for the logo's."""

    boxes: list[Region]
    share: float
    looked: int
    still: bool = False


class LastingEdges:
    """Mean and spread of the gradient of each pixel, over the pictures `add` is given."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.count = 0
        self._sum = np.zeros((2, *size), np.float32)
        self._squares = np.zeros((2, *size), np.float32)

    def add(self, rgb: NDArray[np.uint8]) -> None:
        """One more picture (H, W, 3)."""
        import cv2

        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        for axis in (0, 1):
            slope = cv2.Sobel(gray, cv2.CV_32F, 1 - axis, axis, scale=0.25)
            self._sum[axis] += slope
            self._squares[axis] += slope * slope
        self.count += 1

    def mask(self) -> HoleArray:
        """0 and 1 (H, W): edges that last."""
        import cv2

        mean = self._sum / self.count
        spread = np.sqrt(np.maximum((self._squares / self.count - mean * mean).sum(axis=0), 0))
        strength = np.sqrt((mean * mean).sum(axis=0))
        steady = strength / (spread + 0.5)
        lasting = ((strength > _LEAST_EDGE) & (steady > _STEADY)).astype(np.uint8)
        sure = lasting.astype(bool) & (strength > _SURE_EDGE) & (steady > _SURELY_STEADY)
        count, labels = cv2.connectedComponents(lasting, connectivity=8)
        kept = np.bincount(labels[sure], minlength=count) >= _SURE_PIXELS
        kept[0] = False
        return cast(HoleArray, kept[labels].astype(np.uint8))


def logo_to_file(
    clip: Path,
    target: Path,
    options: LogoOptions = LogoOptions(),
    *,
    overwrite: bool = False,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Logo:
    """Find what stays in its place in a clip, and write one mask (PNG, as displayed) of it.

    Raises `InputError` where nothing stays, and where all does (a camera that stands still): then `region` has to say
    where the logo is.
    """
    if target.suffix.lower() != ".png":
        raise InputError(f"the mask {target} should end in .png")
    check_all([Written("the mask", target, False, overwrite)], [Read("the input", clip)])
    with video.open_reader(clip) as reader:
        region, size = region_in(options.region, reader.info), reader.info.display_size
        edges = LastingEdges((region.height, region.width))
        wider = _around(region, size)
        ground = LastingEdges((wider.height, wider.width)) if options.region is not None else None
        for frame in reader:
            if frame.index % options.every == 0:
                picture = displayed(frame, reader.info)
                edges.add(np.ascontiguousarray(picture[region.slices]))
                if ground is not None:
                    ground.add(np.ascontiguousarray(picture[wider.slices]))
            on_progress(frame.index + 1, reader.info.frame_count)
    if edges.count < FEWEST:
        raise InputError(
            f"a logo is what stays while the picture changes: {clip} gave {edges.count} frames to look at, and "
            f"{FEWEST} are needed; try --every 1"
        )
    lasting = edges.mask()
    if options.region is None and lasting.mean() > _STILL:
        raise InputError(
            f"nearly everything in {clip} stays in its place, so a logo does not stand out: give --region "
            "x,y,w,h around the logo, or find its letters with `e2fgvi mask text --persistent --region x,y,w,h`"
        )
    still = ground is not None and _stays(ground.mask(), region, wider)
    parts, boxes = logo_of(lasting, size, options.grow)
    if not boxes:
        raise InputError(
            f"no logo was found in {clip}, looking at {edges.count} frames: give its place to `e2fgvi inpaint "
            f"--mask-box`, {_ELSE_STILL if still else 'or --region x,y,w,h to look there'}"
        )
    mask = np.zeros(size, np.uint8)
    mask[region.slices] = parts
    with Publication() as publication:
        images.write_image(publication.temporary(target, overwrite=overwrite), mask * np.uint8(255))
    moved = [Region(one.x + region.x, one.y + region.y, one.width, one.height) for one in boxes]
    return Logo(moved, float(mask.mean()), edges.count, still)


_ELSE_STILL = "or find its letters with `e2fgvi mask text --persistent --region x,y,w,h`: the camera stands still there"


def _around(region: Region, size: tuple[int, int]) -> Region:
    """`region` with half its sides more on every side, as far as the frame (H, W) goes."""
    left, top = max(region.x - region.width // 2, 0), max(region.y - region.height // 2, 0)
    right = min(region.x + region.width + region.width // 2, size[1])
    bottom = min(region.y + region.height + region.height // 2, size[0])
    return Region(left, top, right - left, bottom - top)


def _stays(lasting: HoleArray, region: Region, wider: Region) -> bool:
    """Whether the ground in `wider` (whose lasting edges these are), outside of `region`, stays in its place."""
    outside = np.ones(lasting.shape, bool)
    top, left = region.y - wider.y, region.x - wider.x
    outside[top : top + region.height, left : left + region.width] = False
    return bool(outside.any() and lasting[outside].mean() > _STILL)


def logo_of(lasting: HoleArray, size: tuple[int, int], grow: int) -> tuple[HoleArray, list[Region]]:
    """Lasting edges (h, w) joined into parts, filled, grown; and the parts' boxes. Specks, and what spans a frame of
    `size`, are left out."""
    import cv2

    join = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    joined = cv2.morphologyEx(lasting, cv2.MORPH_CLOSE, join)
    outlines, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    mask: NDArray[np.uint8] = np.zeros(lasting.shape, np.uint8)
    for outline in outlines:
        _, _, width, height = cv2.boundingRect(outline)
        filled = cv2.contourArea(outline)
        fits = width < _LONG * size[1] and height < _LONG * size[0] and filled < _LARGEST * size[0] * size[1]
        if fits and max(width, height) >= _LEAST_SIDE and filled >= 4:
            cv2.drawContours(mask, [outline], -1, 1, -1)
    if grow:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
        mask = np.asarray(cv2.dilate(mask, disc), np.uint8)
    near = cv2.dilate(mask, np.ones((9, 9), np.uint8))  # letters of one word make one part
    count, _, stats, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    boxes = [Region(*(int(v) for v in stats[i, :4])) for i in range(1, count)]
    return mask, boxes
