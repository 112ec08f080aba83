"""Probe: eight frames written and read back, in each format the program writes. Arguments: decode|encode, answer file.

A lossless file must come back bit for bit, the others nearly. libx264 is what outputs are made with, the rest are
alternatives.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import av
import numpy as np

FRAMES, HEIGHT, WIDTH = 8, 48, 64
LOSSLESS = ("ffv1", "png")
FAR = 64  # levels: a wrong colour matrix or a swapped channel is further away, compression of smooth pictures is not


def pictures() -> list[Any]:
    """Eight small RGB pictures, smooth and moving."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return [np.stack(((x * 4) % 256, (y * 5) % 256, (x + y + 8 * i) % 256), -1).astype("uint8") for i in range(FRAMES)]


def write(codec: str, container: str, pixel_format: str) -> bytes:
    """The pictures as a file in memory. Raises what PyAV raises."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
        for picture in pictures():
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def read(data: bytes) -> list[Any]:
    """All frames of a file in memory, RGB."""
    source: Any
    with av.open(io.BytesIO(data)) as source:
        return [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]


CASES = {
    "decode": [
        ("mkv/ffv1", "ffv1", "matroska", "bgr0"),
        ("mov/png", "png", "mov", "rgb24"),
        ("mp4/h264", "libx264", "mp4", "yuv420p"),
    ],
    "encode": [
        ("mp4/h264", "libx264", "mp4", "yuv420p"),
        ("mkv/ffv1", "ffv1", "matroska", "bgr0"),
        ("mov/prores", "prores_ks", "mov", "yuv422p10le"),
        ("mp4/mpeg4", "mpeg4", "mp4", "yuv420p"),
    ],
}


def main() -> None:
    """Try every case; what fails is named with its error."""
    kind, target = sys.argv[1], sys.argv[2]
    results = []
    for name, codec, container, pixel_format in CASES[kind]:
        entry: dict[str, Any] = {"name": name, "codec": codec, "ok": False}
        try:
            back = read(write(codec, container, pixel_format))
            expected = pictures()
            entry["frames"] = len(back)
            worst = max(int(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in zip(back, expected))  # noqa: B905
            entry["worst"] = worst
            entry["ok"] = len(back) == FRAMES and worst <= (0 if codec in LOSSLESS else FAR)
        except Exception as error:
            entry["error"] = f"{type(error).__name__}: {error}"[:300]
        results.append(entry)
    with open(target, "w", encoding="utf-8") as handle:
        json.dump({"results": results, "av": av.__version__}, handle)


main()
