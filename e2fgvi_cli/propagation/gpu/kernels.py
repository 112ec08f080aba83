"""`gpu.lookup` as Triton kernels (those of tones in `gpu.tone_kernels`): some seventeen launches a frame, not hundreds.

What is waited for in a run with image propagation on a GPU is the one thread that looks up, and what it does is launch.
The plain form in `gpu.lookup` is what tests compare this with, and what runs where Triton does not.

Shape legend: F frames that are held, h w a coarse picture, y x the coarse region around a hole, k candidates, n pixels
of the hole, c the most candidates that a pixel takes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

_POSITIONS, _PIXELS, _MERGED = 128, 128, 32
"""Positions or pixels of a program. Merging keeps all candidates of each, and compares them in pairs."""


@triton.jit
def _whole(value):  # type: ignore[no-untyped-def]
    """Rounded as torch and IEEE 754 do it: halves to the even neighbour."""
    up = tl.floor(value + 0.5)
    odd = up - 2 * tl.floor(up * 0.5) == 1
    return tl.where((up - value == 0.5) & odd, up - 1, up)


@triton.jit
def _moved(motion, x, y, far):  # type: ignore[no-untyped-def]
    """Where homographies (pointers to 9 values) take pixels (x, y). What is none lies far outside."""
    across = tl.load(motion) * x + tl.load(motion + 1) * y + tl.load(motion + 2)
    down = tl.load(motion + 3) * x + tl.load(motion + 4) * y + tl.load(motion + 5)
    depth = tl.load(motion + 6) * x + tl.load(motion + 7) * y + tl.load(motion + 8)
    across = across / depth
    down = down / depth
    # Only what is no number differs from itself.
    across = tl.where(across == across, tl.minimum(tl.maximum(across, -far), far), -far)  # noqa: PLR0124
    down = tl.where(down == down, tl.minimum(tl.maximum(down, -far), far), -far)  # noqa: PLR0124
    return across, down


@triton.jit
def _cubic(distance, parameter):  # type: ignore[no-untyped-def]
    """The weight of a pixel at this distance, up to 2."""
    near = ((parameter + 2) * distance - (parameter + 3)) * distance * distance + 1
    far = ((parameter * distance - 5 * parameter) * distance + 8 * parameter) * distance - 4 * parameter
    return tl.where(distance <= 1, near, far)


@triton.jit
def _level(pictures, slot, x, y, channel, wanted, height, width, parameter, peak):  # type: ignore[no-untyped-def]
    """One channel of pictures (F, height, width, 3) at (x, y), cubic, in whole levels; edges go on outside."""
    left = tl.floor(x)
    top = tl.floor(y)
    total = x * 0.0
    for i in range(4):  # unrolled three times over, this takes seconds to compile
        row = top + (i - 1)
        inner_row = tl.minimum(tl.maximum(row, 0.0), height - 1.0)
        line = x * 0.0
        for j in tl.static_range(4):
            column = left + (j - 1)
            inner = tl.minimum(tl.maximum(column, 0.0), width - 1.0)
            place = ((slot.to(tl.int64) * height + inner_row.to(tl.int64)) * width + inner.to(tl.int64)) * 3 + channel
            # Pictures of 16 bits lie in int16.
            value = (tl.load(pictures + place, mask=wanted, other=0).to(tl.int32) & 0xFFFF).to(tl.float32)
            line += _cubic(tl.abs(x - column), parameter) * value
        total += _cubic(tl.abs(y - row), parameter) * line
    return tl.minimum(tl.maximum(_whole(total), 0.0), peak)


@triton.jit(do_not_specialize=["own", "height", "width", "top", "left", "rows", "columns"])
def _compare(  # type: ignore[no-untyped-def]
    coarse,
    visible,
    slots,
    moves,
    outside,
    differences,
    seen,
    own,
    height,
    width,
    top,
    left,
    rows,
    columns,
    parameter,
    peak,
    far,
    BLOCK: tl.constexpr,
):
    """Of a candidate, for each position of the region: how much more the frame has there, whether that counts, whether
    the candidate shows anything."""
    area = rows * columns
    position = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = position < area
    candidate = tl.program_id(1).to(tl.int64)
    slot = tl.load(slots + candidate)
    row = position // columns
    column = position % columns
    x, y = _moved(moves + candidate * 9, column.to(tl.float32), row.to(tl.float32), far)
    nearest_x = _whole(x)
    nearest_y = _whole(y)
    inside = valid & (nearest_x >= 0) & (nearest_x < width) & (nearest_y >= 0) & (nearest_y < height)
    there = (slot.to(tl.int64) * height + nearest_y.to(tl.int64)) * width + nearest_x.to(tl.int64)
    shown = tl.load(visible + there, mask=inside, other=0) != 0
    compared = shown & (tl.load(outside + position, mask=valid, other=0.0) != 0)
    here = ((tl.zeros_like(position).to(tl.int64) + own) * height + top + row) * width + left + column
    target_place = differences + candidate * 4 * area + position
    for channel in range(3):
        aligned = _level(coarse, slot, x, y, channel, compared, height, width, parameter, peak)
        target = (tl.load(coarse + here * 3 + channel, mask=valid, other=0).to(tl.int32) & 0xFFFF).to(tl.float32)
        tl.store(target_place + channel * area, tl.where(compared, target - aligned, 0.0), mask=valid)
    tl.store(target_place + 3 * area, tl.where(compared, 1.0, 0.0), mask=valid)
    tl.store(seen + candidate * area + position, shown.to(tl.uint8), mask=valid)


@triton.jit(do_not_specialize=["first", "count", "area", "pixels", "most_taken"])
def _choose(  # type: ignore[no-untyped-def]
    near,
    sums,
    seen,
    most,
    place,
    got,
    chosen,
    first,
    count,
    area,
    pixels,
    most_taken,
    distant,
    BLOCK: tl.constexpr,
):
    """For each pixel of the hole the candidates that fit near it, in their order, after those that were taken
    before."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = pixel < pixels
    where = tl.load(place + pixel, mask=valid, other=0)
    limit = tl.load(most + where, mask=valid, other=-1.0)
    taken = tl.load(got + pixel, mask=valid, other=0)
    errors = near + where
    weights = errors + area
    shows = seen + where
    for candidate in range(count):
        error = tl.load(errors, mask=valid, other=0.0)
        weight = tl.load(weights, mask=valid, other=0.0)
        all_errors = tl.load(sums + 2 * candidate)
        all_weights = tl.load(sums + 2 * candidate + 1)
        mean = tl.where(all_weights == 0, float("inf"), all_errors / tl.maximum(all_weights, 1.0))
        shown = tl.load(shows, mask=valid, other=0) != 0
        fits = valid & shown & ((error + distant * mean) / (weight + distant) <= limit) & (taken < most_taken)
        tl.store(chosen + taken.to(tl.int64) * pixels + pixel, (taken * 0 + first + candidate).to(tl.int32), mask=fits)
        taken += fits.to(tl.int32)
        errors += 2 * area
        weights += 2 * area
        shows += area
    tl.store(got + pixel, taken, mask=valid)


@triton.jit(do_not_specialize=["height", "width", "columns", "pixels"])
def _merge(  # type: ignore[no-untyped-def]
    pictures,
    slots,
    moves,
    planes,
    across,
    down,
    places,
    columns,
    got,
    chosen,
    answer,
    height,
    width,
    pixels,
    parameter,
    peak,
    far,
    TAKEN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """For each pixel of the hole the median colour of the candidates it takes, how many they are, and how far from
    it."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = pixel < pixels
    count = tl.load(got + pixel, mask=valid, other=0)
    number = tl.arange(0, TAKEN)
    there = number[None, :] < count[:, None]
    place = number.to(tl.int64)[None, :] * pixels + pixel[:, None]
    candidate = tl.load(chosen + place, mask=there, other=0).to(tl.int64)
    slot = tl.load(slots + candidate)
    column = tl.load(across + pixel, mask=valid, other=0.0)
    row = tl.load(down + pixel, mask=valid, other=0.0)
    x, y = _moved(moves + candidate * 9, column[:, None], row[:, None], far)
    last = tl.maximum(count - 1, 0)
    low = (last // 2)[:, None]
    high = ((last + 1) // 2)[:, None]
    before = number[:, None] > number[None, :]
    region_place = tl.load(places + pixel, mask=valid, other=0)
    region_row = (region_place // columns).to(tl.float32)[:, None]
    region_column = (region_place % columns).to(tl.float32)[:, None]
    plane = planes + candidate * 9
    apart = x * 0.0
    for channel in range(3):
        colour = _level(pictures, slot, x, y, channel, there, height, width, parameter, peak)
        colour += tl.load(plane + channel, mask=there, other=0.0)
        colour += region_column * tl.load(plane + 3 + channel, mask=there, other=0.0)
        colour += region_row * tl.load(plane + 6 + channel, mask=there, other=0.0)
        # What is not there comes after all colours.
        ordered = tl.where(there, colour, float("inf"))
        smaller = (ordered[:, None, :] < ordered[:, :, None]) | (
            (ordered[:, None, :] == ordered[:, :, None]) & before[None, :, :]
        )
        rank = tl.sum(smaller.to(tl.int32), axis=2)
        below = tl.sum(tl.where(there & (rank == low), colour, 0.0), axis=1)
        above = tl.sum(tl.where(there & (rank == high), colour, 0.0), axis=1)
        median = (below + above) / 2
        apart += tl.abs(colour - median[:, None])
        tl.store(answer + pixel * 5 + channel, tl.minimum(tl.maximum(_whole(median), 0.0), peak), mask=valid)
    off = tl.sum(tl.where(there, apart / 3, 0.0), axis=1) / tl.maximum(count, 1).to(tl.float32)
    tl.store(answer + pixel * 5 + 3, count.to(tl.float32), mask=valid)
    tl.store(answer + pixel * 5 + 4, tl.where(count > 0, off, float("inf")), mask=valid)


def compare(
    coarse: Tensor,
    visible: Tensor,
    own: int,
    corner: tuple[int, int],
    slots: Tensor,
    moves: Tensor,
    outside: Tensor,
    *,
    parameter: float,
    peak: float,
    far: float,
) -> tuple[Tensor, Tensor]:
    """Candidates `slots` (k,) int32 of coarse (F, h, w, 3) and visible (F, h, w), moved by `moves` (k, 9), against
    frame `own`.

    outside (y, x) float32: where the region, whose first pixel is `corner`, is no hole. Returns (k, 4, y, x) float32:
    how many levels more the frame has of each colour, and where that counts (1 or 0; 0 more elsewhere); and (k, y, x)
    uint8: where the candidate shows anything.
    """
    count, (rows, columns) = len(slots), outside.shape
    differences = torch.empty(count, 4, rows, columns, device=coarse.device)
    seen = torch.empty(count, rows, columns, dtype=torch.uint8, device=coarse.device)
    _compare[triton.cdiv(rows * columns, _POSITIONS), count](
        coarse, visible, slots, moves, outside, differences, seen, own, *coarse.shape[1:3], *corner, rows, columns,
        parameter, peak, far, BLOCK=_POSITIONS,
    )  # fmt: skip
    return differences, seen


def choose(
    both: Tensor,
    seen: Tensor,
    most: Tensor,
    place: Tensor,
    got: Tensor,
    chosen: Tensor,
    *,
    first: int,
    nearness: int,
    distant: float,
) -> None:
    """Adds to got (n,) and chosen (c, n), both int32, which candidates fit near `place` (n,) int32: are off by at most
    `most` (y, x) there.

    both: from `gpu.tone_kernels.match_tone`; seen: from `compare`. first: the number of the first of these candidates.
    nearness: the side of the square that is near.
    """
    reach = nearness // 2
    sums = both.sum((2, 3))
    near = F.avg_pool2d(both, (nearness, 1), stride=1, padding=(reach, 0))
    near = F.avg_pool2d(near, (1, nearness), stride=1, padding=(0, reach))
    pixels = len(place)
    _choose[(triton.cdiv(pixels, _PIXELS),)](
        near, sums, seen, most, place, got, chosen, first, len(both), most.numel(), pixels, len(chosen), distant,
        BLOCK=_PIXELS,
    )  # fmt: skip


def merge(
    pictures: Tensor,
    slots: Tensor,
    moves: Tensor,
    planes: Tensor,
    across: Tensor,
    down: Tensor,
    places: Tensor,
    columns: int,
    got: Tensor,
    chosen: Tensor,
    *,
    parameter: float,
    peak: float,
    far: float,
) -> Tensor:
    """(n, 5) float32: the median colour of the candidates that each pixel (across, down) takes, brought into the
    frame's tone by planes (k, 9), in whole levels, their number, and their mean difference from it, infinite without
    any. places (n,) int32: of the pixels in the region, which is `columns` wide."""
    pixels = len(got)
    answer = torch.empty(pixels, 5, device=pictures.device)
    _merge[(triton.cdiv(pixels, _MERGED),)](
        pictures, slots, moves, planes, across, down, places, columns, got, chosen, answer, *pictures.shape[1:3],
        pixels, parameter, peak, far, TAKEN=triton.next_power_of_2(len(chosen)), BLOCK=_MERGED,
    )  # fmt: skip
    return answer
