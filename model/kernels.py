"""Fused CUDA kernels in Triton for what plain PyTorch does in many small steps. Inference only; every kernel has its
plain form elsewhere in `model/`, which is what tests compare it with and what runs where Triton does not.

- `condition`: flow composition, both warps and their concatenation (plain: `propagation.FeaturePropagation._run_pass`).
- `align`: tanh, sigmoid, flow and sampling of the deformable alignment; a matrix product follows (plain:
  `SecondOrderAlignment`).
- `mix_patches`: fold, division by the coverage and GELU, then unfold, between the matrix products of the fusion
  feed-forward (plain: `tokens.FusionFeedForward`).

Maps are channels last in memory: a pixel's channels are read together. Positions are float32 whatever the maps' dtype.
Sizes of pictures are not specialised on: each kind of number would be compiled anew, for seconds, and nothing gained.
Shape legend: c channels of one map, G deform groups, h w feature grid, th tw token grid, n frames.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch
import triton
import triton.language as tl
from torch import Tensor

TAPS = 9
COLUMN_BYTES_PER_CALL = 256 << 20
"""Sampled or unfolded columns that are in memory at once."""
CONDITION_ALIGNMENT = 8
"""Channels of the condition are padded to a multiple of this: tensor cores read 16 bytes at a time."""
_PIXELS = 32

P = ParamSpec("P")
R = TypeVar("R")


def _where_the_tensors_are(
    function: Callable[Concatenate[Tensor, P], R],
) -> Callable[Concatenate[Tensor, P], R]:
    """Triton launches on the current device and its stream, whichever device the tensors are on."""

    @wraps(function)
    def launch(first: Tensor, *arguments: P.args, **named: P.kwargs) -> R:
        with torch.cuda.device_of(first):
            return function(first, *arguments, **named)

    return launch


@triton.jit
def _bilinear(plane, y, x, channel, wanted, height, width, stride, BLOCK: tl.constexpr, CHANNELS: tl.constexpr):  # type: ignore[no-untyped-def]
    """(BLOCK, CHANNELS) float32: the channels `channel` of `plane` (h w, stride) at positions (y, x), zeros outside."""
    # Two pixels outside is as far as outside gets; converting more to an integer is undefined.
    y = tl.minimum(tl.maximum(y, -2.0), height + 1.0)
    x = tl.minimum(tl.maximum(x, -2.0), width + 1.0)
    y0 = tl.floor(y)
    x0 = tl.floor(x)
    wy = y - y0
    wx = x - x0
    top = y0.to(tl.int32)
    left = x0.to(tl.int32)
    total = tl.zeros((BLOCK, CHANNELS), tl.float32)
    for corner in tl.static_range(4):
        cy = top + corner // 2
        cx = left + corner % 2
        weight = (wy if corner // 2 == 1 else 1 - wy) * (wx if corner % 2 == 1 else 1 - wx)
        inside = wanted & (cy >= 0) & (cy < height) & (cx >= 0) & (cx < width)
        pointer = (cy * width + cx).to(tl.int64)[:, None] * stride + channel[None, :]
        value = tl.load(plane + pointer, mask=inside[:, None], other=0.0).to(tl.float32)
        total += value * weight[:, None]
    return total


@triton.jit
def _flow_at(flow, y, x, wanted, height, width):  # type: ignore[no-untyped-def]
    """(BLOCK,) float32: one component (h w) of a flow at positions (y, x), bilinear, zeros outside."""
    y = tl.minimum(tl.maximum(y, -2.0), height + 1.0)
    x = tl.minimum(tl.maximum(x, -2.0), width + 1.0)
    y0 = tl.floor(y)
    x0 = tl.floor(x)
    wy = y - y0
    wx = x - x0
    top = y0.to(tl.int32)
    left = x0.to(tl.int32)
    total = y * 0.0
    for corner in tl.static_range(4):
        cy = top + corner // 2
        cx = left + corner % 2
        weight = (wy if corner // 2 == 1 else 1 - wy) * (wx if corner % 2 == 1 else 1 - wx)
        inside = wanted & (cy >= 0) & (cy < height) & (cx >= 0) & (cx < width)
        total += tl.load(flow + cy * width + cx, mask=inside, other=0.0) * weight
    return total


@triton.jit(do_not_specialize=["height", "width"])
def _condition_kernel(  # type: ignore[no-untyped-def]
    before_1,
    before_2,
    current,
    flow_1,
    earlier_flow,
    out,
    flow_2,
    height,
    width,
    SECOND: tl.constexpr,
    CHANNELS: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    area = height * width
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = pixel < area
    channel = tl.arange(0, CHANNELS)
    row = (pixel // width).to(tl.float32)
    column = (pixel % width).to(tl.float32)
    dx = tl.load(flow_1 + pixel, mask=valid, other=0.0)
    dy = tl.load(flow_1 + area + pixel, mask=valid, other=0.0)
    target = out + pixel.to(tl.int64) * PADDED
    rows = target[:, None] + channel[None, :]
    kind = out.dtype.element_ty
    first = _bilinear(before_1, row + dy, column + dx, channel, valid, height, width, CHANNELS, BLOCK, CHANNELS)
    tl.store(rows, first.to(kind), mask=valid[:, None])
    here = tl.load(current + pixel.to(tl.int64)[:, None] * CHANNELS + channel[None, :], mask=valid[:, None], other=0.0)
    tl.store(rows + CHANNELS, here, mask=valid[:, None])
    dx_2 = dx * 0.0
    dy_2 = dy * 0.0
    second = first * 0.0
    if SECOND:
        dx_2 = dx + _flow_at(earlier_flow, row + dy, column + dx, valid, height, width)
        dy_2 = dy + _flow_at(earlier_flow + area, row + dy, column + dx, valid, height, width)
        second = _bilinear(
            before_2, row + dy_2, column + dx_2, channel, valid, height, width, CHANNELS, BLOCK, CHANNELS
        )
    tl.store(rows + 2 * CHANNELS, second.to(kind), mask=valid[:, None])
    tl.store(flow_2 + pixel, dx_2, mask=valid)
    tl.store(flow_2 + area + pixel, dy_2, mask=valid)
    tl.store(target + 3 * CHANNELS, dx.to(kind), mask=valid)
    tl.store(target + 3 * CHANNELS + 1, dy.to(kind), mask=valid)
    tl.store(target + 3 * CHANNELS + 2, dx_2.to(kind), mask=valid)
    tl.store(target + 3 * CHANNELS + 3, dy_2.to(kind), mask=valid)
    for extra in tl.static_range(3 * CHANNELS + 4, PADDED):
        tl.store(target + extra, (dx * 0.0).to(kind), mask=valid)


@triton.jit(do_not_specialize=["first_pixel", "last_pixel", "height", "width"])
def _columns_kernel(  # type: ignore[no-untyped-def]
    before_1,
    before_2,
    learned,
    flow_1,
    flow_2,
    columns,
    first_pixel,
    last_pixel,
    height,
    width,
    max_offset,
    SECOND: tl.constexpr,
    GROUPS: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """columns (pixels, G, 9, CHANNELS): the first half of the groups samples `before_1`, the second `before_2`."""
    group = tl.program_id(1)
    pixel = first_pixel + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = pixel < last_pixel
    area = height * width
    second = group >= GROUPS // 2
    flow = flow_2 if second else flow_1
    source = before_2 if second else before_1
    column = (pixel % width).to(tl.float32) + tl.load(flow + pixel, mask=valid, other=0.0)
    row = (pixel // width).to(tl.float32) + tl.load(flow + area + pixel, mask=valid, other=0.0)
    channel = (group % (GROUPS // 2)) * CHANNELS + tl.arange(0, CHANNELS)
    here = learned + pixel.to(tl.int64) * (27 * GROUPS)
    target = columns + ((pixel - first_pixel).to(tl.int64) * (GROUPS * 9 * CHANNELS))[:, None]
    sampled = valid
    if not SECOND:
        sampled = valid & (group < GROUPS // 2)
    for tap in range(9):
        number = group * 9 + tap
        dy = tl.load(here + 2 * number, mask=valid, other=0.0).to(tl.float32)
        dx = tl.load(here + 2 * number + 1, mask=valid, other=0.0).to(tl.float32)
        modulation = tl.sigmoid(tl.load(here + 18 * GROUPS + number, mask=valid, other=0.0).to(tl.float32))
        # tanh(v) = 2 sigmoid(2 v) - 1
        y = row + (tap // 3 - 1) + max_offset * (2 * tl.sigmoid(2 * dy) - 1)
        x = column + (tap % 3 - 1) + max_offset * (2 * tl.sigmoid(2 * dx) - 1)
        value = _bilinear(source, y, x, channel, sampled, height, width, GROUPS // 2 * CHANNELS, BLOCK, CHANNELS)
        value = value * modulation[:, None]
        place = target + number * CHANNELS + tl.arange(0, CHANNELS)[None, :]
        tl.store(place, value.to(columns.dtype.element_ty), mask=valid[:, None])


@triton.jit(do_not_specialize=["height", "width", "token_rows", "token_columns", "pixels"])
def _fold_kernel(  # type: ignore[no-untyped-def]
    patches,
    out,
    height,
    width,
    token_rows,
    token_columns,
    pixels,
    CHANNELS: tl.constexpr,
    PADDED: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    REACH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """patches (n th tw, k k, CHANNELS) -> GELU(mean over the patches that cover a pixel): out (n h w, CHANNELS)."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = pixel < pixels
    channel = tl.arange(0, PADDED)
    x = pixel % width
    y = (pixel // width) % height
    frame = pixel // (width * height)
    last_row = tl.minimum((y + PADDING) // STRIDE, token_rows - 1)
    last_column = tl.minimum((x + PADDING) // STRIDE, token_columns - 1)
    total = tl.zeros((BLOCK, PADDED), tl.float32)
    count = x * 0
    for back in tl.static_range(REACH * REACH):
        token_y = last_row - back // REACH
        token_x = last_column - back % REACH
        ky = y + PADDING - token_y * STRIDE
        kx = x + PADDING - token_x * STRIDE
        covers = valid & (token_y >= 0) & (token_x >= 0) & (ky < KERNEL) & (kx < KERNEL)
        token = ((frame * token_rows + token_y) * token_columns + token_x).to(tl.int64)
        pointer = (token * (KERNEL * KERNEL) + ky * KERNEL + kx)[:, None] * CHANNELS + channel[None, :]
        mask = covers[:, None] & (channel < CHANNELS)[None, :]
        total += tl.load(patches + pointer, mask=mask, other=0.0).to(tl.float32)
        count += covers.to(tl.int32)
    mean = total / tl.maximum(count, 1).to(tl.float32)[:, None]
    active = 0.5 * mean * (1.0 + tl.erf(mean * 0.7071067811865476))
    pointer = pixel.to(tl.int64)[:, None] * CHANNELS + channel[None, :]
    tl.store(out + pointer, active.to(out.dtype.element_ty), mask=valid[:, None] & (channel < CHANNELS)[None, :])


@triton.jit(do_not_specialize=["height", "width", "token_rows", "token_columns", "rows"])
def _unfold_kernel(  # type: ignore[no-untyped-def]
    maps,
    patches,
    height,
    width,
    token_rows,
    token_columns,
    rows,
    CHANNELS: tl.constexpr,
    PADDED: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    PADDING: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """maps (n h w, CHANNELS) -> patches (n th tw, k k, CHANNELS), zeros outside. A row is one tap of one token."""
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = row < rows
    channel = tl.arange(0, PADDED)
    tap = row % (KERNEL * KERNEL)
    token = row // (KERNEL * KERNEL)
    x = (token % token_columns) * STRIDE - PADDING + tap % KERNEL
    y = ((token // token_columns) % token_rows) * STRIDE - PADDING + tap // KERNEL
    frame = token // (token_columns * token_rows)
    inside = valid & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    wide = (channel < CHANNELS)[None, :]
    source = ((frame * height + y) * width + x).to(tl.int64)[:, None] * CHANNELS + channel[None, :]
    value = tl.load(maps + source, mask=inside[:, None] & wide, other=0.0)
    tl.store(patches + row.to(tl.int64)[:, None] * CHANNELS + channel[None, :], value, mask=valid[:, None] & wide)


def condition_channels(channels: int) -> int:
    """Channels of `condition`: three maps and two flows, padded."""
    return -(-(3 * channels + 4) // CONDITION_ALIGNMENT) * CONDITION_ALIGNMENT


@_where_the_tensors_are
def condition(
    before_1: Tensor, before_2: Tensor | None, current: Tensor, flow_1: Tensor, earlier_flow: Tensor | None
) -> tuple[Tensor, Tensor]:
    """What the offsets are learned from: ([before_1 warped, current, before_2 warped, flow_1, flow_2, zeros], flow_2).

    Maps (1, c, h, w), c a power of two; flows (1, 2, h, w) float32, `earlier_flow` from the one before to the two
    before. flow_2 = flow_1 + earlier_flow warped by flow_1; without `before_2` its map and flow are zeros. Channels
    last.
    """
    _, channels, height, width = current.shape
    padded = condition_channels(channels)
    before_1, current = _channels_last(before_1), _channels_last(current)
    before_2 = None if before_2 is None else _channels_last(before_2)
    out = current.new_empty((1, height, width, padded))
    flow_1 = flow_1.contiguous()
    flow_2 = torch.empty_like(flow_1)
    _condition_kernel[(triton.cdiv(height * width, _PIXELS),)](
        before_1,
        before_1 if before_2 is None else before_2,
        current,
        flow_1,
        flow_1 if earlier_flow is None else earlier_flow.contiguous(),
        out,
        flow_2,
        height,
        width,
        SECOND=before_2 is not None,
        CHANNELS=channels,
        PADDED=padded,
        BLOCK=_PIXELS,
    )
    return out.permute(0, 3, 1, 2), flow_2


def pad_condition_weight(weight: Tensor) -> Tensor:
    """The first offset convolution's weight (d, 3 c + 4, 3, 3) for the padded condition."""
    channels = (weight.shape[1] - 4) // 3
    extra = condition_channels(channels) - weight.shape[1]
    padded = torch.nn.functional.pad(weight, (0, 0, 0, 0, 0, extra))
    return padded.contiguous(memory_format=torch.channels_last)


def column_weight(weight: Tensor, groups: int) -> Tensor:
    """The alignment's weight (d, 2 c, 3, 3) in the order of `align`'s columns: (G 9 c/G, d)."""
    out_channels, channels = weight.shape[:2]
    ordered = weight.reshape(out_channels, groups, channels // groups, TAPS).permute(1, 3, 2, 0)
    return ordered.reshape(-1, out_channels).contiguous()


@_where_the_tensors_are
def align(
    before_1: Tensor,
    before_2: Tensor | None,
    learned: Tensor,
    flow_1: Tensor,
    flow_2: Tensor,
    kernel: Tensor,
    bias: Tensor,
    max_offset: float,
) -> Tensor:
    """The alignment from what the offset convolutions give: (1, d, h, w), channels last.

    Maps (1, c, h, w); learned (1, 27 G, h, w), before tanh and sigmoid; flows (1, 2, h, w) float32; kernel:
    `column_weight`.
    """
    _, channels, height, width = before_1.shape
    groups = learned.shape[1] // (3 * TAPS)
    per_group = 2 * channels // groups
    before_1, learned = _channels_last(before_1), _channels_last(learned)
    second = before_1 if before_2 is None else _channels_last(before_2)
    flow_1, flow_2 = flow_1.contiguous(), flow_2.contiguous()
    area, width_of_columns = height * width, groups * TAPS * per_group
    out = before_1.new_empty((area, kernel.shape[1]))
    step = max(_PIXELS, COLUMN_BYTES_PER_CALL // (width_of_columns * out.element_size()))
    for first in range(0, area, step):
        last = min(first + step, area)
        columns = out.new_empty((last - first, width_of_columns))
        _columns_kernel[(triton.cdiv(last - first, _PIXELS), groups)](
            before_1,
            second,
            learned,
            flow_1,
            flow_2,
            columns,
            first,
            last,
            height,
            width,
            max_offset,
            SECOND=before_2 is not None,
            GROUPS=groups,
            CHANNELS=per_group,
            BLOCK=_PIXELS,
        )
        out[first:last] = torch.addmm(bias, columns, kernel)
    return out.view(1, height, width, -1).permute(0, 3, 1, 2)


@_where_the_tensors_are
def mix_patches(
    patches: Tensor, size: tuple[int, int], grid: tuple[int, int], kernel: int, stride: int, padding: int
) -> Tensor:
    """fold, mean, GELU, unfold: patches (n, th tw, k k c), taps before channels, -> the same shape."""
    frames, tokens, _ = patches.shape
    channels = patches.shape[2] // kernel**2
    padded = triton.next_power_of_2(channels)
    maps = patches.new_empty((frames, *size, channels))
    pixels, rows = frames * size[0] * size[1], frames * tokens * kernel**2
    geometry = {"CHANNELS": channels, "PADDED": padded, "KERNEL": kernel, "STRIDE": stride, "PADDING": padding}
    block = 32
    _fold_kernel[(triton.cdiv(pixels, block),)](
        patches, maps, *size, *grid, pixels, **geometry, REACH=-(-kernel // stride), BLOCK=block
    )
    out = torch.empty_like(patches)
    _unfold_kernel[(triton.cdiv(rows, block),)](maps, out, *size, *grid, rows, **geometry, BLOCK=block)
    return out


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
