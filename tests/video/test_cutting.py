"""`--start` and `--end`: the frames of the part are those of the whole clip, their masks and sound, too."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.masks import Dilation, MaskOptions
from e2fgvi_cli.masks.options import parse_boxes
from e2fgvi_cli.types import Frame
from e2fgvi_cli.video import OutputOptions, open_holes, open_random_access, open_reader, open_writer, part_said, verify
from e2fgvi_cli.video.span import Span, parse_span
from e2fgvi_cli.video.writing.cut_streams import later_time_code

from .. import factories
from .hole_helpers import EXACT, mask_folder, mask_video, numbers
from .media import Recipe, make_clip, read_back
from .odd_media import HIDDEN, hidden_frames

KEYS = {"g": "8", "bf": "2", "keyint_min": "8"}
UNEVEN = tuple(int(t) for t in np.cumsum([0, *([40, 60, 20, 80, 33] * 8)[:29]]))


def span(start: str | None = None, end: str | None = None) -> Span:
    return parse_span(start, end, ("--start", "--end"))


def frames_of(path: Path, part: Span = Span()) -> list[Frame]:
    with open_reader(path, span=part) as reader:
        return list(reader)


def holes_in(source: Path, mask: Path | None, part: Span, options: MaskOptions = EXACT) -> list[int | None]:
    with open_reader(source, span=part) as reader, open_holes(mask, reader.info, options) as holes:
        return numbers(holes.hole_at(frame) for frame in reader)


CLIPS = {
    "B-frames in mp4": ("a.mp4", Recipe(frames=30, options=KEYS)),
    "open groups of pictures": ("a.mkv", Recipe(frames=30, options={**KEYS, "x264-params": "open-gop=1"})),
    "variable rate": ("a.mkv", Recipe(ticks=UNEVEN, time_base=Fraction(1, 1000), options=KEYS)),
    "one key frame": ("a.mp4", Recipe(frames=30, options={"g": "250"})),
    "AVI": ("a.avi", Recipe(frames=30, codec="mpeg4", options=KEYS)),
    "AVI without an order": ("a.avi", Recipe(frames=30, codec="libx264", options=KEYS)),
    "VP9": ("a.webm", Recipe(frames=30, options={"g": "8", "deadline": "realtime"})),
}


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize(("first", "last"), [(0, 29), (13, 13), (11, 20), (24, 29)])
def test_a_part_has_the_frames_of_the_whole(tmp_path: Path, name: str, first: int, last: int) -> None:
    file, recipe = CLIPS[name]
    source = make_clip(tmp_path / file, recipe)
    whole = frames_of(source)[first : last + 1]
    seconds = [float(f.time) for f in whole]
    by_time = span(f"{seconds[0]:.6f}s" if first else None, None if last == 29 else f"{seconds[-1] + 0.005:.6f}s")
    for part in (span(str(first), str(last)), by_time):
        found = frames_of(source, part)
        assert [f.index for f in found] == list(range(last + 1 - first))
        assert [f.time for f in found] == [f.time - whole[0].time for f in whole]
        assert [f.native.duration for f in found] == [f.native.duration for f in whole]
        assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(found, whole, strict=True))
    part = span(str(first), str(last))
    with open_reader(source, span=part) as reader:
        seekable = reader.info.cut is not None and reader.info.cut.seekable
    for exact in (True, False) if seekable else (True,):
        with open_random_access(source, span=part, exact=exact) as access:
            one = access.frame(len(whole) - 1)
            assert (len(access), one.index, one.time) == (len(whole), len(whole) - 1, whole[-1].time - whole[0].time)
            assert np.array_equal(one.rgb, whole[-1].rgb)


def test_packets_without_a_picture_are_no_frames(tmp_path: Path) -> None:
    source = hidden_frames(tmp_path)
    whole = frames_of(source)
    part = frames_of(source, span("18", "25"))
    assert HIDDEN[1] in range(18, 25)
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(part, whole[18:26], strict=True))


def test_parts_that_follow_each_other_make_the_whole(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", Recipe(frames=30, options=KEYS))
    cuts = [None, "0.4s", "0:00.777", "00:00:01", None]
    found = [f.rgb for start, end in pairwise(cuts) for f in frames_of(source, span(start, end))]
    assert all(np.array_equal(a, b.rgb) for a, b in zip(found, frames_of(source), strict=True))


def test_a_folder_is_cut_by_its_names(tmp_path: Path) -> None:
    source = factories.write_folder(tmp_path / "frames", factories.clip(10, 24, 32))
    found = frames_of(source, span("3", "5"))
    assert [f.name for f in found] == [f.name for f in frames_of(source)[3:6]]
    assert [f.time for f in frames_of(source, span("0.25s", "0.375s"))] == [Fraction(n, 24) for n in range(3)]


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("30", None, r"--start 30: .*a\.mp4 has frames 0 to 29, the last one at 1\.160s"),
        ("2s", None, r"--start 2s: .*frames 0 to 29"),
        ("1.165s", "1.17s", r"--start 1\.165s --end 1\.17s: "),
        ("0.41s", "0.43s", r"no frame of .*a\.mp4 lies between them"),
    ],
)
def test_a_part_without_frames_is_refused(tmp_path: Path, start: str, end: str | None, said: str) -> None:
    source = make_clip(tmp_path / "a.mp4", Recipe(frames=30, options=KEYS))
    with pytest.raises(InputError, match=said):
        open_reader(source, span=span(start, end))


@pytest.mark.parametrize(("start", "end"), [("9", "8"), ("2s", "2s"), (None, "0s"), ("0:10", "9.5s")])
def test_an_end_before_the_start_is_a_mistake_in_usage(start: str | None, end: str) -> None:
    with pytest.raises(UsageError, match=f"--end {end} is not after --start {start or 0}"):
        span(start, end)


# -- masks -------------------------------------------------------------------------------------------------------------


def test_masks_of_the_whole_clip_keep_its_numbers(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", Recipe(frames=30, options=KEYS))
    every = mask_folder(tmp_path / "every", [f"{n:05d}.png" for n in range(30)])
    film = mask_video(tmp_path / "film.mkv", range(0, 1200, 40), Fraction(1, 1000))
    slower = mask_video(tmp_path / "slower.mkv", range(0, 3000, 100), Fraction(1, 1000))
    for mask in (every, film, slower):
        assert holes_in(source, mask, span("11", "14")) == [11, 12, 13, 14]


def test_masks_of_the_part_alone_are_its_own(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", Recipe(frames=30, options=KEYS))
    few = mask_folder(tmp_path / "few", [f"{n:05d}.png" for n in range(4)])
    named = mask_folder(tmp_path / "named", [f"{n:05d}.png" for n in range(11, 15)])
    film = mask_video(tmp_path / "film.mkv", range(0, 160, 40), Fraction(1, 1000))
    for mask in (few, named, film):
        assert holes_in(source, mask, span("11", "14")) == [0, 1, 2, 3]


def test_masks_of_a_folder_pair_by_name_in_a_part_too(tmp_path: Path) -> None:
    source = factories.write_folder(tmp_path / "frames", factories.clip(10, 48, 64))
    names = [f.name for f in frames_of(source)]
    some = mask_folder(tmp_path / "some", names[2:7])
    assert holes_in(source, some, span("5", "8")) == [3, 4, None, None]
    with pytest.raises(InputError, match="no mask for the frames 8 to 9"):
        holes_in(source, some, span("8"))


def test_shapes_and_unions_look_past_the_part(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mp4", Recipe(frames=30, options=KEYS))
    boxes = MaskOptions(boxes=tuple(parse_boxes("3,0,4,4@12-13")), dilation=Dilation(0))
    assert holes_in(source, None, span("11", "14"), boxes) == [None, 3, 3, None]
    every = mask_folder(tmp_path / "every", [f"{n:05d}.png" for n in range(30)])
    assert holes_in(source, every, span("11", "12"), MaskOptions(union=2, dilation=Dilation(0))) == [9, 10]


# -- what is written ---------------------------------------------------------------------------------------------------


def cut_to(source: Path, target: Path, part: Span) -> list[str]:
    with open_reader(source, span=part) as reader, open_writer(target, reader.info, OutputOptions()) as writer:
        for frame in reader:
            writer.write(frame, None, None)
        said = [*part_said(reader.info), *reader.notices, *writer.notices]
    found = verify(target, reader.info, lambda frame: None)
    assert found.problems(lossless=False) == []
    return said


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_and_subtitles_are_cut_with_the_picture(tmp_path: Path, suffix: str) -> None:
    recipe = Recipe(frames=30, options=KEYS, languages=("eng", "fra"), subtitles=("hello",), chapters=True)
    source, target = make_clip(tmp_path / f"a{suffix}", recipe), tmp_path / f"b{suffix}"
    said = cut_to(source, target, span("5", "19"))
    assert said == ["15 frames are read: 5 to 19 of 0 to 29, from 0.200 s on"]
    old, new = read_back(source), read_back(target)
    assert new.times == [Fraction(n, 25) for n in range(15)]
    assert new.streams == old.streams
    for index, stream in enumerate(old.streams, 1):
        if stream[0] == "audio":
            inside = [(t - Fraction(1, 5), d) for t, d in old.packets[index] if Fraction(1, 5) <= t < Fraction(4, 5)]
            assert len(inside) > 20
            assert [digest for _, digest in new.packets[index]] == [digest for _, digest in inside]
            assert all(abs(a - b) < Fraction(1, 900) for (a, _), (b, _) in zip(new.packets[index], inside, strict=True))
    with_text = [(float(t), d) for t, d in new.packets[3]]
    assert [time for time, _ in with_text][:1] == [0.0]  # begun before the part, and still shown in it
    assert new.chapters == [(0, Fraction(1, 5), "Ending")]


def test_a_part_that_begins_late_has_no_earlier_subtitle(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mkv", Recipe(frames=30, options=KEYS, subtitles=("hello",)))
    cut_to(source, tmp_path / "b.mkv", span("0.5s"))
    assert read_back(tmp_path / "b.mkv").packets[1] == []


def test_a_time_code_is_that_of_the_first_frame(tmp_path: Path) -> None:
    recipe = Recipe(frames=30, options=KEYS, metadata={"timecode": "01:00:00:20"})
    source = make_clip(tmp_path / "a.mov", recipe)
    cut_to(source, tmp_path / "b.mov", span("10"))
    with av.open(str(tmp_path / "b.mov")) as written:
        assert written.streams.video[0].metadata["timecode"] == "01:00:01:05"


@pytest.mark.parametrize(
    ("text", "frames", "rate", "later"),
    [
        ("00:00:59;29", 1, Fraction(30000, 1001), "00:01:00;02"),
        ("00:09:59;29", 1, Fraction(30000, 1001), "00:10:00;00"),
        ("01:00:00;00", 107892, Fraction(30000, 1001), "02:00:00;00"),
        ("00:00:59;59", 1, Fraction(60000, 1001), "00:01:00;04"),
        ("00:00:59:23", 1, Fraction(24000, 1001), "00:01:00:00"),
        ("23:59:59:24", 1, Fraction(25), "00:00:00:00"),
        ("noon", 1, Fraction(25), None),
    ],
)
def test_time_codes_count_as_smpte_has_them(text: str, frames: int, rate: Fraction, later: str | None) -> None:
    assert later_time_code(text, frames, rate) == later
