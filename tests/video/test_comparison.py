"""Before/after films, sheets and GIFs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from e2fgvi_cli.comparison import (
    ComparisonOptions,
    ComparisonWriter,
    ContactSheet,
    before_after,
    check_comparison,
    overlay,
)
from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.video import open_reader

from .media import PORTRAIT_PHONE, Recipe, make_clip, payloads, read_back

SOURCE = np.full((20, 30, 3), 10, np.uint8)
RESULT = np.full((20, 30, 3), 200, np.uint8)


def test_side_split_and_wipe() -> None:
    side = before_after(SOURCE, RESULT, "side")
    assert side.shape == (20, 62, 3)
    assert (side[:, :30] == 10).all()
    assert (side[:, 32:] == 200).all()
    split = before_after(SOURCE, RESULT.astype(np.uint16) * 257, "split")
    assert (split[:, :14] == 10).all()
    assert (split[:, 16:] == 200).all()
    assert (before_after(SOURCE, RESULT, "wipe", Fraction(2))[:, 2:] == 200).all()
    assert (before_after(SOURCE, RESULT, "wipe", Fraction(0))[:, :28] == 10).all()


def test_overlay_shows_where_the_hole_is() -> None:
    hole = np.zeros((20, 30), np.uint8)
    hole[5:15, 5:15] = 1
    shown = overlay(SOURCE, hole)
    assert (shown[hole == 0] == 10).all()
    assert (shown[5, 5] == 255).all()
    assert shown[10, 10, 0] > 100
    assert (SOURCE == 10).all()


def compare(source: Path, options: ComparisonOptions) -> ComparisonWriter:
    with open_reader(source) as reader, ComparisonWriter(options, reader.info) as writer:
        for frame in reader:
            hole = np.zeros(frame.size, np.uint8)
            hole[10:20, 10:20] = 1
            writer.write(frame, hole, 255 - frame.rgb)
    return writer


@pytest.mark.parametrize(("mode", "size"), [("side", (48, 130)), ("split", (48, 64)), ("wipe", (48, 64))])
def test_film_has_the_times_and_sound_of_the_clip(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    ticks = (0, 40, 80, 90, 200, 233)
    source = make_clip(tmp_path / "clip.mp4", Recipe(ticks=ticks, time_base=Fraction(1, 1000), languages=("eng",)))
    compare(source, ComparisonOptions(video=tmp_path / "film.mp4", mode=mode))
    before, after = read_back(source), read_back(tmp_path / "film.mp4")
    assert after.pictures[0][0].shape == size
    assert after.times == before.times
    assert payloads(after) == payloads(before)


def test_film_of_a_turned_odd_clip_is_upright_and_even(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mkv", Recipe(matrix=PORTRAIT_PHONE, size=(33, 45), codec="ffv1"))
    compare(source, ComparisonOptions(video=tmp_path / "film.mp4", mode="side"))
    after = read_back(tmp_path / "film.mp4")
    assert (after.pictures[0][0].shape, after.rotation, after.format) == ((46, 68), 0, "yuv420p")


def test_film_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for index in range(3):
        cv2.imwrite(str(tmp_path / "frames" / f"{index}.png"), SOURCE)
    compare(tmp_path / "frames", ComparisonOptions(video=tmp_path / "film.mp4", gif=tmp_path / "loop.gif"))
    assert read_back(tmp_path / "film.mp4").rate == 24
    assert (tmp_path / "loop.gif").stat().st_size > 100


def test_sheet_of_chosen_frames(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", Recipe())
    compare(source, ComparisonOptions(sheet=tmp_path / "a" / "sheet.png", sheet_frames=(2, 7)))
    sheet = cv2.imread(str(tmp_path / "a" / "sheet.png"))
    assert sheet.shape == (2 * (48 + 18), 3 * (64 + 4), 3)
    writer = compare(source, ComparisonOptions(sheet=tmp_path / "none.png", sheet_frames=(99,)))
    assert writer.notices == [f"{tmp_path}/none.png was not written: none of its frames exist"]


@pytest.mark.parametrize("total", [1, 5, 6, 7, 100, 1000])
def test_sheet_spreads_over_a_clip_of_unknown_length(total: int) -> None:
    sheet = ContactSheet(count=6)
    for index in range(total):
        if sheet.wants(index):
            sheet.offer(index, [np.full((4, 40, 3), 9, np.uint8)], str(index))
        assert len(sheet._cells) <= 12
    picture = sheet.picture()
    assert picture is not None
    assert picture.shape[0] == min(total, 6) * (4 + 18)


def test_gif_loops_with_colours_near_the_pictures(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", Recipe(frames=50))
    compare(source, ComparisonOptions(gif=tmp_path / "loop.gif", mode="split"))
    assert b"NETSCAPE2.0" in (tmp_path / "loop.gif").read_bytes()
    with av.open(str(tmp_path / "loop.gif")) as container:
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    assert len(frames) == 20
    with open_reader(source) as reader:
        first = next(iter(reader))
    wanted = before_after(first.rgb, 255 - first.rgb, "split").astype(int)
    assert np.abs(frames[0] - wanted).mean() < 8


def test_what_cannot_be_written_is_said_before(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", Recipe())
    (tmp_path / "old.png").write_bytes(b"x")
    with open_reader(source) as reader:
        for options, error, message in (
            (ComparisonOptions(mode="flip"), UsageError, "--compare flip is unknown; choose side, split, wipe"),
            (ComparisonOptions(sheet=tmp_path / "s.jpg"), UsageError, "should end in .png"),
            (ComparisonOptions(sheet=tmp_path / "old.png"), InputError, "exists"),
            (ComparisonOptions(video=source), InputError, "is the input itself"),
        ):
            with pytest.raises(error, match=message):
                check_comparison(options, reader.info)


def test_nothing_is_left_of_an_interrupted_run(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", Recipe())
    options = ComparisonOptions(video=tmp_path / "f.mp4", sheet=tmp_path / "s.png", gif=tmp_path / "l.gif")

    def interrupted() -> None:
        with open_reader(source) as reader, ComparisonWriter(options, reader.info) as writer:
            for frame in reader:
                writer.write(frame, np.zeros(frame.size, np.uint8), frame.rgb)
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
