"""Makers of odd media: each writes one clip, image or folder into an empty folder and returns its path.

Plain clips come from `media.make_clip`; here is what no ordinary program would be asked to write.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from .media import Recipe, make_clip, picture

SIZE = (48, 64)
Maker = Callable[[Path], Path]


def raw_avi(path: Path, frames: int = 4, pixel_format: str = "bgr24", *, bottom_up: bool = False) -> Path:
    """An uncompressed AVI of `picture(0)`, `picture(1)`, ...: `bottom_up` is how Windows programs store it."""
    with av.open(f"file:{path}", "w", format="avi") as container:
        stream = container.add_stream("rawvideo", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = *SIZE, pixel_format
        for index in range(frames):
            rgb = picture(index, SIZE)[::-1] if bottom_up else picture(index, SIZE)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24").reformat(format=pixel_format)
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if bottom_up:
        data = bytearray(path.read_bytes())
        height_at = data.index(b"strf") + 16  # BITMAPINFOHEADER: a height above 0 says that the bottom row comes first
        assert struct.unpack_from("<i", data, height_at) == (-SIZE[0],)
        struct.pack_into("<i", data, height_at, SIZE[0])
        path.write_bytes(data)
    return path


def named(name: str) -> Maker:
    """A plain clip of 4 frames under an odd name."""

    def make(folder: Path) -> Path:
        return make_clip(folder / "plain.mp4", Recipe(frames=4)).rename(folder / name)

    return make


def pipe(folder: Path) -> Path:
    """A pipe nobody writes to."""
    path = folder / "pipe.mp4"
    os.mkfifo(path)
    return path


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG file with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path: Path, size: tuple[int, int], data: bytes, *, bits: int = 8, colour_type: int = 2) -> Path:
    """A PNG whose header says what it is told to, whatever is in it: `data` are the rows, each after a filter byte."""
    header = struct.pack(">IIBBBBB", size[1], size[0], bits, colour_type, 0, 0, 0)
    palette = png_chunk(b"PLTE", bytes([0, 0, 0, 255, 0, 0])) if colour_type == 3 else b""
    chunks = png_chunk(b"IHDR", header) + palette + png_chunk(b"IDAT", zlib.compress(data)) + png_chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def palette_mask(path: Path, indices: np.ndarray) -> Path:
    """A palette PNG: 0 black, 1 red."""
    return png(path, indices.shape, b"".join(b"\0" + bytes(row) for row in indices), colour_type=3)
