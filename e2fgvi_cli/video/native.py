"""Pictures in the source's own pixel format: to RGB for the network, and filled pixels back without touching the rest.

A decoded frame stays an `av.VideoFrame`. Its planes are viewed as arrays; a filled frame is a copy of it in which only
the samples that the hole covers were computed anew, so that everything else stays bit-identical to what was decoded.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any, cast

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ..frames.boxes import bounding_box
from ..types import AlphaArray, Box, PixelArray
from . import colour

_PLANAR_YUV = re.compile(r"^yuv(j?)(a?)(4\d\d)p(?:(\d+)le)?$")
_PLANAR_RGB = re.compile(r"^gbr(a?)p(?:(\d+)le)?$")
_GRAY = re.compile(r"^gray(?:(\d+)le)?$")
_SUBSAMPLING = {"444": (1, 1), "422": (1, 2), "420": (2, 2), "440": (2, 1), "411": (1, 4), "410": (4, 4)}
# channel order within a packed pixel: positions of R, G, B and of alpha (None: no alpha or padding)
_PACKED = {
    "rgb24": (3, 8, (0, 1, 2), None),
    "bgr24": (3, 8, (2, 1, 0), None),
    "rgba": (4, 8, (0, 1, 2), 3),
    "bgra": (4, 8, (2, 1, 0), 3),
    "argb": (4, 8, (1, 2, 3), 0),
    "abgr": (4, 8, (3, 2, 1), 0),
    "rgb0": (4, 8, (0, 1, 2), None),
    "bgr0": (4, 8, (2, 1, 0), None),
    "0rgb": (4, 8, (1, 2, 3), None),
    "0bgr": (4, 8, (3, 2, 1), None),
    "rgb48le": (3, 16, (0, 1, 2), None),
    "rgba64le": (4, 16, (0, 1, 2), 3),
}
# formats that are not viewed directly -> one that holds every value of theirs
_EQUIVALENT = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "p010le": "yuv420p10le",
    "p016le": "yuv420p16le",
    "p210le": "yuv422p10le",
    "y210le": "yuv422p10le",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "yvyu422": "yuv422p",
    "monob": "gray",
    "monow": "gray",
    "gray16be": "gray16le",
    "ya8": "rgba",
    "ya16be": "rgba64le",
    "ya16le": "rgba64le",
    "pal8": "rgba",
    "rgb48be": "rgb48le",
    "rgba64be": "rgba64le",
}


@dataclass(frozen=True)
class PixelLayout:
    """How the samples of a pixel format lie: `kind` is "yuv", "gbr" (planar RGB), "gray" or "packed" RGB.

    `depth` is bits a sample, `subsampling` (vertical, horizontal) pixels a chroma sample, `alpha` whether a full-size
    alpha plane or channel exists, `channels` samples a pixel of a packed format and `order` the places of R, G, B
    there.
    """

    name: str
    kind: str
    depth: int
    subsampling: tuple[int, int] = (1, 1)
    alpha: bool = False
    channels: int = 1
    order: tuple[int, ...] = ()
    forced_full_range: bool = False

    @property
    def dtype(self) -> type[np.generic]:
        """uint8 up to 8 bits a sample, else uint16."""
        return np.uint8 if self.depth <= 8 else np.uint16

    @property
    def rgb_max(self) -> float:
        """The white of `Frame.rgb` for this format."""
        return 255.0 if self.depth <= 8 else 65535.0


def layout_of(name: str) -> PixelLayout | None:
    """The layout of an FFmpeg pixel format, or None if its samples cannot be viewed as plain planes here."""
    if match := _PLANAR_YUV.match(name):
        full, alpha, sampling, depth = match.groups()
        return PixelLayout(
            name, "yuv", int(depth or 8), _SUBSAMPLING[sampling], alpha=bool(alpha), forced_full_range=bool(full)
        )
    if match := _PLANAR_RGB.match(name):
        return PixelLayout(name, "gbr", int(match[2] or 8), alpha=bool(match[1]))
    if match := _GRAY.match(name):
        return PixelLayout(name, "gray", int(match[1] or 8))
    if name in _PACKED:
        channels, depth, order, alpha_at = _PACKED[name]
        return PixelLayout(name, "packed", depth, alpha=alpha_at is not None, channels=channels, order=order)
    return None


def viewable_format(video_format: Any) -> str:
    """A format with a `PixelLayout` that loses nothing of `video_format` (an `av.VideoFormat`)."""
    name = video_format.name
    if layout_of(name) is not None:
        return str(name)
    if name in _EQUIVALENT:
        return _EQUIVALENT[name]
    deep = max(component.bits for component in video_format.components) > 8
    alpha = any(component.is_alpha for component in video_format.components)
    if video_format.is_rgb:
        return ("rgba64le" if alpha else "rgb48le") if deep else ("rgba" if alpha else "rgb24")
    return ("yuva444p" if alpha else "yuv444p") + ("16le" if deep else "")


def require_layout(name: str) -> PixelLayout:
    """`layout_of`, for frames that went through `viewable_format`."""
    layout = layout_of(name)
    assert layout is not None, name
    return layout


def plane_rows(plane: Any, dtype: type[np.generic] = np.uint8) -> NDArray[Any]:
    """(h, samples) of an `av` plane, the top row of the picture first, with the padding at the rows' ends. A view.

    The one place that knows how rows lie: Windows programs store pictures bottom-up, which a negative line size says.
    """
    samples = np.frombuffer(cast(Any, plane), dtype=dtype)
    rows = samples.reshape(plane.height, abs(plane.line_size) // samples.itemsize)
    return rows[::-1] if plane.line_size < 0 else rows


def plane_view(frame: av.VideoFrame, index: int, layout: PixelLayout) -> NDArray[Any]:
    """Plane `index` as (h, w) or, for packed formats, (h, w, channels). A view: writing to it changes the frame."""
    plane = frame.planes[index]
    rows = plane_rows(plane, layout.dtype)
    return rows[:, : plane.width * layout.channels].reshape(
        (plane.height, plane.width, layout.channels) if layout.channels > 1 else (plane.height, plane.width)
    )


def is_full_range(frame: av.VideoFrame, layout: PixelLayout) -> bool:
    """Whether black is code 0 (tagged full range, or one of the old yuvj formats)."""
    return layout.forced_full_range or int(frame.color_range) == colour.RANGE_FULL


def to_rgb(frame: av.VideoFrame) -> PixelArray:
    """(H, W, 3) RGB of a frame in a viewable format: uint8 up to 8 bits a sample, else uint16 scaled to 0..65535."""
    layout = require_layout(frame.format.name)
    if layout.kind == "packed":
        return np.ascontiguousarray(plane_view(frame, 0, layout)[:, :, list(layout.order)])
    if layout.kind == "gbr":
        green, blue, red = (plane_view(frame, index, layout) for index in range(3))
        return _stretch(cast(PixelArray, cv2.merge([red, green, blue])), layout)
    if layout.kind == "gray":
        return _gray_to_rgb(plane_view(frame, 0, layout), is_full_range(frame, layout), layout)
    matrix = colour.ycc_to_rgb(
        colour.matrix_or_default(int(frame.colorspace), frame.height, frame.width),
        full_range=is_full_range(frame, layout),
        depth=layout.depth,
        rgb_max=layout.rgb_max,
    )
    luma = plane_view(frame, 0, layout)
    chroma = [_enlarge(plane_view(frame, index, layout), luma.shape, layout) for index in (1, 2)]
    return cast(PixelArray, cv2.transform(cv2.merge([luma, *chroma]), matrix))


def alpha_of(frame: av.VideoFrame) -> NDArray[Any] | None:
    """(H, W) alpha of a frame in a viewable format, scaled like `to_rgb`; None if it has none."""
    layout = require_layout(frame.format.name)
    if not layout.alpha:
        return None
    if layout.kind == "packed":
        place = next(place for place in range(layout.channels) if place not in layout.order)
        return np.ascontiguousarray(plane_view(frame, 0, layout)[:, :, place])
    return _stretch(np.ascontiguousarray(plane_view(frame, 3, layout)), layout)


def _stretch(rgb: PixelArray, layout: PixelLayout) -> PixelArray:
    """Codes of 9 to 14 bits to 0..65535; 8 and 16 bits are left alone."""
    if layout.depth in (8, 16):
        return rgb
    codes = np.arange(2**layout.depth, dtype=np.float64)
    return np.rint(codes * (layout.rgb_max / (2**layout.depth - 1))).astype(np.uint16)[rgb]


def _gray_to_rgb(gray: NDArray[Any], full_range: bool, layout: PixelLayout) -> PixelArray:
    gain, offset = colour.range_scale(full_range=full_range, depth=layout.depth, rgb_max=layout.rgb_max)
    codes = np.rint(np.clip(np.arange(2**layout.depth) * gain + offset, 0, layout.rgb_max)).astype(layout.dtype)
    levels = cv2.LUT(gray, codes) if layout.depth == 8 else codes[gray]  # cv2's is ten times as fast
    return cast(PixelArray, cv2.cvtColor(levels, cv2.COLOR_GRAY2RGB))


def _enlarge(chroma: NDArray[Any], shape: tuple[int, ...], layout: PixelLayout) -> NDArray[Any]:
    """Chroma at luma size, interpolated linearly about the centre of the pixels each sample covers."""
    vertical, horizontal = layout.subsampling
    if (vertical, horizontal) == (1, 1):
        return chroma
    size = (chroma.shape[1] * horizontal, chroma.shape[0] * vertical)
    return cast(NDArray[Any], cv2.resize(chroma, size, interpolation=cv2.INTER_LINEAR)[: shape[0], : shape[1]])


def copy_picture(frame: av.VideoFrame, format_name: str | None = None) -> av.VideoFrame:
    """A deep copy with the same tags and time; `format_name` may rename it to one of the same layout (yuvj -> yuv)."""
    copy = av.VideoFrame(frame.width, frame.height, format_name or frame.format.name)
    for source, target in zip(frame.planes, copy.planes, strict=True):
        rows, fresh = plane_rows(source), plane_rows(target)
        width = min(rows.shape[1], fresh.shape[1])
        fresh[:, :width] = rows[:, :width]
    copy_tags(frame, copy)
    return copy


def copy_tags(frame: av.VideoFrame, target: av.VideoFrame) -> None:
    """Time stamp, duration and colour tags of `frame`, onto `target`."""
    target.pts, target.duration = frame.pts, frame.duration
    if frame.time_base is not None:
        target.time_base = frame.time_base
    target.color_range, target.colorspace = frame.color_range, frame.colorspace
    target.color_primaries, target.color_trc = frame.color_primaries, frame.color_trc


def blend(frame: av.VideoFrame, filled: PixelArray, alpha: AlphaArray, box: Box | None = None) -> av.VideoFrame:
    """A copy of `frame` with `filled` (H, W, 3; the dtype of `to_rgb`) where `alpha` (H, W; 0..1) is above 0.

    With a `box` that bounds alpha, `filled` is only that part of it (y, x, 3).
    A chroma sample becomes the mean over the pixels it covers: `filled` by their alpha, the source by the rest; so the
    source's chroma does not leak into the hole and a sample that covers no pixel of it keeps its bits.
    """
    layout = require_layout(frame.format.name)
    result = copy_picture(frame)
    region = covered_region(alpha, layout.subsampling, box)
    if region is None:
        return result
    rows, columns = region
    patch = filled[rows, columns] if box is None else _cut_out(filled, box, region)
    weight = alpha[rows, columns].astype(np.float32, copy=False)
    if layout.kind == "yuv":
        _blend_yuv(result, patch, weight, region, layout)
    elif layout.kind == "packed":
        view = plane_view(result, 0, layout)[rows, columns]
        for channel, place in enumerate(layout.order):
            _mix(view[:, :, place], patch[:, :, channel].astype(np.float32), weight, layout.depth)
    else:
        _blend_full_planes(result, patch, weight, region, layout)
    return result


def _blend_full_planes(
    frame: av.VideoFrame,
    patch: PixelArray,
    weight: NDArray[np.float32],
    region: tuple[slice, slice],
    layout: PixelLayout,
) -> None:
    """Planar RGB, or a single gray plane (which takes the plain mean: a gray source gives gray predictions)."""
    codes = patch.astype(np.float32)
    if layout.kind == "gray":
        gain, offset = colour.range_scale(
            full_range=is_full_range(frame, layout), depth=layout.depth, rgb_max=layout.rgb_max
        )
        values = [(codes.mean(axis=2) - offset) / gain]
    else:
        scale = (2**layout.depth - 1) / layout.rgb_max
        values = [codes[:, :, channel] * scale for channel in (1, 2, 0)]
    for index, value in enumerate(values):
        _mix(plane_view(frame, index, layout)[region], value, weight, layout.depth)


def _blend_yuv(
    frame: av.VideoFrame,
    patch: PixelArray,
    weight: NDArray[np.float32],
    region: tuple[slice, slice],
    layout: PixelLayout,
) -> None:
    matrix = colour.rgb_to_ycc(
        colour.matrix_or_default(int(frame.colorspace), frame.height, frame.width),
        full_range=is_full_range(frame, layout),
        depth=layout.depth,
        rgb_max=layout.rgb_max,
    )
    ycc = cv2.transform(patch.astype(np.float32), matrix)
    _mix(plane_view(frame, 0, layout)[region], ycc[:, :, 0], weight, layout.depth)
    vertical, horizontal = layout.subsampling
    covered = _box_mean(weight, layout.subsampling)
    rows = slice(region[0].start // vertical, region[0].start // vertical + covered.shape[0])
    columns = slice(region[1].start // horizontal, region[1].start // horizontal + covered.shape[1])
    for index in (1, 2):
        mean = _box_mean(weight * ycc[:, :, index], layout.subsampling) / np.maximum(covered, 1e-9)
        _mix(plane_view(frame, index, layout)[rows, columns], mean, covered, layout.depth)


def _box_mean(values: NDArray[np.float32], block: tuple[int, int]) -> NDArray[np.float32]:
    """Mean over blocks of pixels; the blocks at the lower and right edge may be smaller."""
    vertical, horizontal = block
    if block == (1, 1):
        return values
    # Sums of strided views: several times as fast as add.reduceat.
    total = np.zeros((-(-values.shape[0] // vertical), -(-values.shape[1] // horizontal)), np.float32)
    counts = np.zeros_like(total)
    for row, column in itertools.product(range(vertical), range(horizontal)):
        part = values[row::vertical, column::horizontal]
        total[: part.shape[0], : part.shape[1]] += part
        counts[: part.shape[0], : part.shape[1]] += 1
    return cast(NDArray[np.float32], total / counts)


def any_in_block(covered: NDArray[np.bool_], block: tuple[int, int]) -> NDArray[np.bool_]:
    """For each block of pixels (one chroma sample) whether any of them is set."""
    if block == (1, 1):
        return covered
    rows, columns = (np.arange(0, size, step) for size, step in zip(covered.shape, block, strict=True))
    return cast(
        NDArray[np.bool_], np.logical_or.reduceat(np.logical_or.reduceat(covered, rows, axis=0), columns, axis=1)
    )


def _mix(samples: NDArray[Any], value: NDArray[Any], weight: NDArray[np.float32], depth: int) -> None:
    """Write `value` over `samples` in place by `weight`, rounded once; samples of weight 0 are not written at all."""
    mixed = samples + weight * (value - samples)
    np.copyto(samples, np.clip(np.rint(mixed), 0, 2**depth - 1).astype(samples.dtype), where=weight > 0)


def covered_region(
    alpha: AlphaArray, block: tuple[int, int] = (1, 1), box: Box | None = None
) -> tuple[slice, slice] | None:
    """The rectangle of pixels with alpha above 0 (`box`, where it is known), grown to whole blocks; None where there
    are none."""
    box = bounding_box(alpha > 0) if box is None else box
    if box is None:
        return None
    top, left = box[0] // block[0] * block[0], box[1] // block[1] * block[1]
    bottom = min(-(-box[2] // block[0]) * block[0], alpha.shape[0])
    right = min(-(-box[3] // block[1]) * block[1], alpha.shape[1])
    return slice(top, bottom), slice(left, right)


def _cut_out(inside: PixelArray, box: Box, region: tuple[slice, slice]) -> PixelArray:
    """`inside`, the part `box` of a picture, grown to `region` with what nobody will look at."""
    rows, columns = region
    if inside.shape[:2] == (rows.stop - rows.start, columns.stop - columns.start):
        return inside
    grown = np.zeros((rows.stop - rows.start, columns.stop - columns.start, 3), inside.dtype)
    grown[box[0] - rows.start : box[2] - rows.start, box[1] - columns.start : box[3] - columns.start] = inside
    return grown
