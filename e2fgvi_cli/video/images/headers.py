"""What an image file says of itself in its header: size, kind of samples, number of pictures. Nothing is decoded.

By content, as the decoders go, not by suffix. Every walk through a file is bounded: no count of a header is believed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ...errors import InputError
from . import sequences

_MOST_PARTS = 100_000  # chunks, tags or pages of one file
_MOST_BYTES = 1 << 16  # of one chunk that is looked into
_FLOAT, _PALETTE, _REDUCED_OR_MASK = 3, 3, 0b101  # of TIFF: a sample format, a photometric, bits of the subfile type


@dataclass(frozen=True)
class Kind:
    """The samples of an image as decoded: colour or gray, with alpha or without, 8, 16 or (float) 32 bits each."""

    color: bool
    alpha: bool
    depth: int

    def __or__(self, other: Kind) -> Kind:
        """The narrowest kind that holds both. Floats are scene-linear: nothing but floats goes with them."""
        return Kind(self.color or other.color, self.alpha or other.alpha, max(self.depth, other.depth))

    @property
    def pixel_format(self) -> str:
        """As in `VideoInfo.pixel_format` of a folder."""
        return "rgba" if self.alpha else "rgb" if self.color else "gray"


@dataclass(frozen=True)
class ImageHeader:
    """`stored` (height, width) before EXIF may turn it ((0, 0): the header does not say), `turns` whether it may.

    `pages` numbers the pictures inside as the decoder does; a preview or a mask beside the picture is none of them.
    `durations` are the milliseconds of each, where the file has them.
    """

    stored: tuple[int, int]
    kind: Kind
    pages: tuple[int, ...] = (0,)
    durations: tuple[int, ...] = ()
    turns: bool = False

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) as decoded; None where the header does not settle it."""
        return None if self.turns or self.stored == (0, 0) else self.stored


def read_header(path: Path) -> ImageHeader | None:
    """The header of an image file, or None if it is of no format known here or broken. Raises `InputError` for no
    file."""
    sequences.require_file(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(32)
            for magic, parse in _FORMATS:
                if head.startswith(magic):
                    stream.seek(0)
                    return parse(stream)
    except OSError as error:
        raise InputError(f"cannot read image {path}: {error.strerror or error}") from error
    except (struct.error, LookupError, ValueError, OverflowError):
        return None  # broken: decoding says what is wrong
    return None


def png_chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """(type, length) of each chunk of a PNG; the stream stands at the chunk's data."""
    stream.seek(8)
    for _ in range(_MOST_PARTS):
        length, kind = struct.unpack(">I4s", stream.read(8))
        start = stream.tell()
        yield kind, length
        stream.seek(start + length + 4)


def is_moving_png(path: Path) -> bool:
    """Whether a file is an APNG of more than one picture."""
    header = read_header(path)
    with path.open("rb") as stream:
        return header is not None and len(header.pages) > 1 and stream.read(8) == _PNG


def _png(stream: BinaryIO) -> ImageHeader | None:
    size, bits, colour_type, transparent, pictures = (0, 0), 8, 0, False, 1
    for kind, _ in png_chunks(stream):
        if kind == b"IHDR":
            width, height, bits, colour_type = struct.unpack(">IIBB", stream.read(10))
            size = (height, width)
        elif kind == b"acTL":
            pictures = min(max(struct.unpack(">I", stream.read(4))[0], 1), _MOST_PARTS)
        elif kind == b"tRNS":
            transparent = colour_type in (2, 3)
        elif kind in (b"IDAT", b"IEND"):
            break
    color = colour_type in (2, 3, 4, 6)  # gray with alpha is decoded as RGBA
    kind_of_samples = Kind(color, colour_type in (4, 6) or transparent, 16 if bits == 16 else 8)
    return ImageHeader(size, kind_of_samples, tuple(range(pictures)))


def _jpeg(stream: BinaryIO) -> ImageHeader | None:
    stream.seek(2)
    turned = False
    for _ in range(_MOST_PARTS):
        fill, marker = stream.read(2)
        if fill != 0xFF:
            return None
        if marker == 0xFF or 0xD0 <= marker <= 0xD8 or marker == 0x01:  # padding, or a marker without a length
            stream.seek(-1 if marker == 0xFF else 0, 1)
            continue
        (length,) = struct.unpack(">H", stream.read(2))
        if marker == 0xE1:
            turned = True  # EXIF may turn the picture
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            _, height, width, components = struct.unpack(">BHHB", stream.read(6))
            return ImageHeader((height, width), Kind(components != 1, False, 8), turns=turned)
        stream.seek(length - 2, 1)
    return None


def _webp(stream: BinaryIO) -> ImageHeader | None:
    stream.seek(12)
    size, alpha, durations = None, False, []
    for _ in range(_MOST_PARTS):
        head = stream.read(8)
        if len(head) < 8:
            break
        kind, length = struct.unpack("<4sI", head)
        start = stream.tell()
        if kind == b"VP8X":
            flags, width, height = struct.unpack("<I3s3s", stream.read(10))
            size = (int.from_bytes(height, "little") + 1, int.from_bytes(width, "little") + 1)
            alpha = bool(flags & 0x10)
        elif kind == b"VP8L" and size is None:
            (bits,) = struct.unpack("<xI", stream.read(5))
            size, alpha = ((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1), bool(bits >> 28 & 1)
        elif kind == b"VP8 " and size is None:
            width, height = struct.unpack("<6xHH", stream.read(10))
            size = (height & 0x3FFF, width & 0x3FFF)
        elif kind == b"ANMF":
            durations.append(int.from_bytes(stream.read(15)[12:], "little"))
        stream.seek(start + length + length % 2)
    pages = tuple(range(max(len(durations), 1)))
    return None if size is None else ImageHeader(size, Kind(True, alpha, 8), pages, tuple(durations))


def _bmp(stream: BinaryIO) -> ImageHeader | None:
    _, header, width, height, bits = struct.unpack("<14sIii2xH", stream.read(30))
    if header < 40:
        return None  # of OS/2: decoding tells
    stream.seek(46)
    used = struct.unpack("<I", stream.read(4))[0] or 1 << bits if bits <= 8 else 0
    stream.seek(14 + header)
    palette = stream.read(4 * min(used, 256))
    color = bits > 8 or any(not b == g == r for b, g, r, _ in struct.iter_unpack("<4B", palette))
    stream.seek(66)
    masked = header >= 108 and struct.unpack("<I", stream.read(4))[0] != 0
    return ImageHeader((abs(height), width), Kind(color, bits == 32 and masked, 8))


def _tiff(stream: BinaryIO) -> ImageHeader | None:
    order, at = "<" if stream.read(2) == b"II" else ">", 0
    version, at = struct.unpack(order + "HI", stream.read(6))
    if version != 42:
        return None  # BigTIFF: decoding tells
    first: ImageHeader | None = None
    pages: list[int] = []
    seen: set[int] = set()
    while at and at not in seen and len(seen) < _MOST_PARTS:
        tags = tiff_tags(stream, at, order)
        if not tags.get(254, (0,))[0] & _REDUCED_OR_MASK:
            pages.append(len(seen))
            first = first or _tiff_page(tags)
        seen.add(at)
        at = tags[-1][0]
    return None if first is None else ImageHeader(first.stored, first.kind, tuple(pages))


def _tiff_page(tags: dict[int, tuple[int, ...]]) -> ImageHeader:
    samples, bits = tags.get(277, (1,))[0], max(tags.get(258, (1,)))
    depth = 32 if tags.get(339, (1,))[0] == _FLOAT else 16 if bits > 8 else 8
    color = samples >= 3 or tags.get(262, (1,))[0] == _PALETTE
    return ImageHeader((tags[257][0], tags[256][0]), Kind(color, samples >= 4, depth))


def tiff_tags(stream: BinaryIO, at: int, order: str) -> dict[int, tuple[int, ...]]:
    """The whole-number tags of the TIFF directory at byte `at`; under -1 the place of the next directory (0: none)."""
    stream.seek(at)
    (count,) = struct.unpack(order + "H", stream.read(2))
    entries = [struct.unpack(order + "HHI4s", stream.read(12)) for _ in range(count)]
    tags = {-1: struct.unpack(order + "I", stream.read(4).ljust(4, b"\0"))}
    for tag, kind, number, value in entries:
        letter = {1: "B", 3: "H", 4: "I"}.get(kind)
        if letter is None or not 0 < number <= _MOST_BYTES:
            continue
        length = struct.calcsize(f"{order}{number}{letter}")
        if length > 4:
            stream.seek(struct.unpack(order + "I", value)[0])
            value = stream.read(length)
        tags[tag] = struct.unpack(f"{order}{number}{letter}", value[:length])
    return tags


def _exr(stream: BinaryIO) -> ImageHeader | None:
    head = stream.read(_MOST_BYTES)
    at = 8
    while head[at] != 0:
        name, kind = head[at:].split(b"\0", 2)[:2]
        at += len(name) + len(kind) + 2
        (length,) = struct.unpack_from("<i", head, at)
        if name == b"channels":
            entry, end, channels = at + 4, at + 4 + length, set()
            while entry < end and head[entry] != 0:
                channel = head[entry:].split(b"\0", 1)[0]
                channels.add(channel.decode("latin-1"))
                entry += len(channel) + 17
            return ImageHeader((0, 0), Kind(bool(channels & {"R", "G", "B"}), "A" in channels, 32))
        at += 4 + max(length, 0)
    return None


_PNG = b"\x89PNG\r\n\x1a\n"
_FORMATS = (
    (_PNG, _png),
    (b"\xff\xd8", _jpeg),
    (b"RIFF", _webp),
    (b"BM", _bmp),
    (b"II", _tiff),
    (b"MM", _tiff),
    (b"\x76\x2f\x31\x01", _exr),
)
