"""Times that containers do not keep: the order of H.264 in AVI and ASF, one wrong time, how long pictures are shown."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from e2fgvi_cli.types import VideoInfo
from e2fgvi_cli.video import OutputOptions, open_random_access, open_reader, open_writer
from e2fgvi_cli.video.reading.clock import FrameClock
from e2fgvi_cli.video.reading.picture_times import with_lengths

from .media import Recipe, make_clip, picture, read_back

SIZE = (48, 64)


def reordered(path: Path, lost: int | None = None) -> Path:
    """24 pictures of H.264 with B-frames and 0.96 s of sound, which starts with the first; frame `lost` is damaged."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"bf": "3", "x264-params": "b-adapt=0", "g": "12"})
        video.codec_context.height, video.codec_context.width = SIZE
        sound = container.add_stream("pcm_s16le", rate=48_000)
        for index in range(24):
            frame = av.VideoFrame.from_ndarray(picture(index, SIZE), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
            chunk = av.AudioFrame.from_ndarray(np.full((1, 3840), index, np.int16), "s16", "stereo")
            chunk.sample_rate, chunk.pts = 48_000, 1920 * index
            container.mux(sound.encode(chunk))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def test_the_fault_is_there(tmp_path: Path) -> None:
    with av.open(str(reordered(tmp_path / "clip.avi"))) as container:
        times = [frame.pts for frame in container.decode(video=0)]
    assert times != sorted(times)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_pictures_of_h264_in_avi_are_in_order_and_in_step_with_the_sound(tmp_path: Path, suffix: str) -> None:
    source = reordered(tmp_path / "clip.avi")
    with open_reader(source) as reader, open_writer(tmp_path / f"out{suffix}", reader.info, OutputOptions()) as writer:
        for frame in reader:
            assert frame.time == Fraction(frame.index, 25)
            assert np.abs(frame.rgb.astype(int) - picture(frame.index, SIZE)).mean() < 8
            writer.write(frame, None, None)
    assert [*reader.notices, *writer.notices] == []
    with open_reader(tmp_path / f"out{suffix}") as again:
        assert [frame.time for frame in again] == [Fraction(index, 25) for index in range(24)]
    if suffix != ".avi":  # whose pictures FFmpeg numbers from 1
        assert read_back(tmp_path / f"out{suffix}").times[0] == 0
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert next(container.demux(audio=0)).pts == 0


def test_single_frames_of_h264_in_avi_are_those_of_the_reader(tmp_path: Path) -> None:
    source = reordered(tmp_path / "clip.avi")
    with open_reader(source) as reader, open_random_access(source) as access:
        frames = list(reader)
        for index in (17, 3, 12, 23, 0):
            one = access.frame(index)
            assert one.time == frames[index].time
            assert np.array_equal(one.rgb, frames[index].rgb)


def ticked(times: list[int | None], *, rate: int = 25, duration: Fraction | None = None) -> list[av.VideoFrame]:
    """Pictures with these time stamps (milliseconds) as the reader's two steps leave them."""
    info = VideoInfo(Path("x.mkv"), False, 4, 4, None, Fraction(rate), time_base=Fraction(1, 1000), duration=duration)
    clock, found = FrameClock(info), []
    pictures = [av.VideoFrame(4, 4, "gray") for _ in times]
    for one, time in zip(pictures, times, strict=True):
        one.pts, one.duration = time, 40
    for one in with_lengths(iter(pictures), info):
        assert one is not None
        clock.tick(one)
        found.append(one)
    return found


@pytest.mark.parametrize(
    ("times", "wanted"),
    [
        ([0, 40, 80, 120], [0, 40, 80, 120]),
        ([0, 40, 9000, 120, 160], [0, 40, 80, 120, 160]),  # one far ahead
        ([0, 40, 40, 120, 160], [0, 40, 80, 120, 160]),  # one like the one before
        ([0, 40, 40, 44, 160], [0, 40, 42, 44, 160]),  # no room for a whole frame
        ([0, 40, 80, 0, 40], [0, 40, 80, 120, 160]),  # starts again
        ([0, 40, None, 120], [0, 40, 80, 120]),
        ([0, 200, 5000, 5040], [0, 200, 5000, 5040]),  # a pause
    ],
)
def test_wrong_times_of_pictures(times: list[int | None], wanted: list[int]) -> None:
    assert [one.pts for one in ticked(times)] == wanted


@pytest.mark.parametrize(
    ("times", "seconds", "last"),
    [
        ([0, 40, 80], Fraction(120, 1000), 40),
        ([0, 200, 1500], Fraction(4), 2500),  # slides: as long as others
        ([0, 40, 80], Fraction(60), 40),  # the file is cut short
        ([0, 40, 80], None, 40),
    ],
)
def test_how_long_the_last_picture_is_shown(times: list[int | None], seconds: Fraction | None, last: int) -> None:
    assert ticked(times, duration=seconds)[-1].duration == last


def test_late_start_in_matroska_is_no_early_end(tmp_path: Path) -> None:
    ticks = tuple(range(4000, 4480, 40))
    source = make_clip(tmp_path / "late.mkv", Recipe(ticks=ticks, time_base=Fraction(1, 1000)))
    with open_reader(source) as reader:
        assert len(list(reader)) == 12
    assert reader.notices == []
    assert reader.info.duration == Fraction(480, 1000)
