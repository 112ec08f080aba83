"""The corpus of odd media: a table of property and expectation. A row is a clip made here, and what reading it must give:
the right pictures (and what is said about them), or exit code 3 and one sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from e2fgvi_cli.errors import InputError
from e2fgvi_cli.types import Frame, VideoInfo
from e2fgvi_cli.video import OutputOptions, open_reader, open_writer
from e2fgvi_cli.video.mask_files import read_palette

from . import odd_media
from .media import picture
from .odd_media import SIZE, Maker, palette_mask, raw_avi


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


def shows_pictures(tolerance: int) -> Callable[[VideoInfo, Sequence[Frame]], None]:
    """Frame i is `media.picture(i)`, up to what the codec loses."""

    def check(info: VideoInfo, frames: Sequence[Frame]) -> None:
        for frame in frames:
            difference = np.abs(frame.rgb.astype(int) - picture(frame.index, SIZE))
            assert difference.mean() <= tolerance, f"frame {frame.index}"

    return check


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
    **{f"named {name!r}": (odd_media.named(name), Read(4, holds=shows_pictures(6))) for name in NAMES},
}


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


@pytest.mark.parametrize("name", ["m%02d.png", "m:1.png", "50%.png", "reel #2?.png"])
def test_palette_mask_of_an_odd_name_is_not_its_neighbour(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = np.zeros(SIZE, np.uint8)
    own[:20] = 1
    for neighbour in ("m00.png", "m01.png"):
        palette_mask(Path(neighbour), 1 - own)
    palette = read_palette(palette_mask(Path(name), own))
    assert palette is not None
    assert (palette[0] == own).all()
