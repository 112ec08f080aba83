"""Image files as frames: natural order, 8 and 16 bits, alpha, float EXR; and back, with nothing but the hole changed.

OpenCV reads and writes everything but EXR, which its wheels leave out; PyAV has that.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..paths import IMAGE_SUFFIXES
from ..types import AlphaArray, Box, PixelArray
from . import local

_HEADER_BYTES = 1 << 16


@dataclass(frozen=True)
class ImageNative:
    """An image as stored: (H, W) gray or (H, W, 3 or 4) RGB(A), uint8, uint16 or (EXR, scene-linear) float32."""

    samples: NDArray[Any]


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorting key under which frame2 comes before frame10."""
    parts = re.split(r"(\d+)", name.lower())
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part)


def list_images(folder: Path) -> list[Path]:
    """Image files directly in `folder`, in natural order; hidden files are left out. May be empty."""
    found = [
        entry
        for entry in folder.iterdir()
        if entry.suffix.lower() in IMAGE_SUFFIXES and not entry.name.startswith(".") and entry.is_file()
    ]
    return sorted(found, key=lambda entry: (natural_key(entry.stem), entry.name))


def is_image_path(path: Path) -> bool:
    """Whether the file's name says it is a still image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def read_image(path: Path) -> NDArray[Any]:
    """(H, W) gray or (H, W, 3|4) RGB(A) as stored; JPEG is turned as its EXIF says. Raises `InputError` naming it."""
    if path.suffix.lower() == ".exr":
        return _read_exr(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read image {path}: {error.strerror or error}") from error
    if _is_cut_short(path, data):
        raise InputError(f"cannot read image {path}: the file is cut short; export it again")
    flags = cv2.IMREAD_ANYCOLOR if path.suffix.lower() in {".jpg", ".jpeg"} else cv2.IMREAD_UNCHANGED
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"cannot read image {path}: it is no image that OpenCV can decode")
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"cannot read image {path}: its samples are {image.dtype}; save it with 8 or 16 bits a channel"
        )
    return _swap_red_blue(image)


def _swap_red_blue(image: NDArray[Any]) -> NDArray[Any]:
    if image.ndim == 2:
        return image
    if image.shape[2] == 2:  # gray with alpha
        gray, alpha = image[:, :, 0], image[:, :, 1]
        return cast(NDArray[Any], cv2.merge([gray, gray, gray, alpha]))
    code = cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return cast(NDArray[Any], cv2.cvtColor(image, code))


def _is_cut_short(path: Path, data: bytes) -> bool:
    """A JPEG without its end marker decodes to a half-gray picture without an error, so it has to be looked for."""
    if path.suffix.lower() in {".jpg", ".jpeg"} and data[:2] == b"\xff\xd8":
        return b"\xff\xd9" not in data[-_HEADER_BYTES:]
    return path.suffix.lower() == ".png" and data[:4] == b"\x89PNG" and b"IEND" not in data[-_HEADER_BYTES:]


def _read_exr(path: Path) -> NDArray[np.float32]:
    try:
        with local.open_local(path) as container:
            frame = next(container.decode(video=0))
    except (av.FFmpegError, StopIteration, IndexError, OSError) as error:
        raise InputError(f"cannot read image {path}: it is no EXR that PyAV can decode") from error
    if frame.format.name == "grayf32le":
        return np.asarray(frame.to_ndarray(), np.float32)
    target = "gbrapf32le" if len(frame.format.components) == 4 else "gbrpf32le"
    return np.asarray(frame.to_ndarray(format=target), np.float32)


def quick_size(path: Path) -> tuple[int, int] | None:
    """(height, width) from the first bytes of a PNG or a JPEG without EXIF; None if that does not tell."""
    with path.open("rb") as stream:
        head = stream.read(_HEADER_BYTES)
    if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) >= 24:
        width, height = struct.unpack(">II", head[16:24])
        return height, width
    return _jpeg_size(head) if head[:2] == b"\xff\xd8" else None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    position = 2
    while position + 9 < len(head) and head[position] == 0xFF:
        marker, length = head[position + 1], int.from_bytes(head[position + 2 : position + 4], "big")
        if marker == 0xE1:  # EXIF may turn the picture
            return None
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", head[position + 5 : position + 9])
            return height, width
        position += 2 + length
    return None


def to_rgb(samples: NDArray[Any]) -> PixelArray:
    """(H, W, 3) RGB: uint8 or uint16 as stored; float32 scene-linear is sRGB-encoded over 0..1 into uint16."""
    color = cv2.merge([samples] * 3) if samples.ndim == 2 else np.ascontiguousarray(samples[:, :, :3])
    if color.dtype == np.float32:
        return np.rint(encode_srgb(cast(NDArray[np.float32], color)) * 65535.0).astype(np.uint16)
    return cast(PixelArray, color)


def encode_srgb(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """IEC 61966-2-1 transfer, input clipped to 0..1 (values that are not a number become 0)."""
    value = np.clip(np.nan_to_num(linear, nan=0.0), 0.0, 1.0)
    return cast(
        NDArray[np.float32], np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)
    ).astype(np.float32)


def decode_srgb(encoded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inverse of `encode_srgb`."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)


def blend(samples: NDArray[Any], filled: PixelArray, alpha: AlphaArray, box: Box | None = None) -> NDArray[Any]:
    """A copy of `samples` with `filled` (H, W, 3) where `alpha` (H, W) is above 0; an alpha channel is kept.

    With a `box` that bounds alpha, `filled` is only that part of it (y, x, 3)."""
    if box is not None:
        here = (slice(box[0], box[2]), slice(box[1], box[3]))
        whole = samples.copy()
        whole[here] = blend(samples[here], filled, alpha[here])
        return whole
    result = samples.copy()
    value = filled.astype(np.float32)
    if samples.dtype == np.float32:
        value = decode_srgb(value / 65535.0)
    touched = alpha > 0
    weight = alpha[touched].astype(np.float32)
    if samples.ndim == 2:
        result[touched] = _mixed(samples[touched], value[touched].mean(axis=1), weight)
    else:
        weight = weight[:, None]
        result[touched, :3] = _mixed(samples[touched, :3], value[touched], weight)
    return result


def _mixed(source: NDArray[Any], value: NDArray[Any], weight: NDArray[np.float32]) -> NDArray[Any]:
    mixed = source + weight * (value - source.astype(np.float32))
    if source.dtype == np.float32:
        return mixed.astype(np.float32)
    return np.clip(np.rint(mixed), 0, np.iinfo(source.dtype).max).astype(source.dtype)


def write_image(path: Path, samples: NDArray[Any]) -> None:
    """Write RGB(A) or gray samples as PNG (8 or 16 bits), or float32 as EXR, by the suffix of `path`. Raises OSError."""
    if path.suffix.lower() == ".exr":
        path.write_bytes(_encode_exr(samples))
        return
    if samples.ndim == 3:
        samples = cv2.cvtColor(samples, cv2.COLOR_RGBA2BGRA if samples.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(path.suffix, samples)
    if not done:
        raise OSError(f"OpenCV could not encode {path.name}")
    path.write_bytes(data.tobytes())


def _encode_exr(samples: NDArray[Any]) -> bytes:
    name = "grayf32le" if samples.ndim == 2 else ("gbrapf32le" if samples.shape[2] == 4 else "gbrpf32le")
    encoder = av.CodecContext.create("exr", "w")
    encoder.height, encoder.width, encoder.pix_fmt = samples.shape[0], samples.shape[1], name
    encoder.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(samples), format=name)
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
