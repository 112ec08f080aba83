"""What encoders and image files are given: odd sizes, HDR data, alpha, gray, 16 bits, EXR, rates, bit rates."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.video import OutputOptions, check_output, images, native, open_reader, open_writer
from e2fgvi_cli.video.writing.codecs import choose

from .media import PORTRAIT_PHONE, Contents, Recipe, make_clip, picture, read_back


def passed(source: Path, target: Path, options: OutputOptions = OutputOptions()) -> list[str]:
    with open_reader(source) as reader, open_writer(target, reader.info, options) as writer:
        for frame in reader:
            writer.write(frame, None, None)
    return list(writer.notices)


def folder_of(tmp_path: Path, *frames: np.ndarray, suffix: str = ".png") -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for index, samples in enumerate(frames):
        images.write_image(folder / f"shot_{index + 8}{suffix}", samples)
    return folder


def mean_color(contents: Contents) -> tuple[float, ...]:
    return tuple(float(plane.mean()) for plane in contents.pictures[0])


# ---- automatic choice


@pytest.mark.parametrize(
    ("suffix", "encoder", "pixel_format", "expected"),
    [
        (".mp4", "libx264", "yuv420p", ("h264", "yuv420p")),
        (".mp4", "libx265", "yuv420p10le", ("hevc", "yuv420p10le")),
        (".mkv", "ffv1", "yuv422p10le", ("ffv1", "yuv422p10le")),
        (".mov", "prores_ks", "yuv422p10le", ("prores", "yuv422p10le")),
        (".webm", "libvpx-vp9", "yuv420p", ("vp9", "yuv420p")),
        (".avi", "ffv1", "yuv420p", ("ffv1", "yuv420p")),
    ],
)
def test_auto_follows_the_source(
    tmp_path: Path, suffix: str, encoder: str, pixel_format: str, expected: tuple[str, str]
) -> None:
    source = make_clip(tmp_path / f"source{suffix}", Recipe(codec=encoder, pixel_format=pixel_format, frames=2))
    passed(source, tmp_path / f"result{suffix}")
    result = read_back(tmp_path / f"result{suffix}")
    assert (result.codec, result.format) == expected


@pytest.mark.parametrize(
    ("pixel_format", "encoder", "target", "expected"),
    [
        ("yuv420p10le", "libx265", "out.webm", ("libdav1d", "yuv420p10le")),
        ("yuv422p10le", "prores_ks", "out.mp4", ("hevc", "yuv422p10le")),
        ("yuv420p", "libx264", "out.mov", ("h264", "yuv420p")),
        ("gbrp", "libx264rgb", "out.mp4", ("h264", "yuv420p")),
    ],
)
def test_auto_where_the_source_codec_does_not_fit(
    tmp_path: Path, pixel_format: str, encoder: str, target: str, expected: tuple[str, str]
) -> None:
    recipe = Recipe(
        codec=encoder, pixel_format="rgb24" if encoder == "libx264rgb" else pixel_format, frames=2, size=(64, 96)
    )
    source = make_clip(tmp_path / "source.mov", recipe)
    passed(source, tmp_path / target)
    result = read_back(tmp_path / target)
    assert result.format == expected[1]
    assert result.codec == expected[0] or (expected[0] == "libdav1d" and "av1" in result.codec + "av1")


def test_odd_size_is_kept_and_said(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mkv", Recipe(codec="ffv1", size=(49, 63), frames=2))
    notices = passed(source, tmp_path / "result.mp4", OutputOptions(codec="h264"))
    assert notices == ["chroma is written as yuv444p instead of yuv420p, which h264 does not take at this size"]
    assert read_back(tmp_path / "result.mp4").pictures[0][0].shape == (49, 63)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (2, 1), (17, 16)])
@pytest.mark.parametrize("target", ["out.mp4", "out.mkv", "out.webm", "out"])
def test_every_size_from_one_pixel_up(tmp_path: Path, size: tuple[int, int], target: str) -> None:
    source = folder_of(tmp_path, picture(0, size), picture(1, size))
    passed(source, tmp_path / target)
    with open_reader(tmp_path / target) as reader:
        assert [frame.size for frame in reader] == [size, size]


def test_too_small_for_the_codec(tmp_path: Path) -> None:
    source = folder_of(tmp_path, picture(0, (8, 8)))
    with open_reader(source) as reader, pytest.raises(UsageError, match="h265 cannot encode frames of 8x8"):
        check_output(tmp_path / "out.mp4", reader.info, OutputOptions(codec="h265"))


def test_hdr_mastering_data_survives_in_h265(tmp_path: Path) -> None:
    params = "log-level=error:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    recipe = Recipe(
        codec="libx265",
        pixel_format="yuv420p10le",
        color=(1, 9, 9, 16),
        options={"x265-params": params + ":max-cll=1000,400"},
    )
    source = make_clip(tmp_path / "source.mp4", recipe)
    assert passed(source, tmp_path / "result.mp4") == []
    with open_reader(source) as before, open_reader(tmp_path / "result.mp4") as after:
        assert before.info.hdr_static == (params.partition("master-display=")[2], "1000,400")
        assert after.info.hdr_static == before.info.hdr_static
    with av.open(str(tmp_path / "result.mp4")) as container:
        assert "MASTERING_DISPLAY_METADATA" in next(container.decode(video=0)).side_data
    assert any("HDR" in notice for notice in passed(source, tmp_path / "result.mkv", OutputOptions(codec="ffv1")))


def test_what_an_output_cannot_hold_is_said(tmp_path: Path) -> None:
    deep = make_clip(tmp_path / "deep.mov", Recipe(codec="prores_ks", pixel_format="yuva444p10le", frames=2))
    notices = passed(deep, tmp_path / "out.webm", OutputOptions(codec="vp9"))
    assert "the source's 12 bits a channel are written as 8 bits, the most vp9 takes here" in notices
    wide = make_clip(tmp_path / "wide.mp4", Recipe(aspect=Fraction(4, 3), frames=2))
    assert passed(wide, tmp_path / "wide.webm") == [
        "the pixel aspect 4/3 is left out: vp9 in webm cannot carry it here"
    ]
    assert any("pixel aspect" in notice for notice in passed(wide, tmp_path / "wide.mkv", OutputOptions(codec="ffv1")))
    assert passed(wide, tmp_path / "kept.mp4", OutputOptions(codec="vp9")) == []
    assert read_back(tmp_path / "kept.mp4").aspect == Fraction(4, 3)


# ---- quality


def test_crf_and_bit_rates_change_the_size(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mp4", Recipe(frames=50, size=(120, 160)))
    sizes = {}
    for name, options in {
        "fine": OutputOptions(crf=10),
        "coarse": OutputOptions(crf=40),
        "low": OutputOptions(bitrate=20_000),
        "high": OutputOptions(bitrate=800_000),
    }.items():
        passed(source, tmp_path / f"{name}.mp4", options)
        sizes[name] = (tmp_path / f"{name}.mp4").stat().st_size
    assert sizes["fine"] > 2 * sizes["coarse"]
    assert sizes["high"] > 2 * sizes["low"]


def test_match_takes_the_bit_rate_of_the_source(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mp4", Recipe(frames=50, languages=("eng",)))
    with open_reader(source) as reader:
        encoding = choose(tmp_path / "out.mp4", reader.info, OutputOptions(bitrate="match"))
        with av.open(str(source)) as container:
            assert encoding.bit_rate == container.streams.video[0].bit_rate
    folder = folder_of(tmp_path, picture(0, (8, 8)))
    with open_reader(folder) as reader, pytest.raises(UsageError, match="has no bit rate to match"):
        check_output(tmp_path / "out.mp4", reader.info, OutputOptions(bitrate="match"))


def test_lossless_that_a_codec_cannot_hold(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, picture(0, (8, 8)).astype(np.uint16) * 257)
    with (
        open_reader(folder) as reader,
        pytest.raises(UsageError, match="cannot hold the source's rgb48le pixels without loss"),
    ):
        check_output(tmp_path / "out.mp4", reader.info, OutputOptions(codec="h264", lossless=True))


@pytest.mark.parametrize(("codec", "deep"), [("ffv1", False), ("ffv1", True), ("h264", False)])
def test_lossless_video_of_rgb_frames(tmp_path: Path, codec: str, deep: bool) -> None:
    frames = [
        picture(index, (33, 47)).astype(np.uint16) * 255 if deep else picture(index, (33, 47)) for index in range(2)
    ]
    source = folder_of(tmp_path, *frames)
    passed(source, tmp_path / "out.mkv", OutputOptions(codec=codec, lossless=codec == "h264"))
    with open_reader(tmp_path / "out.mkv") as reader:
        for frame, wanted in zip(reader, frames, strict=True):
            assert np.array_equal(frame.rgb, wanted)


# ---- folders


def test_folder_becomes_a_video_of_its_order_at_24_frames_a_second(tmp_path: Path) -> None:
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    source = folder_of(tmp_path, *(np.full((32, 32, 3), colour, np.uint8) for colour in colours))
    passed(source, tmp_path / "out.mp4")
    with open_reader(tmp_path / "out.mp4") as reader:
        assert reader.info.frame_rate == 24
        assert reader.info.color == (1, 1, 1, 1)
        for frame, colour in zip(reader, colours, strict=True):
            assert np.abs(frame.rgb.reshape(-1, 3).mean(axis=0) - colour).max() < 3
    passed(source, tmp_path / "fast.mp4", OutputOptions(frame_rate=Fraction(30000, 1001)))
    assert read_back(tmp_path / "fast.mp4").rate == Fraction(30000, 1001)


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".webp", ".bmp", ".jpg", ".exr"])
def test_kinds_of_images_and_the_names_they_get(tmp_path: Path, suffix: str) -> None:
    samples = picture(0, (12, 16))
    exr = suffix == ".exr"
    source = folder_of(tmp_path, samples.astype(np.float32) / 255 if exr else samples, suffix=suffix)
    with open_reader(source) as reader:
        (frame,) = reader
        assert frame.name == f"shot_8{suffix}"
        assert frame.rgb.dtype == (np.uint16 if exr else np.uint8)
    passed(source, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"shot_8{'.exr' if exr else '.png'}"]
    before, after = (next(iter(folder.iterdir())) for folder in (source, tmp_path / "out"))
    assert np.array_equal(images.read_image(before), images.read_image(after))


@pytest.mark.parametrize("deep", [False, True], ids=["8-bit", "16-bit"])
@pytest.mark.parametrize("channels", [1, 3, 4], ids=["gray", "rgb", "rgba"])
def test_png_keeps_depth_and_channels_and_all_but_the_hole(tmp_path: Path, deep: bool, channels: int) -> None:
    generator = np.random.default_rng(3)
    shape = (20, 24) if channels == 1 else (20, 24, channels)
    samples = generator.integers(0, 65536 if deep else 256, shape).astype(np.uint16 if deep else np.uint8)
    source = folder_of(tmp_path, samples)
    with open_reader(source) as reader, open_writer(tmp_path / "out", reader.info, OutputOptions()) as writer:
        assert reader.info.bit_depth == (16 if deep else 8)
        for frame in reader:
            alpha = np.zeros((20, 24), np.float32)
            alpha[4:9, 6:10] = 1
            writer.write(frame, np.full_like(frame.rgb, 99), alpha)
    result = cv2.imread(str(tmp_path / "out" / "shot_8.png"), cv2.IMREAD_UNCHANGED)
    assert result.dtype == samples.dtype
    assert result.shape == shape
    rgb = images.read_image(tmp_path / "out" / "shot_8.png")
    changed = rgb != samples
    assert changed[4:9, 6:10].any()
    changed[4:9, 6:10] = False
    assert not changed.any()
    hole = rgb[4:9, 6:10]
    assert (hole if channels == 1 else hole[:, :, :3] == 99).all()
    if channels == 4:
        assert np.array_equal(hole[:, :, 3], samples[4:9, 6:10, 3])


def test_exr_is_filled_in_linear_light_and_keeps_its_highlights(tmp_path: Path) -> None:
    samples = np.full((8, 8, 3), 7.5, np.float32)
    samples[2:4, 2:4] = 0.25
    source = folder_of(tmp_path, samples, suffix=".exr")
    with open_reader(source) as reader, open_writer(tmp_path / "out", reader.info, OutputOptions()) as writer:
        for frame in reader:
            alpha = np.zeros((8, 8), np.float32)
            alpha[0, 0] = 1
            writer.write(frame, np.broadcast_to(frame.rgb[2, 2], frame.rgb.shape), alpha)
    result = images.read_image(tmp_path / "out" / "shot_8.exr")
    assert np.abs(result[0, 0] - 0.25).max() < 1e-4
    result[0, 0] = 7.5
    assert np.array_equal(result, samples)


def test_frames_of_a_turned_video_are_written_as_shown(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mp4", Recipe(matrix=PORTRAIT_PHONE, frames=1))
    passed(source, tmp_path / "out")
    with open_reader(source) as reader:
        (frame,) = reader
    shown = images.read_image(tmp_path / "out" / "000000.png")
    assert shown.shape == (64, 48, 3)
    # QuickTime's matrix (0 1; -1 0) takes the point (x, y) to (-y, x): a quarter turn clockwise
    assert np.array_equal(shown[0, -1], frame.rgb[0, 0])
    assert np.array_equal(shown[-1, -1], frame.rgb[0, -1])


def test_same_stem_twice_keeps_both(tmp_path: Path) -> None:
    source = folder_of(tmp_path, picture(0, (8, 8)))
    images.write_image(source / "shot_8.bmp", picture(1, (8, 8)))
    passed(source, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_resized_only_if_asked(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mp4", Recipe(aspect=Fraction(1), frames=2))
    with (
        open_reader(source, size=(24, 64)) as reader,
        open_writer(tmp_path / "out.mp4", reader.info, OutputOptions()) as w,
    ):
        assert (reader.info.height, reader.info.width, reader.info.stored_size) == (24, 64, (48, 64))
        for frame in reader:
            assert frame.rgb.shape == (24, 64, 3)
            w.write(frame, None, None)
    result = read_back(tmp_path / "out.mp4")
    assert result.pictures[0][0].shape == (24, 64)
    assert result.aspect == Fraction(1, 2)  # the display shape stays


def test_both_a_video_and_frames(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mp4", Recipe())
    with (
        open_reader(source) as reader,
        open_writer(tmp_path / "out.mkv", reader.info, OutputOptions(codec="ffv1")) as film,
        open_writer(tmp_path / "out", reader.info, OutputOptions(codec="png")) as frames,
    ):
        for frame in reader:
            alpha = np.zeros(frame.size, np.float32)
            alpha[10:20, 10:20] = 1
            for writer in (film, frames):
                writer.write(frame, np.full_like(frame.rgb, 128), alpha)
    with open_reader(tmp_path / "out.mkv") as one, open_reader(tmp_path / "out") as two:
        for first, second in zip(one, two, strict=True):
            outside = np.ones(first.size, bool)
            outside[9:21, 9:21] = False
            assert np.array_equal(first.rgb[outside], second.rgb[outside])
            assert np.abs(first.rgb[12:18, 12:18].astype(int) - second.rgb[12:18, 12:18]).max() <= 2


@pytest.mark.parametrize("box", [(10, 11, 21, 30), (0, 0, 48, 64), (47, 63, 48, 64)])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv411p", "rgb24", "gray"])
def test_a_fill_may_be_cut_out(box: tuple[int, int, int, int], pixel_format: str) -> None:
    """Given as the part inside a box of odd sides, it is mixed in as the whole picture is."""
    rng = np.random.default_rng(0)
    frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (48, 64, 3), np.uint8), "rgb24").reformat(
        format=pixel_format
    )
    filled, alpha = rng.integers(0, 256, (48, 64, 3), np.uint8), np.zeros((48, 64), np.float32)
    part = (slice(box[0], box[2]), slice(box[1], box[3]))
    alpha[part] = rng.random((box[2] - box[0], box[3] - box[1]), np.float32) * 0.9 + 0.1
    whole, cut = native.blend(frame, filled, alpha), native.blend(frame, filled[part], alpha, box)
    for plane, other in zip(whole.planes, cut.planes, strict=True):
        assert bytes(plane) == bytes(other)
    samples = rng.integers(0, 256, (48, 64, 4), np.uint8)
    assert np.array_equal(images.blend(samples, filled, alpha), images.blend(samples, filled[part], alpha, box))
