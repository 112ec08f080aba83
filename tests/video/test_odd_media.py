"""The corpus of odd media: a table of property and expectation. A row is a clip made here, and what reading it must
give: the right pictures (and what is said about them), or exit code 3 and one sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

from e2fgvi_cli.errors import InputError
from e2fgvi_cli.jobs.fingerprint import files_of
from e2fgvi_cli.options import default_output
from e2fgvi_cli.types import Frame, VideoInfo
from e2fgvi_cli.video import OutputOptions, images, native, open_random_access, open_reader, open_writer
from e2fgvi_cli.video.images.headers import read_header
from e2fgvi_cli.video.reading import probe

from . import odd_media
from .media import Recipe, make_clip, picture
from .odd_media import (
    SIZE,
    Maker,
    alpha_clip,
    bgr,
    changing_stream,
    cut,
    damaged,
    frames_of,
    image,
    png,
    raw_avi,
    with_alpha,
)  # fmt: skip


@dataclass(frozen=True)
class Read:
    """Expectation: so many frames, exactly these notices ({name} is the file's), and whatever `holds` checks."""

    frames: int
    notices: tuple[str, ...] = ()
    holds: Callable[[VideoInfo, Sequence[Frame]], None] = lambda info, frames: None


@dataclass(frozen=True)
class Refused:
    """Expectation: exit code 3 and this sentence, in which {path} is the source."""

    sentence: str


def shows_pictures(
    tolerance: int = 0, *, first: int = 0, **tags: object
) -> Callable[[VideoInfo, Sequence[Frame]], None]:
    """Frame i is `media.picture(i)` from `first` on, up to what the codec loses, and `info` says `tags`."""

    def check(info: VideoInfo, frames: Sequence[Frame]) -> None:
        assert {name: getattr(info, name) for name in tags} == tags
        for frame in frames[first:]:
            rgb = frame.rgb if frame.rgb.dtype == np.uint8 else frame.rgb / 257
            difference = np.abs(rgb.astype(float) - picture(frame.index, SIZE))
            assert difference.mean() <= tolerance, f"frame {frame.index}"

    return check


def is_one_kind(info: VideoInfo, frames: Sequence[Frame]) -> None:
    """The first picture is gray, 8 bits and opaque; the folder's kind holds them all, and every frame has it."""
    assert (info.pixel_format, info.bit_depth, info.has_alpha) == ("rgba", 16, True)
    assert {(frame.native.samples.shape, str(frame.native.samples.dtype)) for frame in frames} == {
        ((*SIZE, 4), "uint16")
    }
    first = frames[0].native.samples
    assert (first[..., 0] == first[..., 2]).all()
    assert (first[..., 3] == 65535).all()
    assert (frames[2].native.samples[:, :20, 3] == 0).all()
    shows_pictures(first=1)(info, frames)


def has_alpha_plane(info: VideoInfo, frames: Sequence[Frame]) -> None:
    assert (info.has_alpha, info.pixel_format) == (True, "yuva420p")
    alpha = native.alpha_of(frames[1].native)
    assert alpha is not None
    assert (alpha[:, :16] < 10).all()
    assert (alpha[:, 26:] > 245).all()
    shows_pictures(4)(info, frames)


GRAY = bgr(0)[:, :, 0]


def deep(index: int) -> np.ndarray:
    """`bgr` in 16 bits."""
    return bgr(index).astype(np.uint16) * 257


NAMES = (
    "take:1.mp4", "12:30:05.mp4", "http:x.mp4", "file:x.mp4", "concat:a|b.mp4", "data:,x.mp4", "-x.mp4", "a%02d.mp4",
    "reel #2?.mp4", "a*[b].mp4", "neu\nzeile.mp4", " lead.mp4", "caf\udce9.mp4",
)  # fmt: skip

ODD: dict[str, tuple[Maker, Read | Refused]] = {
    "rows stored from the bottom": (
        lambda folder: raw_avi(folder / "up.avi", bottom_up=True),
        Read(4, holds=shows_pictures(0)),
    ),
    "rows stored from the top": (lambda folder: raw_avi(folder / "down.avi"), Read(4, holds=shows_pictures(0))),
    "a pipe": (odd_media.pipe, Refused("{path} is a pipe, not a file; save what it holds as a file first")),
    "a device": (
        lambda folder: Path("/dev/zero"),
        Refused("{path} is a device, not a file; save what it holds as a file first"),
    ),
    "a folder that begins gray": (
        frames_of(GRAY, bgr(1)),
        Read(2, holds=shows_pictures(first=1, pixel_format="rgb")),
    ),
    "a folder that begins with 8 bits": (
        frames_of(bgr(0), deep(1)),
        Read(2, holds=shows_pictures(bit_depth=16)),
    ),
    "a folder that begins opaque": (
        frames_of(bgr(0), with_alpha(bgr(1))),
        Read(2, holds=shows_pictures(has_alpha=True)),
    ),
    "a folder of every kind": (
        frames_of(GRAY, bgr(1), with_alpha(bgr(2)), deep(3)),
        Read(4, holds=is_one_kind),
    ),
    "a folder of gray only": (
        frames_of(GRAY, GRAY),
        Read(2, holds=shows_pictures(255, pixel_format="gray")),
    ),
    "floats among whole numbers": (
        odd_media.exr_among_png,
        Refused(
            "the frames differ in kind: one of {path}/frame_00000.png and {path}/z.exr has float samples, the "
            "other has none; export them in one format"
        ),
    ),
    "animated WebP": (odd_media.moving_webp, Read(4, holds=shows_pictures(frame_rate=Fraction(25)))),
    "animated WebP, uneven": (
        lambda folder: odd_media.moving_webp(folder, (40, 100)),
        Read(
            2,
            ("the pictures of {name} last differently: their mean of 14.29 a second is used",),
            shows_pictures(frame_rate=Fraction(100, 7)),
        ),
    ),
    "animated PNG": (odd_media.moving_png, Read(4, holds=shows_pictures(frame_rate=Fraction(10)))),
    "TIFF of many pages": (odd_media.tiff_stack, Read(4, holds=shows_pictures(frame_count=4))),
    "many pages in a folder of frames": (
        odd_media.stack_in_a_folder,
        Refused(
            "image {path}/stack.tif holds 4 pictures, and one is wanted here; give one picture a file, or it "
            "alone as a clip"
        ),
    ),
    "VP9 with alpha": (alpha_clip("libvpx-vp9"), Read(4, holds=has_alpha_plane)),
    "VP8 with alpha": (alpha_clip("libvpx"), Read(4, holds=has_alpha_plane)),
    "a damaged JPEG that decodes whole": (
        damaged(bgr(0), ".jpg"),
        Read(
            1,
            (
                "image {path} is damaged (Corrupt JPEG data: 77 extraneous bytes before marker 0xd9): "
                "part of its picture may be wrong",
            ),
        ),
    ),
    "a cut JPEG": (cut(image(".jpg")), Refused("cannot read image {path}: the file is cut short; export it again")),
    "a cut PNG": (cut(image(".png")), Refused("cannot read image {path}: the file is cut short; export it again")),
    "a cut WebP": (cut(image(".webp")), Refused("cannot read image {path}: the file is cut short; export it again")),
    "a cut TIFF": (cut(image(".tiff")), Refused("cannot read image {path}: the file is cut short; export it again")),
    "a cut EXR": (cut(odd_media.exr), Refused("cannot read image {path}: the file is cut short; export it again")),
    "a damaged PNG": (
        damaged(bgr(0), ".png"),
        Refused("cannot read image {path}: the file is damaged (its checksum does not fit); export it again"),
    ),
    "a damaged TIFF": (
        damaged(bgr(0), ".tiff", (cv2.IMWRITE_TIFF_COMPRESSION, 8)),
        Refused("cannot read image {path}: the file is damaged (incorrect data check); export it again"),
    ),
    "a picture of ten thousand million pixels": (
        lambda folder: png(folder / "huge.png", (100_000, 100_000), b""),
        Refused(
            "cannot read image {path}: it is 100000x100000, more than the 268435456 pixels an image may have "
            "here; scale it down"
        ),
    ),
    "a pattern with a number": (
        odd_media.pattern("frame_%05d.png"),
        Read(3, holds=shows_pictures(frame_count=3)),
    ),
    "a pattern of a shell": (odd_media.pattern("frame_*.png"), Read(3, holds=shows_pictures(frame_count=3))),
    "a pattern that nothing fits": (
        odd_media.pattern("shot_%04d.png"),
        Refused("no image matches {path}; give the folder {path.parent}"),
    ),
    "frames missing in the middle": (
        odd_media.hole_in_the_middle,
        Read(28, ("{name} has no picture for 0.52 s from 0.44 s on (12 frames): it is damaged there, or was paused",)),
    ),
    "a transport stream cut inside a group of pictures": (
        odd_media.cut_stream,
        Read(20, ("the first 0.24 s of {name} cannot be decoded: it was cut inside a group of pictures",)),
    ),
    "a TIFF whose width has another tag": (
        odd_media.without_width,
        Refused("cannot read image {path}: it is no image that OpenCV can decode"),
    ),
    "a tag that lies about the number of frames": (odd_media.lying_count, Read(12, holds=shows_pictures(6))),
    "packets that are no pictures": (odd_media.hidden_frames, Read(37)),
    "a size that changes": (
        changing_stream((96, 80)),
        Read(6, ("{name} changes its size from 64x48 to 80x96: frames are scaled to the first one's",)),
    ),
    "pixels that change": (
        changing_stream(SIZE, "yuv420p10le"),
        Read(
            6,
            ("{name} changes its pixels from yuv420p to yuv420p10le: frames are converted to the first one's",),
            lambda info, frames: shows_pictures(255, bit_depth=8)(info, [f for f in frames if f.rgb.dtype == np.uint8]),
        ),
    ),
    **{f"named {name!r}": (odd_media.named(name), Read(4, holds=shows_pictures(6))) for name in NAMES},
}


KINDS_OF_IMAGES: dict[str, tuple[str, np.ndarray | bytes]] = {
    **{
        f"{name} {suffix}": (suffix, samples)
        for suffix in (".png", ".tiff", ".bmp", ".webp", ".jpg")
        for name, samples in {
            "gray": GRAY, "colour": bgr(0), "alpha": with_alpha(bgr(0)), "gray 16": GRAY.astype(np.uint16) * 257,
            "colour 16": deep(0), "alpha 16": with_alpha(deep(0)),
        }.items()
        if "16" not in name or suffix in (".png", ".tiff")
        if name != "alpha" or suffix != ".jpg"
    },
    "palette .png": (".png", odd_media.png_bytes((4, 4), b"\0\1\0\1\0" * 4, colour_type=3)),
    "palette with a transparent colour .png": (
        ".png", odd_media.png_bytes((4, 4), b"\0\1\0\1\0" * 4, colour_type=3, transparent=b"\0\xff"),
    ),
    "1 bit .png": (".png", odd_media.png_bytes((4, 4), b"\0\xa0" * 4, bits=1, colour_type=0)),
    "gray with alpha .png": (".png", odd_media.png_bytes((4, 4), (b"\0" + b"\1\2" * 4) * 4, colour_type=4)),
}  # fmt: skip


def read_all(path: Path) -> tuple[VideoInfo, list[Frame], list[str]]:
    with open_reader(path) as reader:
        return reader.info, list(reader), reader.notices


@pytest.mark.parametrize("odd", ODD)
def test_odd_media(odd: str, tmp_path: Path) -> None:
    make, expected = ODD[odd]
    path = make(tmp_path)
    if isinstance(expected, Refused):
        with pytest.raises(InputError) as caught:
            read_all(path)
        assert caught.value.exit_code == 3
        assert str(caught.value) == expected.sentence.format(path=path, name=path.name)
        return
    info, frames, notices = read_all(path)
    assert len(frames) == expected.frames
    assert [frame.index for frame in frames] == list(range(expected.frames))
    assert notices == [notice.format(path=path, name=path.name) for notice in expected.notices]
    expected.holds(info, frames)
    assert len({(frame.rgb.dtype, frame.size) for frame in frames}) == 1
    assert probe.count_frames(path) == len(frames)
    with open_random_access(path) as access:
        assert len(access) == len(frames)
        for index in {len(frames) - 1, 0, len(frames) // 2}:
            assert (access.frame(index).rgb == frames[index].rgb).all(), index


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_plain_paths_from_the_current_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read and written as given, relative: a name with a colon is no address, one with a percent sign no pattern."""
    odd_media.named(name)(tmp_path)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    with open_reader(Path("..") / name) as reader, open_writer(Path(name), reader.info, OutputOptions()) as writer:
        for frame in reader:
            writer.write(frame, None, None)
    assert [path.name for path in Path().iterdir()] == [name]
    monkeypatch.chdir(tmp_path)
    assert len(read_all(Path(name))[1]) == len(read_all(Path("out") / name)[1]) == 4


def test_what_is_filled_in_a_bottom_up_clip_stays_where_it_is(tmp_path: Path) -> None:
    source = raw_avi(tmp_path / "up.avi", bottom_up=True)
    alpha = np.zeros(SIZE, np.float32)
    alpha[2:10, 3:20] = 1
    with open_reader(source) as reader, open_writer(tmp_path / "out.mkv", reader.info, OutputOptions()) as writer:
        for frame in reader:
            writer.write(frame, np.full_like(frame.rgb, 77), alpha)
    for frame in read_all(tmp_path / "out.mkv")[1]:
        expected = picture(frame.index, SIZE)
        expected[2:10, 3:20] = 77
        assert (frame.rgb == expected).all()


@pytest.mark.parametrize("name", sorted(KINDS_OF_IMAGES))
def test_headers_say_what_decoding_gives(name: str, tmp_path: Path) -> None:
    """The folder's kind is taken from headers: for each kind of file they have to agree with the decoder."""
    suffix, samples = KINDS_OF_IMAGES[name]
    path = tmp_path / f"one{suffix}"
    if isinstance(samples, bytes):
        path.write_bytes(samples)
    else:
        assert cv2.imwrite(str(path), samples)
    header, decoded = read_header(path), images.read_image(path)
    assert header is not None
    assert header.kind == images.kind_of(decoded)
    assert header.size == decoded.shape[:2]


@pytest.mark.parametrize(("suffix", "container"), [(".flv", "flv"), (".avi", "avi"), (".ts", "mpegts"), (".mkv", None)])
def test_a_whole_file_of_any_container_has_nothing_to_say(suffix: str, container: str | None, tmp_path: Path) -> None:
    """Containers count time from other zeros; that is no damage."""
    source = make_clip(
        tmp_path / f"source{suffix if suffix == '.avi' else '.mp4'}",
        Recipe(frames=25, codec="mpeg4" if suffix == ".avi" else None),
    )
    _info, frames, notices = read_all(odd_media.repacked(source, tmp_path / f"whole{suffix}", format=container))
    assert (len(frames), notices) == (25, [])


@pytest.mark.parametrize(
    ("average", "guessed", "expected"),
    [
        (Fraction(1, 10**9), Fraction(25), Fraction(25)),
        (Fraction(1, 10**9), None, None),
        (Fraction(10**8), Fraction(10**8), None),
        (Fraction(1, 3600), Fraction(25), Fraction(1, 3600)),
        (None, None, None),
    ],
)
def test_rates_that_cannot_be_meant_are_unknown(
    average: Fraction | None, guessed: Fraction | None, expected: Fraction | None
) -> None:
    assert probe.stream_rate(SimpleNamespace(average_rate=average, guessed_rate=guessed)) == expected


def test_frames_of_a_file_that_cannot_be_sought_are_found_by_counting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg answers "operation not permitted" where an index is damaged."""

    def refuse(self: object, ticks: int) -> None:
        raise av.error.PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("e2fgvi_cli.video.reading.random_access._SeekableVideo._seek", refuse)
    clip = make_clip(tmp_path / "clip.mkv", Recipe(codec="ffv1"))
    frames = read_all(clip)[1]
    with open_random_access(clip) as access:
        for index in (7, 2, 11):
            assert (access.frame(index).rgb == frames[index].rgb).all()


def test_a_pattern_is_filled_and_named_like_its_folder(tmp_path: Path) -> None:
    path = odd_media.pattern("frame_%05d.png")(tmp_path)
    assert default_output(path) == default_output(path.parent)
    assert files_of(path) == [path.with_name(f"frame_{index:05d}.png") for index in range(3)]
    with open_reader(path) as reader, open_writer(tmp_path / "out", reader.info, OutputOptions()) as writer:
        for frame in reader:
            writer.write(frame, None, None)
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == [
        f"frame_{index:05d}.png" for index in range(3)
    ]
