"""Shapes, rates, times and names at the limits of encoders, containers and file systems."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.video import OutputOptions, check_output, images, open_reader

from .media import Recipe, make_clip, picture, read_back
from .test_writers import folder_of, passed


@pytest.mark.parametrize("size", [(60, 640), (640, 60), (8, 400), (1, 700), (700, 1), (3, 354), (63, 63)])
@pytest.mark.parametrize("deep", [False, True])
def test_ffv1_takes_every_shape(tmp_path: Path, size: tuple[int, int], deep: bool) -> None:
    frames = [picture(index, size) for index in range(2)]
    samples = [frame.astype(np.uint16) * 251 for frame in frames] if deep else frames
    source = folder_of(tmp_path, *samples)
    passed(source, tmp_path / "out.mkv", OutputOptions(codec="ffv1"))
    with open_reader(tmp_path / "out.mkv") as reader:
        for frame, wanted in zip(reader, samples, strict=True):
            assert np.array_equal(frame.rgb, wanted)


def test_frame_names_as_long_as_a_file_system_takes(tmp_path: Path) -> None:
    """Two pictures of one long name in two formats: the second cannot take both suffixes."""
    source = folder_of(tmp_path, picture(0, (8, 8)))
    (source / "shot_8.png").unlink()
    for index, suffix in enumerate((".bmp", ".png", ".tiff")):
        images.write_image(source / f"{'é' * 100 + 'x' * 45}{suffix}", picture(index, (8, 8)))
    passed(source, tmp_path / "out")
    found = sorted((tmp_path / "out").iterdir())
    assert len(found) == 3
    assert len({images.read_image(path).tobytes() for path in found}) == 3
    assert all(path.name.startswith("é" * 80) and path.suffix == ".png" for path in found)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_slides_last_as_long_as_in_the_source(tmp_path: Path, suffix: str) -> None:
    """Three pictures of 0.2, 1.3 and 2.5 s."""
    ticks = (0, 200, 1500)
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    source = tmp_path / f"source{suffix}"
    with av.open(str(source), "w") as container:
        stream = container.add_stream(codec, rate=25, options={} if suffix == ".webm" else {"bf": "0"})
        stream.codec_context.height, stream.codec_context.width = 48, 64
        stream.codec_context.time_base = Fraction(1, 1000)
        packets = []
        for index, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(picture(index, (48, 64)), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = tick, Fraction(1, 1000)
            packets += stream.encode(frame)
        for packet in [*packets, *stream.encode(None)]:
            packet.duration = {0: 200, 200: 1300, 1500: 2500}[packet.pts]
            container.mux(packet)
    for name in (f"out{suffix}", "out.mp4", "out.mkv"):
        if name == "out.mkv" and suffix == ".webm":
            continue
        assert passed(source, tmp_path / name, OutputOptions(overwrite=True)) == []
        with av.open(str(tmp_path / name)) as container:
            assert container.duration == 4_000_000
            last = list(container.decode(video=0))[-1]
            assert last.pts * last.time_base == Fraction(3, 2)


def test_rate_with_more_digits_than_ffmpeg_holds(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mp4", Recipe())
    passed(source, tmp_path / "out.mp4", OutputOptions(frame_rate=Fraction("23.976023976")))
    assert read_back(tmp_path / "out.mp4").rate == Fraction(24_000, 1001)


@pytest.mark.parametrize("rate", [Fraction("1e-9"), Fraction(10**9)])
def test_rate_beyond_what_containers_count(tmp_path: Path, rate: Fraction) -> None:
    source = make_clip(tmp_path / "source.mp4", Recipe())
    with open_reader(source) as reader, pytest.raises(UsageError) as caught:
        check_output(tmp_path / "out.mp4", reader.info, OutputOptions(frame_rate=rate))
    assert str(caught.value) == f"a frame rate of {rate} is not possible; give 0.001 to 1000"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
@pytest.mark.parametrize(
    ("source", "rate", "time_base", "ticks"),
    [
        ("fast.mov", 50_000, Fraction(1, 50_000), tuple(range(8))),
        ("late.mov", 25, Fraction(1, 25), tuple(range(100_000, 100_008))),
        ("paused.mkv", 25, Fraction(1, 1000), (0, 40, 2**32, 2**32 + 40)),
    ],
)
def test_extreme_times_never_lose_the_output(
    tmp_path: Path, suffix: str, source: str, rate: int, time_base: Fraction, ticks: tuple[int, ...]
) -> None:
    recipe = Recipe(rate=Fraction(rate), ticks=ticks, time_base=time_base, options={"bf": "0"})
    passed(make_clip(tmp_path / source, recipe), tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(ticks)
