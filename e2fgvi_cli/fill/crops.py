"""Which part of the frames the network computes: crops that follow the holes. Pure: holes in, boxes out; numpy and
OpenCV, no torch.

Windows are grouped into blocks of consecutive centres, counted from the shot's start. All windows of a block share
their crops, chosen from the holes of the block's own frames and from nothing else: so a piece of a clip computed alone
has the crops of the whole run.

Boxes are (top, left, bottom, right), sizes (height, width), all in pixels. Shape legend: H W the frame, y x a box.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..frames.boxes import CELL, regions
from ..planner import padded_size
from ..types import Box

POSITION_GRID = 16
"""Crops stand at multiples of this where their margin leaves room for it, else at multiples of `CELL`: a mask that
trembles moves the middle of its box by a pixel or two, and a crop that moves has every feature of its block computed
anew."""


MAX_CROPS = 4
"""Before tiling."""

CROP_OVERHEAD = 10_000
"""What a crop costs apart from its pixels, in pixels. An estimate: launches cost as much as some 50,000 pixels on a
large GPU, CUDA graphs leave about a fifth of them, a CPU has none."""

WHOLE_FRAME_SHARE = 0.9
"""From this share of the whole frame's cost on, crops save too little to be worth what they lose at their edges."""

TILE_OVERLAP = 64
"""Least overlap of neighbouring tiles, which are the last resort where a crop does not fit into memory: as wide as a
crop's margin."""

DEFAULT_MARGIN = 64
"""The smallest that loses next to nothing against whole frames (docs/performance/README.md)."""
DEFAULT_BLOCK_WINDOWS = 4


@dataclass(frozen=True)
class CropOptions:
    """How crops are chosen. `enabled` False: always the whole frame, whatever the holes.

    Around each region of holes lies a margin of context, the largest of: `margin` pixels, `margin_of_hole` times the
    shorter side of the region's box, `margin_of_frame` times the frame's shorter side; rounded up to `CELL`, ending at
    the frame's edge.
    `block_windows`: windows that share their crops. `max_pixels`: larger crops are split into tiles; None: never.
    `overhead`: see `CROP_OVERHEAD`. Raises `UsageError` for values out of range.
    """

    enabled: bool = True
    margin: int = DEFAULT_MARGIN
    margin_of_hole: float = 0.0
    margin_of_frame: float = 0.0
    block_windows: int = DEFAULT_BLOCK_WINDOWS
    max_pixels: int | None = None
    overhead: int = CROP_OVERHEAD

    def __post_init__(self) -> None:
        for name in ("margin", "margin_of_hole", "margin_of_frame", "overhead"):
            if getattr(self, name) < 0:
                raise UsageError(f"the crops' {name} is {getattr(self, name)}: give 0 or more")
        for name in ("block_windows", "max_pixels"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UsageError(f"the crops' {name} is {getattr(self, name)}: give 1 or more")


@dataclass(frozen=True)
class Crop:
    """A part of the frame that is computed by itself; its sides are multiples of the network's, or the frame's whole
    extent.

    `ramps` (top, left, bottom, right): over so many pixels from that side its weight rises to 1, because another crop
    lies there too.
    """

    box: Box
    ramps: tuple[int, int, int, int] = (0, 0, 0, 0)


def block_range(center: int, hop: int, block_windows: int) -> tuple[int, int]:
    """(first, end) of the frames whose holes decide the crops of the window around `center`, numbered within its shot.

    They are the local frames of all windows of its block. `end` is not included and may lie beyond the shot's end.
    """
    length = hop * block_windows
    start = center - center % length
    return max(start - hop, 0), start + length + 1


def plan_crops(
    boxes: Iterable[Box], size: tuple[int, int], multiple: tuple[int, int], options: CropOptions
) -> tuple[Crop, ...]:
    """Crops of a frame of `size` that cover all `boxes` (those of all frames of a block), with their margin; () without
    boxes.

    multiple: the network's (height, width), multiples of 4. The order of the boxes does not matter. Not enabled: the
    whole frame, or all its tiles. Raises `UsageError` if `options.max_pixels` has no room for a tile.
    """
    whole = (0, 0, *size)
    if not options.enabled:
        return _tiles(Crop(whole), multiple, options)
    boxes = tuple(boxes)
    groups = _merge(_grown_regions(boxes, size, options), size, multiple, options.overhead)
    limit = WHOLE_FRAME_SHARE * _cost(whole, multiple, options.overhead)
    if sum(group.cost for group in groups) >= limit and _fits(whole, multiple, options):
        return (Crop(whole),)
    crops = [Crop(g.crop, _ramps(g, [o.crop for o in groups if o is not g], size)) for g in groups]
    tiles = [tile for crop in crops for tile in _tiles(crop, multiple, options)]
    return tuple(tile for tile in tiles if any(_intersection(tile.box, box) for box in boxes))


def padded_pixels(box: Box, multiple: tuple[int, int]) -> int:
    """Pixels that the network computes for `box`, whose sides it pads up to its multiples."""
    return math.prod(padded_size(_sides(box), multiple))


def ramp_weights(crop: Crop, box: Box) -> NDArray[np.float32] | None:
    """Weights (y, x) in (0, 1] of the crop's pixels in `box`, which lies in it; None where all are 1.

    Where two tiles overlap side by side their weights add up to 1.
    """
    top, left, bottom, right = crop.box
    assert _intersection(crop.box, box) == box, f"{box} does not lie in the crop {crop.box}"
    rows = _fade(bottom - top, crop.ramps[0], crop.ramps[2])[box[0] - top : box[2] - top]
    columns = _fade(right - left, crop.ramps[1], crop.ramps[3])[box[1] - left : box[3] - left]
    if rows.min() == 1 and columns.min() == 1:
        return None
    return rows[:, None] * columns


def wanted_boxes(alpha_box: Box, crops: Iterable[Crop]) -> list[Box | None]:
    """For each crop the part of `alpha_box` (a frame's `frames.boxes.bounding_box`) that lies in it, or None."""
    return [_intersection(alpha_box, crop.box) for crop in crops]


# -- regions and their crops -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """Regions that share a crop: `core` bounds them, `grown` bounds them with their margins; `cost` is the crop's."""

    core: Box
    grown: Box
    crop: Box
    cost: int


def _grown_regions(boxes: Sequence[Box], size: tuple[int, int], options: CropOptions) -> list[tuple[Box, Box]]:
    """(region, region with its margin) for the connected regions that all boxes make together."""
    height, width = size
    cells = np.zeros((-(-height // CELL), -(-width // CELL)), np.bool_)
    for top, left, bottom, right in boxes:
        cells[top // CELL : -(-bottom // CELL), left // CELL : -(-right // CELL)] = True
    result = []
    for region in regions(cells, size):
        shares = options.margin_of_hole * min(_sides(region)), options.margin_of_frame * min(size)
        margin = math.ceil(max(options.margin, *shares) / CELL) * CELL
        top, left, bottom, right = region
        grown = max(top - margin, 0), max(left - margin, 0), min(bottom + margin, height), min(right + margin, width)
        result.append((region, grown))
    return result


def _merge(
    regions: Iterable[tuple[Box, Box]], size: tuple[int, int], multiple: tuple[int, int], overhead: int
) -> list[_Group]:
    """Regions joined two by two, most saving first, until no joint crop is cheaper than two, and `MAX_CROPS` are
    left."""

    def group(core: Box, grown: Box) -> _Group:
        top, bottom = _span(grown[0], grown[2], size[0], multiple[0])
        left, right = _span(grown[1], grown[3], size[1], multiple[1])
        crop = (top, left, bottom, right)
        return _Group(core, grown, crop, _cost(crop, multiple, overhead))

    groups = [group(*region) for region in regions]
    while len(groups) > 1:
        joined = [(a, b, group(_union(a.core, b.core), _union(a.grown, b.grown))) for a, b in combinations(groups, 2)]
        a, b, both = min(joined, key=lambda pair: pair[2].cost - pair[0].cost - pair[1].cost)
        if both.cost > a.cost + b.cost and len(groups) <= MAX_CROPS:
            break
        groups = [*(g for g in groups if g is not a and g is not b), both]
    return sorted(groups, key=lambda g: g.crop)


def _span(start: int, end: int, extent: int, multiple: int) -> tuple[int, int]:
    """start..end along an axis of length `extent`, lengthened to a multiple: about centred, on `POSITION_GRID`,
    inside."""
    length = -(-(end - start) // multiple) * multiple
    if length >= extent:
        return 0, extent
    centred = start - (length - (end - start)) // 2
    on_grid = (centred + POSITION_GRID // 2) // POSITION_GRID * POSITION_GRID
    first = min(max(on_grid, end - length, 0), start, extent - length)
    return first, first + length


def _ramps(group: _Group, others: Iterable[Box], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """From each side to where the group's own holes begin, if another crop overlaps.

    A hole of the other crop may be cut off by this one's edge, and what is computed there has no context: it has to
    fade in.
    """
    if not any(_intersection(group.crop, other) for other in others):
        return 0, 0, 0, 0
    crop, core = group.crop, group.core
    return (
        core[0] - crop[0] if crop[0] > 0 else 0,
        core[1] - crop[1] if crop[1] > 0 else 0,
        crop[2] - core[2] if crop[2] < size[0] else 0,
        crop[3] - core[3] if crop[3] < size[1] else 0,
    )


# -- tiles -------------------------------------------------------------------------------------------------------------


def _tiles(crop: Crop, multiple: tuple[int, int], options: CropOptions) -> tuple[Crop, ...]:
    """The crop itself, or the cheapest equal tiles of at most `max_pixels` that cover it."""
    if _fits(crop.box, multiple, options):
        return (crop,)
    assert options.max_pixels is not None
    extent = _sides(crop.box)
    heights, widths = (_tile_lengths(e, m) for e, m in zip(extent, multiple, strict=True))
    smallest = min(heights) * min(widths)
    if smallest > options.max_pixels:
        raise UsageError(
            f"a limit of {options.max_pixels} pixels a crop is below the smallest tile: allow at least {smallest}"
        )
    candidates = [
        (len(_spread(extent[0], h)) * len(_spread(extent[1], w)) * (h * w + options.overhead), h, w)
        for h, w in product(heights, widths)
        if h * w <= options.max_pixels
    ]
    _, height, width = min(candidates)
    top, left = crop.box[:2]
    return tuple(
        Crop((top + y.start, left + x.start, top + y.end, left + x.end), (y.rising, x.rising, y.falling, x.falling))
        for y in _spread(extent[0], height, crop.ramps[0], crop.ramps[2])
        for x in _spread(extent[1], width, crop.ramps[1], crop.ramps[3])
    )


@dataclass(frozen=True)
class _Part:
    """A stretch of an axis and how long its weight rises at its start and falls at its end."""

    start: int
    end: int
    rising: int
    falling: int


def _spread(extent: int, length: int, rising: int = 0, falling: int = 0) -> list[_Part]:
    """0..extent in as few parts of `length` as overlap enough, evenly spread; `rising` and `falling` at the outer
    ends."""
    if length >= extent:
        return [_Part(0, extent, rising, falling)]
    count = -(-(extent - TILE_OVERLAP) // (length - TILE_OVERLAP))
    starts = [i * (extent - length) // (count - 1) for i in range(count)]
    overlaps = [first + length - second for first, second in pairwise(starts)]
    return [
        _Part(start, start + length, before, after)
        for start, before, after in zip(starts, [rising, *overlaps], [*overlaps, falling], strict=True)
    ]


def _tile_lengths(extent: int, multiple: int) -> list[int]:
    """Lengths that tiles along an axis may have: multiples that leave more than the overlap, up to the first that spans
    it."""
    lengths = range(multiple, extent + multiple, multiple)
    return [length for length in lengths if length > TILE_OVERLAP or length >= extent]


# -- boxes -------------------------------------------------------------------------------------------------------------


def _cost(box: Box, multiple: tuple[int, int], overhead: int) -> int:
    return padded_pixels(box, multiple) + overhead


def _fits(box: Box, multiple: tuple[int, int], options: CropOptions) -> bool:
    return options.max_pixels is None or padded_pixels(box, multiple) <= options.max_pixels


def _fade(length: int, rising: int, falling: int) -> NDArray[np.float32]:
    """(length,): 1, but rising from above 0 over the first and falling towards 0 over the last pixels."""
    weights = np.ones(length, np.float32)
    up = np.arange(1, length + 1, dtype=np.float32)
    np.minimum(weights, up / np.float32(rising + 1), out=weights)
    np.minimum(weights, up[::-1] / np.float32(falling + 1), out=weights)
    return weights


def _sides(box: Box) -> tuple[int, int]:
    return box[2] - box[0], box[3] - box[1]


def _union(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _intersection(a: Box, b: Box) -> Box | None:
    top, left, bottom, right = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (top, left, bottom, right) if top < bottom and left < right else None
