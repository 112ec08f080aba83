"""`propagation.tone` for all candidates of a frame as two Triton kernels: a program a candidate fits its plane.

Shape legend: k candidates, y x the coarse region around a hole.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..tone import EVERY, FIRST_LIMIT, FLOOR, LIMIT, ROUNDS, STIFFNESS

_POSITIONS, _SAMPLES = 128, 512
"""Positions of a program, and of one round of a program that goes over all of them."""


@triton.jit
def _sampled(start, index, rows, columns, EVERY: tl.constexpr):  # type: ignore[no-untyped-def]
    """Of the `index`-th of every `EVERY`-th row's and column's positions: where in the region it is, from -1/2 to 1/2,
    how much more of each of three colours (and a fourth, 0) the frame has, the mean of these, whether that counts."""
    across = (columns + EVERY - 1) // EVERY
    row = index // across * EVERY
    column = index % across * EVERY
    place = start + row * columns + column
    area = rows * columns
    valid = row < rows
    channel = tl.arange(0, 4)
    more = tl.load(place[:, None] + channel[None, :] * area, mask=valid[:, None] & (channel < 3)[None, :], other=0.0)
    counts = tl.load(place + 3 * area, mask=valid, other=0.0) != 0
    x = column.to(tl.float32) / columns - 0.5
    y = row.to(tl.float32) / rows - 0.5
    return x, y, more, tl.sum(more, axis=1) / 3, counts


@triton.jit(do_not_specialize=["rows", "columns"])
def _fit_tone(  # type: ignore[no-untyped-def]
    differences,
    planes,
    rows,
    columns,
    first_limit,
    limit,
    stiffness,
    floor,
    EVERY: tl.constexpr,
    ROUNDS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The plane of a candidate, as `propagation.tone.fit_tone` finds it."""
    candidate = tl.program_id(0).to(tl.int64)
    start = differences + candidate * 4 * rows * columns
    total = ((rows + EVERY - 1) // EVERY) * ((columns + EVERY - 1) // EVERY)
    number = tl.arange(0, BLOCK)
    middle = 0.0
    most = first_limit
    for _ in range(ROUNDS):
        sums = tl.zeros([BLOCK], tl.float32)
        counted = tl.zeros([BLOCK], tl.float32)
        for first in range(0, total, BLOCK):
            x, y, more, gray, counts = _sampled(start, first + number, rows, columns, EVERY)
            inside = counts & (tl.abs(gray - middle) < most)
            sums += tl.where(inside, gray, 0.0)
            counted += tl.where(inside, 1.0, 0.0)
        middle = tl.sum(sums, axis=0) / tl.maximum(tl.sum(counted, axis=0), 1.0)
        most = limit
    # Sums of 1, x, y, x x, y y, x y, and of each colour times 1, x, y.
    n, nx, ny = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    nxx, nyy, nxy = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    c, cx, cy = tl.zeros([BLOCK, 4], tl.float32), tl.zeros([BLOCK, 4], tl.float32), tl.zeros([BLOCK, 4], tl.float32)
    for first in range(0, total, BLOCK):
        x, y, more, gray, counts = _sampled(start, first + number, rows, columns, EVERY)
        weight = tl.where(counts & (tl.abs(gray - middle) < most), 1.0, 0.0)
        more = more * weight[:, None]
        n += weight
        nx += x * weight
        ny += y * weight
        nxx += x * x * weight
        nyy += y * y * weight
        nxy += x * y * weight
        c += more
        cx += more * x[:, None]
        cy += more * y[:, None]
    many = tl.sum(n, axis=0)
    some = tl.maximum(many, 1.0)
    x = tl.sum(nx, axis=0) / some
    y = tl.sum(ny, axis=0) / some
    xx = tl.sum(nxx, axis=0) - many * x * x + stiffness * many + floor
    yy = tl.sum(nyy, axis=0) - many * y * y + stiffness * many + floor
    xy = tl.sum(nxy, axis=0) - many * x * y
    colours = tl.sum(c, axis=0)
    by_x = tl.sum(cx, axis=0) - colours * x
    by_y = tl.sum(cy, axis=0) - colours * y
    slope_x = (yy * by_x - xy * by_y) / (xx * yy - xy * xy)
    slope_y = (xx * by_y - xy * by_x) / (xx * yy - xy * xy)
    channel = tl.arange(0, 4)
    plane = planes + candidate * 9 + channel
    tl.store(plane, colours / some - (x + 0.5) * slope_x - (y + 0.5) * slope_y, mask=channel < 3)
    tl.store(plane + 3, slope_x / columns, mask=channel < 3)
    tl.store(plane + 6, slope_y / rows, mask=channel < 3)


@triton.jit(do_not_specialize=["rows", "columns"])
def _errors(  # type: ignore[no-untyped-def]
    differences, planes, both, rows, columns, BLOCK: tl.constexpr
):
    """Of a candidate, for each position of the region: how far it is from the frame there in the frame's tone, whether
    that counts."""
    area = rows * columns
    position = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = position < area
    candidate = tl.program_id(1).to(tl.int64)
    row = (position // columns).to(tl.float32)
    column = (position % columns).to(tl.float32)
    place = differences + candidate * 4 * area + position
    plane = planes + candidate * 9
    weight = tl.load(place + 3 * area, mask=valid, other=0.0)
    apart = row * 0.0
    for channel in tl.static_range(3):
        brighter = tl.load(plane + channel) + column * tl.load(plane + 3 + channel) + row * tl.load(plane + 6 + channel)
        apart += tl.abs(tl.load(place + channel * area, mask=valid, other=0.0) - brighter)
    target_place = both + candidate * 2 * area + position
    tl.store(target_place, apart / 3 * weight, mask=valid)
    tl.store(target_place + area, weight, mask=valid)


def match_tone(differences: Tensor, planes: Tensor, levels: float) -> Tensor:
    """(k, 2, y, x) float32: how far each candidate is from the frame in the frame's tone, in levels, and where that
    counts. Written to planes (k, 9): what brings it there, `propagation.tone.Plane`.

    differences: from `gpu.kernels.compare`.
    """
    count, _, rows, columns = differences.shape
    _fit_tone[(count,)](
        differences, planes, rows, columns, FIRST_LIMIT * levels, LIMIT * levels, STIFFNESS, FLOOR,
        EVERY=EVERY, ROUNDS=ROUNDS, BLOCK=_SAMPLES,
    )  # fmt: skip
    both = torch.empty(count, 2, rows, columns, device=differences.device)
    _errors[triton.cdiv(rows * columns, _POSITIONS), count](differences, planes, both, rows, columns, BLOCK=_POSITIONS)
    return both
