"""Makers of odd media: each writes one clip, image or folder into an empty folder and returns its path.

Plain clips come from `media.make_clip`; here is what no ordinary program would be asked to write.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from e2fgvi_cli.video import images

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


def png_bytes(
    size: tuple[int, int], data: bytes, *, bits: int = 8, colour_type: int = 2, transparent: bytes = b""
) -> bytes:
    """A PNG whose header says what it is told to, whatever is in it: `data` are the rows, each after a filter byte."""
    header = struct.pack(">IIBBBBB", size[1], size[0], bits, colour_type, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header)
    if colour_type == 3:
        chunks += png_chunk(b"PLTE", bytes([0, 0, 0, 255, 0, 0]))
    if transparent:
        chunks += png_chunk(b"tRNS", transparent)
    return b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IDAT", zlib.compress(data)) + png_chunk(b"IEND", b"")


def png(path: Path, size: tuple[int, int], data: bytes) -> Path:
    """`png_bytes` as a file."""
    path.write_bytes(png_bytes(size, data))
    return path


def palette_mask(path: Path, indices: np.ndarray) -> Path:
    """A palette PNG: 0 black, 1 red."""
    path.write_bytes(png_bytes(indices.shape, b"".join(b"\0" + bytes(row) for row in indices), colour_type=3))
    return path


def frames_of(*pictures: np.ndarray, suffix: str = ".png") -> Maker:
    """A folder of images as given: gray, BGR or BGRA, 8 or 16 bits."""

    def make(folder: Path) -> Path:
        (folder / "frames").mkdir()
        for index, samples in enumerate(pictures):
            assert cv2.imwrite(str(folder / "frames" / f"frame_{index:05d}{suffix}"), samples)
        return folder / "frames"

    return make


def bgr(index: int) -> np.ndarray:
    """`picture(index)` as OpenCV writes it."""
    return np.ascontiguousarray(picture(index, SIZE)[:, :, ::-1])


def with_alpha(samples: np.ndarray) -> np.ndarray:
    """Its left third transparent."""
    alpha = np.full(SIZE, np.iinfo(samples.dtype).max, samples.dtype)
    alpha[:, : SIZE[1] // 3] = 0
    return np.dstack([samples, alpha])


def moving_webp(folder: Path, milliseconds: tuple[int, ...] = (40, 40, 40, 40)) -> Path:
    """An animated WebP, lossless."""
    animation = cv2.Animation()
    animation.frames = [bgr(index) for index in range(len(milliseconds))]
    animation.durations = np.array(milliseconds, np.int32)
    path = folder / "moving.webp"
    assert cv2.imwriteanimation(str(path), animation, [cv2.IMWRITE_WEBP_QUALITY, 101])
    return path


def moving_png(folder: Path, frames: Sequence[np.ndarray] = ()) -> Path:
    """An APNG of RGB pictures."""
    path = folder / "moving.png"
    with av.open(str(path), "w", format="apng") as container:
        stream = container.add_stream("apng", rate=Fraction(10))
        stream.height, stream.width, stream.pix_fmt = *SIZE, "rgb24"
        for index, rgb in enumerate(frames or [picture(index, SIZE) for index in range(4)]):
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def tiff_stack(folder: Path) -> Path:
    """A TIFF of four pages."""
    path = folder / "stack.tif"
    assert cv2.imwritemulti(str(path), [bgr(index) for index in range(4)])
    return path


def stack_in_a_folder(folder: Path) -> Path:
    """A folder in which one file is a TIFF of four pages."""
    frames = frames_of(bgr(0), bgr(1))(folder)
    tiff_stack(folder).rename(frames / "stack.tif")
    return frames


def alpha_clip(codec: str) -> Maker:
    """A WebM with the alpha plane beside the picture: its left third is transparent."""

    def make(folder: Path) -> Path:
        path = folder / "alpha.webm"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(
                codec, rate=Fraction(25), options={"auto-alt-ref": "0", "crf": "10", "b": "1M"}
            )
            stream.height, stream.width, stream.pix_fmt = *SIZE, "yuva420p"
            stream.metadata["alpha_mode"] = "1"
            for index in range(4):
                rgba = with_alpha(picture(index, SIZE))
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgba), "rgba").reformat(format="yuva420p")
                frame.pts = index
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


def damaged(samples: np.ndarray, suffix: str, options: tuple[int, ...] = (), *, at: float = 0.5) -> Maker:
    """An image file whose byte at a share `at` of its length has all its bits turned."""

    def make(folder: Path) -> Path:
        data = bytearray(cv2.imencode(suffix, samples, options)[1].tobytes())
        data[int(len(data) * at)] ^= 0xFF
        path = folder / f"damaged{suffix}"
        path.write_bytes(data)
        return path

    return make


def cut(make_whole: Maker, share: float = 0.7) -> Maker:
    """The first part of a file."""

    def make(folder: Path) -> Path:
        whole = make_whole(folder)
        whole.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
        return whole

    return make


def exr(folder: Path) -> Path:
    """One EXR."""
    path = folder / "linear.exr"
    images.write_image(path, picture(0, SIZE).astype(np.float32) / 255)
    return path


def exr_among_png(folder: Path) -> Path:
    """A folder of a PNG and an EXR."""
    frames = frames_of(bgr(0))(folder)
    exr(folder).rename(frames / "z.exr")
    return frames


def repacked(
    source: Path, target: Path, keep: Callable[[int], bool] = lambda n: True, *, format: str | None = None, **tags: str
) -> Path:
    """The video packets of `source` for whose number `keep` says so, as they are, in a new file."""
    with av.open(str(source)) as old, av.open(str(target), "w", format=format) as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        stream.metadata.update(tags)
        packets = [packet for packet in old.demux(old.streams.video[0]) if packet.size]
        for number, packet in enumerate(packets):
            if keep(number):
                packet.stream = stream
                new.mux(packet)
    return target


def hole_in_the_middle(folder: Path) -> Path:
    """A clip of 40 frames of which 12 to 23 are missing, as after damage."""
    source = make_clip(folder / "whole.mkv", Recipe(codec="ffv1", frames=40))
    return repacked(source, folder / "gap.mkv", lambda number: not 12 <= number < 24)


def cut_stream(folder: Path) -> Path:
    """A transport stream from the middle of a group of pictures: the first packets cannot be decoded."""
    source = make_clip(folder / "whole.mkv", Recipe(frames=30, options={"g": "10", "bf": "2"}))
    return repacked(source, folder / "cut.ts", lambda number: number >= 5, format="mpegts")


def lying_count(folder: Path) -> Path:
    """A Matroska file whose tag speaks of 100 frames, and that has 12."""
    return repacked(make_clip(folder / "plain.mkv"), folder / "liar.mkv", NUMBER_OF_FRAMES="100")


def without_width(folder: Path) -> Path:
    """A TIFF that does not say how wide it is."""
    data = cv2.imencode(".tiff", bgr(0), (cv2.IMWRITE_TIFF_COMPRESSION, 1))[1].tobytes()
    path = folder / "wide.tiff"
    path.write_bytes(data.replace(struct.pack("<HH", 256, 3), struct.pack("<HH", 250, 3)))
    return path


def hidden_frames(folder: Path) -> Path:
    """A VP8 clip of 40 packets of which three are no pictures, as those of alt-ref frames (bit 4: the frame is
    shown)."""
    source = make_clip(folder / "plain.webm", Recipe(codec="libvpx", frames=40))
    path = folder / "hidden.webm"
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        for number, packet in enumerate(packet for packet in old.demux(video=0) if packet.size):
            data = bytearray(bytes(packet))
            data[0] &= 0xEF if number in HIDDEN else 0xFF
            fresh = av.Packet(bytes(data))
            fresh.pts, fresh.dts, fresh.time_base, fresh.stream = packet.pts, packet.dts, packet.time_base, stream
            fresh.is_keyframe = packet.is_keyframe
            new.mux(fresh)
    return path


HIDDEN = (7, 20, 33)


def changing_stream(second: tuple[int, int] = SIZE, pixel_format: str = "yuv420p") -> Maker:
    """A bare H.264 stream that changes its size or its pixels after 3 frames."""

    def make(folder: Path) -> Path:
        path = folder / "change.264"
        with path.open("wb") as file:
            for size, name in ((SIZE, "yuv420p"), (second, pixel_format)):
                encoder = av.CodecContext.create("libx264", "w")
                encoder.height, encoder.width, encoder.pix_fmt = *size, name
                encoder.time_base, encoder.options = Fraction(1, 25), {"bf": "0"}
                for index in range(3):
                    frame = av.VideoFrame.from_ndarray(picture(index, size), "rgb24").reformat(format=name)
                    frame.pts = index
                    file.writelines(bytes(packet) for packet in encoder.encode(frame))
                file.writelines(bytes(packet) for packet in encoder.encode(None))
        return path

    return make


def image(suffix: str) -> Maker:
    """One image file."""

    def make(folder: Path) -> Path:
        path = folder / f"whole{suffix}"
        assert cv2.imwrite(str(path), bgr(0))
        return path

    return make


def pattern(name: str) -> Maker:
    """A path that stands for frame_00000.png to frame_00002.png, among others that do not fit."""

    def make(folder: Path) -> Path:
        frames = frames_of(bgr(0), bgr(1), bgr(2))(folder)
        cv2.imwrite(str(frames / "cover.png"), bgr(9))
        return frames / name

    return make
