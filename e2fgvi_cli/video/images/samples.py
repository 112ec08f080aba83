"""Image files as frames: natural order, 8 and 16 bits, alpha, float EXR; and back, with nothing but the hole changed.

OpenCV reads and writes everything but EXR, which its wheels leave out; PyAV has that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...types import AlphaArray, Box, PixelArray
from .. import local
from .damage import jpeg_warning
from .files import MAX_PIXELS, whole_bytes
from .headers import Kind, read_header

OnDamage = Callable[[str], None]


@dataclass(frozen=True)
class ImageNative:
    """An image as stored: (H, W) gray or (H, W, 3 or 4) RGB(A), uint8, uint16 or (EXR, scene-linear) float32."""

    samples: NDArray[Any]


def read_image(
    path: Path, page: int | None = None, on_damage: OnDamage | None = None, *, max_pixels: int = MAX_PIXELS
) -> NDArray[Any]:
    """(H, W) gray or (H, W, 3|4) RGB(A) as stored; JPEG is turned as its EXIF says.

    `page` picks one of `ImageHeader.pages`; without it a file of several pictures is refused. `on_damage` is told, in a
    sentence, of damage behind which the picture was decoded whole (None: that is refused, too). Raises `InputError`
    naming the file.
    """
    header = read_header(path)
    if page is None and header is not None and len(header.pages) > 1:
        raise InputError(
            f"image {path} holds {len(header.pages)} pictures, and one is wanted here; give one picture a file, "
            "or it alone as a clip"
        )
    data = whole_bytes(path, max_pixels)
    _check_jpeg(path, data, on_damage)
    if path.suffix.lower() == ".exr":
        return _read_exr(path)
    image = _decode(path, data, page)
    if image is None:
        raise InputError(f"cannot read image {path}: it is no image that OpenCV can decode")
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"cannot read image {path}: its samples are {image.dtype}; save it with 8 or 16 bits a channel"
        )
    return swap_red_blue(image)


def _check_jpeg(path: Path, data: bytes, on_damage: OnDamage | None) -> None:
    """libjpeg reads on behind damage; what it warned of is passed on, or the picture refused."""
    warning = jpeg_warning(data) if data[:2] == b"\xff\xd8" else None
    if warning is None:
        return
    reason, whole = warning
    if not whole or on_damage is None:
        raise InputError(f"cannot read image {path}: the file is damaged ({reason}); export it again")
    on_damage(f"image {path} is damaged ({reason}): part of its picture may be wrong")


def _decode(path: Path, data: bytes, page: int | None) -> NDArray[Any] | None:
    """As OpenCV decodes it (BGR), None if it cannot."""
    encoded = np.frombuffer(data, np.uint8)
    flags = cv2.IMREAD_ANYCOLOR if path.suffix.lower() in {".jpg", ".jpeg"} else cv2.IMREAD_UNCHANGED
    try:
        if not data:
            return None
        if page is None:
            return cv2.imdecode(encoded, flags)
        done, pages = cv2.imdecodemulti(encoded, cv2.IMREAD_UNCHANGED, range=(page, page + 1))
        return pages[0] if done else None
    except (cv2.error, MemoryError):
        return None


def swap_red_blue(image: NDArray[Any]) -> NDArray[Any]:
    """BGR(A) of OpenCV as RGB(A), gray as it is."""
    if image.ndim == 2:
        return image
    if image.shape[2] == 2:  # gray with alpha
        gray, alpha = image[:, :, 0], image[:, :, 1]
        return cast(NDArray[Any], cv2.merge([gray, gray, gray, alpha]))
    code = cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return cast(NDArray[Any], cv2.cvtColor(image, code))


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


def widen(samples: NDArray[Any], kind: Kind) -> NDArray[Any]:
    """The same picture in a wider kind: gray as RGB, opaque where there was no alpha, 8 bits as 16 (times 257)."""
    if kind.depth == 16 and samples.dtype == np.uint8:
        samples = samples.astype(np.uint16) * np.uint16(257)
    if kind.color and samples.ndim == 2:
        samples = cast(NDArray[Any], cv2.merge([samples] * 3))
    if kind.alpha and samples.shape[2] == 3:
        opaque = 1.0 if samples.dtype == np.float32 else np.iinfo(samples.dtype).max
        samples = np.dstack([samples, np.full(samples.shape[:2], opaque, samples.dtype)])
    return samples


def kind_of(samples: NDArray[Any]) -> Kind:
    """The kind of a decoded image."""
    return Kind(samples.ndim == 3, samples.ndim == 3 and samples.shape[2] == 4, 8 * samples.dtype.itemsize)


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
    """Write RGB(A) or gray samples as PNG (8 or 16 bits), or float32 as EXR, by the suffix of `path`. Raises
    OSError."""
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
