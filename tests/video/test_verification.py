"""`verify` finds what differs, and `RandomAccess` gives the same frames as reading in order."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2fgvi_cli.errors import InputError
from e2fgvi_cli.types import Frame
from e2fgvi_cli.video import OutputOptions, Verification, open_random_access, open_reader, open_writer, verify
from e2fgvi_cli.video.writing.codecs import Encoding

from .media import PORTRAIT_PHONE, Recipe, make_clip, picture

INSIDE = (slice(11, 30), slice(9, 33))


def alpha_of(frame: Frame) -> np.ndarray:
    alpha = np.zeros(frame.size, np.float32)
    alpha[INSIDE] = 1
    return alpha


def filled_copy(source: Path, target: Path, options: OutputOptions, *, wider: int = 0) -> None:
    """Fill the square; `wider` more pixels to the right than `alpha_of` says, as a fault to be found."""
    with open_reader(source) as reader, open_writer(target, reader.info, options) as writer:
        for frame in reader:
            alpha = alpha_of(frame)
            alpha[11:30, 33 : 33 + wider] = 1
            writer.write(frame, 255 - frame.rgb, alpha)


@pytest.mark.parametrize(
    ("name", "codec", "encoder", "pixel_format", "units"),
    [
        ("result.mkv", "ffv1", "libx264", "yuv420p", "8-bit samples"),
        ("result.mp4", "h265", "libx265", "yuv420p10le", "10-bit samples"),
        ("result.mp4", "h264", "libx264", "yuvj420p", "8-bit samples"),
        ("frames", "auto", "libx264", "yuv420p", "8-bit RGB"),
        ("frames", "auto", "libx265", "yuv420p10le", "16-bit RGB"),
    ],
)
def test_lossless_result_has_no_difference(
    tmp_path: Path, name: str, codec: str, encoder: str, pixel_format: str, units: str
) -> None:
    source = make_clip(
        tmp_path / "source.mp4",
        Recipe(codec=encoder, pixel_format=pixel_format, languages=("eng",), matrix=PORTRAIT_PHONE),
    )
    lossless = codec in ("h264", "h265")
    filled_copy(source, tmp_path / name, OutputOptions(codec=codec, lossless=lossless))
    with open_reader(source) as reader:
        report = verify(tmp_path / name, reader.info, alpha_of)
    assert (report.largest_difference, report.units) == (0, units)
    assert report.source_frames == report.output_frames == 12
    if name != "frames":
        assert report.problems(lossless=True) == []
        (packets, seconds), (new_packets, new_seconds) = report.source_sound[0], report.output_sound[0]
        assert packets == new_packets == 27
        assert abs(seconds - new_seconds) < Fraction(1, 46)  # mp4 trims the last packet, Matroska does not
        assert report.output_seconds == report.source_seconds == Fraction(12, 25)


def test_one_column_too_many_is_found(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mkv", Recipe(codec="ffv1"))
    filled_copy(source, tmp_path / "result.mkv", OutputOptions(codec="ffv1"), wider=1)
    with open_reader(source) as reader:
        report = verify(tmp_path / "result.mkv", reader.info, alpha_of)
    assert report.largest_difference > 20
    assert report.problems(lossless=True)[0].startswith("outside the hole, samples differ by up to")
    assert report.problems(lossless=False) == []


def test_missing_frames_and_sound_are_found(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mp4", Recipe(languages=("eng",)))
    short = make_clip(tmp_path / "short.mp4", Recipe(frames=10))
    with open_reader(source) as reader:
        problems = verify(short, reader.info, alpha_of).problems(lossless=False)
    assert problems[0] == "the output has 10 frames, the source 12"
    assert problems[1].startswith("sound: none in the output, 0.5")


def test_shifted_times_are_found(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mp4", Recipe())
    slow = make_clip(tmp_path / "slow.mp4", Recipe(rate=Fraction(20)))
    with open_reader(source) as reader:
        problems = verify(slow, reader.info, lambda frame: None).problems(lossless=False)
    assert problems == ["time stamps are off by up to 0.110 s"]


def slides(path: Path, last: int) -> Path:
    """Two pictures, the second shown for `last` milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.codec_context.height, stream.codec_context.width = 48, 64
        stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(2):
            frame = av.VideoFrame.from_ndarray(picture(index, (48, 64)), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index * 200, Fraction(1, 1000)
            for packet in stream.encode(frame):
                packet.duration = (200, last)[index]
                container.mux(packet)
        for packet in stream.encode(None):
            packet.duration = (200, last)[packet.pts // 200]
            container.mux(packet)
    return path


def test_ends_are_compared(tmp_path: Path) -> None:
    whole, short = slides(tmp_path / "whole.mp4", 2500), slides(tmp_path / "short.mp4", 40)
    with open_reader(whole) as reader:
        cut, same = (verify(path, reader.info, lambda frame: None) for path in (short, whole))
    assert (cut.source_seconds, cut.output_seconds) == (Fraction(27, 10), Fraction(24, 100))
    assert cut.problems(lossless=False) == [
        "the output lasts 0.24 s, the source 2.70 s: its last frame is shown shorter"
    ]
    assert same.problems(lossless=True) == []


def test_another_rate_on_purpose_is_no_problem(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mp4", Recipe(languages=("eng",)))
    slow = make_clip(tmp_path / "slow.mp4", Recipe(rate=Fraction(20)))
    with open_reader(source) as reader:
        assert verify(slow, reader.info, lambda frame: None, retimed=True).problems(lossless=False) == []


def found(difference: int, units: str) -> Verification:
    zero = Fraction(0)
    return Verification(difference, 7, units, 1, 1, zero, zero, zero, (), ())


@pytest.mark.parametrize(
    ("difference", "units", "codec", "sentence"),
    [
        (30, "8-bit samples", "h264", "h264 is lossy: usual are 20 to 40 of 255 at edges and in noise; --lossless or"),
        (
            120,
            "10-bit samples",
            "h265",
            "h265 is lossy: usual are 25 to 60 of 255 at edges and in noise; --lossless or",
        ),
        (
            90,
            "8-bit samples",
            "h264",
            "h264 is lossy, but 90 of 255 is more than usual (20 to 40 of 255 at edges and in",
        ),
        (12_000, "16-bit RGB", "prores", "prores is lossy, but 47 of 255 is more than"),
    ],
)
def test_what_is_usual_for_a_codec_is_said(difference: int, units: str, codec: str, sentence: str) -> None:
    said = found(difference, units).about_the_codec(Encoding(codec, "mp4"), default_quality=True)
    assert said.startswith(sentence)
    asked = found(difference, units).about_the_codec(Encoding(codec, "mp4"), default_quality=False)
    assert asked.startswith(f"{codec} is lossy: usual are at its default quality ")
    assert ("--lossless" in asked) == (codec != "prores")


def test_nothing_is_explained_where_no_sample_may_change() -> None:
    assert (
        found(3, "8-bit samples").about_the_codec(Encoding("ffv1", "matroska", lossless=True), default_quality=True)
        == ""
    )
    assert found(0, "8-bit samples").about_the_codec(Encoding("h264", "mp4"), default_quality=True) == ""


def test_folder_against_folder(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for index in range(3):
        deep = picture(index, (20, 30)).astype(np.uint16) * 200
        cv2.imwrite(str(tmp_path / "source" / f"shot_{index}.png"), deep)
    with (
        open_reader(tmp_path / "source") as reader,
        open_writer(tmp_path / "out", reader.info, OutputOptions()) as writer,
    ):
        for frame in reader:
            alpha = np.zeros(frame.size, np.float32)
            alpha[5:9, 5:9] = 1
            writer.write(frame, np.zeros_like(frame.rgb), alpha)
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [f"shot_{n}.png" for n in range(3)]
    with open_reader(tmp_path / "source") as reader:
        report = verify(tmp_path / "out", reader.info, lambda frame: alpha)
        again = verify(tmp_path / "out", reader.info, lambda frame: None)
    assert (report.largest_difference, report.units) == (0, "16-bit samples")
    assert again.largest_difference > 1000


# ---- random access


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ticks = tuple(np.cumsum(np.random.default_rng(1).integers(10, 90, 60)).tolist())
    recipe = Recipe(ticks=ticks, time_base=Fraction(1, 1000), options={"g": "12", "bf": "3"})
    return make_clip(tmp_path_factory.mktemp("random") / "clip.mp4", recipe)


@pytest.fixture(scope="module")
def in_order(clip: Path) -> list[Frame]:
    with open_reader(clip) as reader:
        return list(reader)


@settings(max_examples=25, deadline=None)
@given(indices=st.lists(st.integers(0, 59), min_size=1, max_size=12))
def test_random_access_gives_what_reading_gives(clip: Path, in_order: list[Frame], indices: list[int]) -> None:
    with open_random_access(clip, keep=2) as access:
        assert len(access) == 60
        for index in indices:
            frame = access.frame(index)
            assert (frame.index, frame.time) == (index, in_order[index].time)
            assert np.array_equal(frame.rgb, in_order[index].rgb)
        assert [frame.index for frame in access.frames(indices)] == sorted(set(indices))


def test_random_access_beyond_the_end(clip: Path) -> None:
    with (
        open_random_access(clip) as access,
        pytest.raises(InputError, match=r"frame 60 of .* does not exist: it has 60"),
    ):
        access.frame(60)


def test_random_access_keeps_few_frames(clip: Path) -> None:
    with open_random_access(clip, keep=3) as access:
        list(access.frames(range(40)))
        assert len(access._recent) == 3


def test_random_access_to_a_folder(tmp_path: Path) -> None:
    for index in range(4):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((6, 8, 3), index * 10, np.uint8))
    with open_random_access(tmp_path, size=(3, 4)) as access:
        assert access.frame(2).rgb.shape == (3, 4, 3)
        assert int(access.frame(2).rgb.max()) == 20
