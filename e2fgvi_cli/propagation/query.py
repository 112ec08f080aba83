"""What is asked of other frames: the pixels of a hole, and where to look for them. numpy and OpenCV.

Shape legend: H W the frame, h w its coarse picture, y x the region around a hole, n pixels of the hole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil

import numpy as np
from numpy.typing import NDArray

from ..types import HoleArray, PixelArray
from .homography import DIRECT_FROM, CoarseFrame, Homography, Surroundings, estimate_homography, inverse
from .means import mean_near, mean_of_channels
from .options import PropagationOptions

COARSE_PIXELS = 480
"""Longer side of the pictures that frames are aligned and compared in: keypoints are located to a fraction of a pixel
anyway, and whether frames fit is a mean over many pixels. What is taken comes from the frames themselves."""

HELD_BYTES = 1 << 30
"""Frames that are held for others: where they are large, fewer are within reach. 720p has all 60 on either side, 1080p
32, 2160p eight."""


def affordable_reach(size: tuple[int, int], depth: int, reach: int) -> int:
    """As much of `reach` as there is room for, with frames of `size` and `depth` bytes a level, their holes and alpha
    maps of floats.

    It follows from the frames' format alone, so it is the same in every piece of a shot.
    """
    return max(1, min(reach, HELD_BYTES // (2 * size[0] * size[1] * (3 * depth + 5))))


SPACING = 1.1
"""Each frame that is looked at is so many times as far away as the one before."""


def distances(reach: int) -> list[int]:
    """1, 2, 3, ..., further and further apart: what far frames show they show for long."""
    found = [1]
    while (following := max(found[-1] + 1, round(found[-1] * SPACING))) <= reach:
        found.append(following)
    return found


def coarse_size(size: tuple[int, int]) -> tuple[int, int]:
    """(h, w) of the picture in which frames of `size` (H, W) are compared: their own, or `COARSE_PIXELS` long."""
    scale = min(1.0, COARSE_PIXELS / max(size))
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width


NEAR = 1 / 8
"""Of the shorter side of the hole with its ring: how near "near a pixel" is."""

LEAST_PIXELS = 8
"""Of a ring, and of what is near."""


@dataclass(frozen=True)
class View:
    """A frame (H, W, 3) as others see it.

    coarse (h, w, 3): its picture, in which frames are compared. hole (h, w): 1 where any of a coarse pixel is hole.
    visible (h, w): 1 outside of that and of the rim that cubic interpolation would look into it from.
    """

    rgb: PixelArray
    coarse: PixelArray
    hole: HoleArray
    visible: NDArray[np.uint8]

    @property
    def to_coarse(self) -> Homography:
        """From the frame's pixels to the coarse picture's. Centres of pixels lie at whole numbers: (x + 1/2) scales."""
        x, y = (self.coarse.shape[k] / self.rgb.shape[k] for k in (1, 0))
        return np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1]])


Neighbour = tuple[int, View, Homography]
"""Another frame by number, and the homography to it."""


@dataclass(frozen=True)
class Query:
    """Which pixels are asked for, and where to look.

    region: rows and columns of the frame `number`: its hole with a ring around it. need (y, x): which of these pixels.
    others: further frames by number, nearest first, with the homography from this one to each.
    coarse_frames: of this frame and the others, where these homographies are chained ones, and whoever looks up is to
    take direct ones where they fit better (`aligned`); None: they are the best that is known.
    """

    number: int
    view: View
    region: tuple[slice, slice]
    need: NDArray[np.bool_]
    others: Iterable[Neighbour]
    options: PropagationOptions
    coarse_frames: Mapping[int, CoarseFrame] | None = None

    def aligned(self) -> Query:
        """The same with the best homographies, by OpenCV."""
        if self.coarse_frames is None:
            return self
        return replace(self, others=list(self._aligned(self.coarse_frames)), coarse_frames=None)

    def _aligned(self, coarse_frames: Mapping[int, CoarseFrame]) -> Iterator[Neighbour]:
        one = coarse_frames[self.number]
        around = Surroundings.of(one, self.coarse_region)
        for number, view, chained in self.others:
            best, other = chained, coarse_frames[number]
            if abs(number - self.number) >= DIRECT_FROM:
                expected = other.to_coarse @ chained @ one.from_coarse
                found = estimate_homography(one.gray, one.keypoints, other.gray, other.near_hole, expected)
                if found is not None:
                    direct = np.asarray(other.from_coarse @ found @ one.to_coarse)
                    best = around.better_fitting(chained, direct, other)
            yield number, view, best

    @property
    def levels(self) -> float:
        """How many levels of the frame make one of 8 bits."""
        return np.iinfo(self.view.rgb.dtype).max / 255

    @cached_property
    def coarse_region(self) -> tuple[slice, slice]:
        """The pixels of the coarse picture that the region lies in."""
        return coarse_region(self.view, self.region)

    @property
    def nearness(self) -> int:
        """Coarse pixels, odd: the side of the square around a pixel that is near it."""
        rows, columns = self.coarse_region
        return 2 * max(LEAST_PIXELS, int(NEAR * min(rows.stop - rows.start, columns.stop - columns.start))) + 1

    @cached_property
    def pixels(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns (n,) of the frame that are needed, row by row."""
        rows, columns = np.nonzero(self.need)
        return rows + self.region[0].start, columns + self.region[1].start

    @cached_property
    def place(self) -> NDArray[np.intp]:
        """(n,): the index, in the coarse region, of the coarse pixel that each needed one lies in."""
        scale, (rows, columns) = self.view.to_coarse, self.coarse_region

        def coarse(fine: NDArray[np.intp], scale: float, there: slice) -> NDArray[np.intp]:
            position = ((fine + 0.5) * scale).astype(np.intp) - there.start
            return position.clip(0, there.stop - there.start - 1)

        y, x = self.pixels
        return coarse(y, scale[1, 1], rows) * (columns.stop - columns.start) + coarse(x, scale[0, 0], columns)

    @cached_property
    def moves(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """To each of `others`, a list, (k, 3, 3): from the frame's pixels to theirs, and from the coarse region's to
        their coarse pictures'."""
        fine = [homography for _, _, homography in self.others]
        coarse = [other.to_coarse @ homography @ self.from_coarse_region for _, other, homography in self.others]
        return np.array(fine, np.float32).reshape(-1, 3, 3), np.array(coarse, np.float32).reshape(-1, 3, 3)

    @cached_property
    def tolerance(self) -> NDArray[np.float32]:
        """(y, x): how much a candidate may be off near each coarse pixel of the region, in the frame's levels;
        `PropagationOptions`."""
        import cv2

        rows, columns = self.coarse_region
        options, levels = self.options, self.levels
        picture = self.view.coarse[rows, columns].astype(np.float32)
        shown = (self.view.hole[rows, columns] == 0).astype(np.float32)
        near = {"ksize": (self.nearness, self.nearness), "borderType": cv2.BORDER_CONSTANT}
        weight = np.maximum(cv2.blur(shown, **near), 1e-6)[:, :, None]  # type: ignore[call-overload]
        even = np.asarray(cv2.blur(picture * shown[:, :, None], **near)) / weight  # type: ignore[call-overload]
        patch = mean_near(mean_of_channels(np.abs(picture - even)) * shown, shown, self.nearness)
        return np.asarray(np.minimum(options.fit * levels, options.noise * levels + options.better * patch), np.float32)

    def prepare(self) -> None:
        """Compute what a device's lookup asks for, so that it need not: by whoever has the time. `others` is a list."""
        _ = self.place, self.tolerance, self.moves

    @cached_property
    def from_coarse_region(self) -> Homography:
        """From the pixels of the coarse region to the frame's."""
        rows, columns = self.coarse_region
        shift = np.array([[1, 0, columns.start], [0, 1, rows.start], [0, 0, 1]], np.float64)
        return np.asarray(inverse(self.view.to_coarse) @ shift)


@dataclass(frozen=True)
class Answer:
    """For the n pixels that are needed, row by row: the median of what the candidates show, `colours` (n, 3); `count`
    (n,), of how many, 0 where none fits; `spread` (n,), their mean difference from it in levels, infinite without any.
    """

    colours: PixelArray
    count: NDArray[np.int64]
    spread: NDArray[np.float32]


Lookup = Callable[[Query], Answer]
"""Where it has an attribute `aligns` that is true, it wants `Query.coarse_frames` and chained homographies. A method
`ask`, where there is one, takes a query and returns what waits for the answer; the next may be asked meanwhile."""


def coarse_region(view: View, region: tuple[slice, slice]) -> tuple[slice, slice]:
    """The pixels of the coarse picture that `region`, rows and columns of the frame, lies in."""
    scale, size = view.to_coarse, view.hole.shape
    rows, columns = (_coarse(r, scale[i, i], size[1 - i]) for i, r in ((1, region[0]), (0, region[1])))
    return rows, columns


def _coarse(fine: slice, scale: float, limit: int) -> slice:
    """The pixels of the coarse picture that pixels `fine` of a frame lie in."""
    return slice(int(fine.start * scale), min(ceil(fine.stop * scale), limit))
