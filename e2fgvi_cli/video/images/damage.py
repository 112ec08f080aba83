"""Damage that decoders pass over: what a file's own checksums and lengths tell, and what libjpeg only warns of.

A flipped bit in a JPEG, a lossy WebP, an LZW TIFF or a BMP mostly gives another valid picture: nothing in the file says
so.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

from .headers import png_chunks, tiff_tags

CUT_SHORT = "the file is cut short; export it again"
_DAMAGED = "the file is damaged ({}); export it again"
_TAIL_BYTES = 1 << 16
_DEFLATE = frozenset({8, 32946})  # TIFF compressions with a checksum
_EXR_LINES = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256}  # compression -> lines of a block
_EXR_ZIP = frozenset({2, 3})


def damage(data: bytes) -> str | None:
    """Why the image file `data` cannot be whole, as the end of a sentence; None if nothing tells."""
    check = next((check for magic, check in _CHECKS if data.startswith(magic)), None)
    try:
        return None if check is None else check(data)
    except (struct.error, LookupError, ValueError, OverflowError):
        return CUT_SHORT
    except zlib.error as error:
        return _DAMAGED.format(str(error).split(": ")[-1])


def jpeg_warning(data: bytes) -> tuple[str, bool] | None:
    """(what libjpeg warns of, whether the picture was decoded whole) for a JPEG; None without a warning."""
    try:
        import simplejpeg
    except ImportError:  # it only adds this check
        return None
    try:
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=1, strict=True)
    except ValueError as error:
        reason = str(error.args[0] if error.args else error)
        reason = reason.removeprefix("b'").rstrip("'").removesuffix("\\n").strip()
        return (reason, "extraneous" in reason) if "Corrupt JPEG" in reason else None
    return None


def _png(data: bytes) -> str | None:
    stream = io.BytesIO(data)
    for kind, length in png_chunks(stream):
        start = stream.tell()
        (stored,) = struct.unpack_from(">I", data, start + length)
        if kind[:1].isupper() and zlib.crc32(data[start - 4 : start + length]) != stored:
            return _DAMAGED.format("its checksum does not fit")
        if kind == b"IEND":
            return None
    return CUT_SHORT


def _jpeg(data: bytes) -> str | None:
    """Without its end marker it would decode to a half-gray picture."""
    return None if b"\xff\xd9" in data[-_TAIL_BYTES:] else CUT_SHORT


def _webp(data: bytes) -> str | None:
    return CUT_SHORT if struct.unpack_from("<I", data, 4)[0] + 8 > len(data) else None


def _tiff(data: bytes) -> str | None:
    order = "<" if data[:2] == b"II" else ">"
    version, at = struct.unpack_from(order + "HI", data, 2)
    stream, seen = io.BytesIO(data), set()
    while version == 42 and at and at not in seen:
        seen.add(at)
        tags = tiff_tags(stream, at, order)
        for start, length in _tiff_parts(tags):
            if start + length > len(data):
                return CUT_SHORT
            if tags.get(259, (1,))[0] in _DEFLATE:
                zlib.decompress(data[start : start + length])
        at = tags[-1][0]
    return None


def _tiff_parts(tags: dict[int, tuple[int, ...]]) -> Iterator[tuple[int, int]]:
    """(start, length) of the strips or tiles of a page."""
    for starts, lengths in ((273, 279), (324, 325)):
        yield from zip(tags.get(starts, ()), tags.get(lengths, ()), strict=False)


def _exr(data: bytes) -> str | None:
    """Scan lines of one part; tiles and many parts are left to the decoder."""
    (version,) = struct.unpack_from("<I", data, 4)
    if version & ~0xFF & ~0x400:
        return None
    at, compression, left, top, right, bottom, pixel_bytes = 8, 0, 0, 0, 0, 0, 0
    while data[at]:
        name, kind = data[at : at + 600].split(b"\0", 2)[:2]
        at += len(name) + len(kind) + 2
        (length,) = struct.unpack_from("<I", data, at)
        if name == b"compression":
            compression = data[at + 4]
        elif name == b"dataWindow":
            left, top, right, bottom = struct.unpack_from("<4i", data, at + 4)
        elif name == b"channels":
            pixel_bytes = _exr_pixel_bytes(data[at + 4 : at + 4 + length])
        at += 4 + length
    lines, block = bottom - top + 1, _EXR_LINES[compression]
    for number, offset in enumerate(struct.unpack_from(f"<{-(-lines // block)}Q", data, at + 1)):
        (size,) = struct.unpack_from("<I", data, offset + 4)
        if offset + 8 + size > len(data):
            return CUT_SHORT
        whole = min(block, lines - number * block) * (right - left + 1) * pixel_bytes
        if compression in _EXR_ZIP and size < whole:  # what would not have shrunk is stored as it is
            zlib.decompress(data[offset + 8 : offset + 8 + size])
    return None


def _exr_pixel_bytes(channels: bytes) -> int:
    """Bytes of a pixel by the list of channels: names, each with its type (1: half, else 4 bytes) and 12 more bytes."""
    total, at = 0, 0
    while channels[at]:
        at = channels.index(b"\0", at) + 1
        total += 2 if channels[at] == 1 else 4
        at += 16
    return total


_CHECKS = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8", _jpeg),
    (b"RIFF", _webp),
    (b"II", _tiff),
    (b"MM", _tiff),
    (b"\x76\x2f\x31\x01", _exr),
)
