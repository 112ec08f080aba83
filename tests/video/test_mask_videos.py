"""Masks along the time axis: union of neighbours, mask videos at any rate, constant or not."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e2fgvi_cli.masks import Dilation, MaskOptions
from e2fgvi_cli.types import Frame, VideoInfo
from e2fgvi_cli.video import open_holes
from e2fgvi_cli.video.reading import probe

from .hole_helpers import EXACT, holes_of, mask_folder, mask_video, numbers, refused
from .media import Recipe, make_clip, picture


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", Recipe())


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(6):
        cv2.imwrite(str(folder / f"img_{index + 9}.jpg"), picture(index, (48, 64)))
    return folder


# ---- time


def test_union_reaches_before_and_after(clip: Path, tmp_path: Path) -> None:
    masks = mask_folder(tmp_path / "m", [f"{n}.png" for n in range(12)])
    holes, _ = holes_of(clip, masks, MaskOptions(union=2, dilation=Dilation(0)))
    for index, hole in enumerate(holes):
        assert np.flatnonzero(hole.any(axis=0)).tolist() == list(range(max(index - 2, 0), min(index + 2, 11) + 1))


def at_times(times: list[Fraction], info: VideoInfo, mask: Path, options: MaskOptions = EXACT) -> list[int | None]:
    blank = np.zeros((48, 64, 3), np.uint8)
    with open_holes(mask, info, options) as holes:
        return numbers([holes.hole_at(Frame(index, blank, time)) for index, time in enumerate(times)])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mask_steps=st.lists(st.integers(10, 120), min_size=2, max_size=20),
    frame_steps=st.lists(st.integers(5, 120), min_size=1, max_size=30),
)
def test_mask_video_is_aligned_by_the_nearest_time(
    tmp_path: Path, mask_steps: list[int], frame_steps: list[int]
) -> None:
    """Any rates, constant or not: each frame has the mask nearest in time, or none past the mask's end."""
    mask_ticks = np.concatenate([[0], np.cumsum(mask_steps)])
    frame_ticks = np.concatenate([[0], np.cumsum(frame_steps)])
    mask = mask_video(tmp_path / "m.mkv", mask_ticks.tolist(), Fraction(1, 1000))
    count = len(frame_ticks) if len(frame_ticks) != len(mask_ticks) else None
    info = VideoInfo(make_source(tmp_path), False, 48, 64, count, Fraction(25), time_base=Fraction(1, 1000))
    if count is None:
        return
    found = at_times([Fraction(int(tick), 1000) for tick in frame_ticks], info, mask)
    for tick, number in zip(frame_ticks, found, strict=True):
        distance = np.abs(mask_ticks - tick)
        if number is None:
            assert tick > mask_ticks[-1]
        else:
            assert distance[number] == distance.min()
        if tick <= mask_ticks[-1]:
            assert number is not None


def make_source(tmp_path: Path) -> Path:
    path = tmp_path / "source.mp4"
    return path if path.exists() else make_clip(path, Recipe(frames=1))


@pytest.mark.parametrize("mask_rate", [Fraction(24000, 1001), Fraction(12), Fraction(25), Fraction(50)])
def test_mask_at_another_rate(tmp_path: Path, mask_rate: Fraction) -> None:
    source = make_clip(tmp_path / "clip.mp4", Recipe(frames=25, rate=Fraction(24)))
    count = int(25 * mask_rate / 24) + 2
    mask = mask_video(tmp_path / "m.mkv", [round(n * 1000 / mask_rate) for n in range(count)], Fraction(1, 1000))
    holes, notices = holes_of(source, mask)
    assert numbers(holes) == [pytest.approx(n * mask_rate / 24, abs=0.51) for n in range(25)]
    assert notices[0] == f"{count} mask frames for 25 frames: aligned by time stamp"


def test_same_count_at_another_rate_is_matched_by_number(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", Recipe(frames=30, rate=Fraction(30000, 1001)))
    mask = mask_video(tmp_path / "m.mkv", [n * 40 for n in range(30)], Fraction(1, 1000))
    holes, notices = holes_of(source, mask)
    assert numbers(holes) == list(range(30))
    assert notices == ["the mask video runs at another rate but has as many frames: matched frame by frame"]


def test_mask_video_that_ends_early(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", Recipe(frames=30))
    mask = mask_video(tmp_path / "m.mkv", [n * 40 for n in range(10)], Fraction(1, 1000))
    holes, notices = holes_of(source, mask)
    assert numbers(holes)[:10] == list(range(10))
    assert numbers(holes)[11:] == [None] * 19
    assert any("the mask video ends before frame" in notice for notice in notices)


def test_union_along_a_mask_video(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", Recipe(frames=20))
    mask = mask_video(tmp_path / "m.mkv", [n * 40 for n in range(20)], Fraction(1, 1000))
    holes, _ = holes_of(source, mask, MaskOptions(union=1, dilation=Dilation(0)))
    assert np.flatnonzero(holes[8].any(axis=0)).tolist() == [7, 8, 9]


def test_lossy_mask_video_has_no_noise_in_its_hole(clip: Path, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "m.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "35"})
        stream.width, stream.height = 64, 48
        box = np.zeros((48, 64, 3), np.uint8)
        box[10:30, 20:40] = 255
        for _ in range(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(box, "rgb24")))
        container.mux(stream.encode(None))
    holes, _ = holes_of(clip, tmp_path / "m.mp4")
    assert all(np.array_equal(hole, box[:, :, 0] // 255) for hole in holes)


def test_folder_source_with_a_mask_video_needs_equal_counts(frames: Path, tmp_path: Path) -> None:
    mask = mask_video(tmp_path / "m.mkv", [n * 40 for n in range(9)], Fraction(1, 1000))
    assert refused(frames, mask) == (
        f"{mask} has 9 masks and {frames} 6 frames, and frames has no times to align by; give as many masks as frames"
    )


def test_what_runs_in_step_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting decodes both files whole."""
    source = make_clip(tmp_path / "clip.mp4", Recipe(frames=20))
    mask = mask_video(tmp_path / "m.mkv", [n * 40 for n in range(20)], Fraction(1, 1000))
    counted = []
    monkeypatch.setattr(probe, "count_frames_and_tail", lambda info: counted.append(info.path) or (20, 0))
    assert numbers(holes_of(source, mask)[0]) == list(range(20))
    folder = mask_folder(tmp_path / "f", [f"{n:05d}.png" for n in range(20)])
    assert numbers(holes_of(source, folder)[0]) == list(range(20))
    assert counted == []
    uneven = mask_video(tmp_path / "v.mkv", [n * 40 + 15 * (n % 2) for n in range(20)], Fraction(1, 1000))
    assert numbers(holes_of(source, uneven)[0]) == list(range(20))
    assert counted == [uneven, source]
    holes_of(source, uneven)
    assert counted == [uneven, source]  # once a file


def test_a_gap_in_the_clip_is_a_gap_of_its_masks(tmp_path: Path) -> None:
    """As many masks as the clip once had frames: those of the lost frames are skipped, by time."""
    ticks = tuple(n for n in range(30) if not 10 <= n < 15)
    source = make_clip(tmp_path / "clip.mkv", Recipe(frames=25, ticks=ticks))
    mask = mask_video(tmp_path / "m.mkv", [n * 40 for n in range(30)], Fraction(1, 1000))
    holes, notices = holes_of(source, mask)
    assert numbers(holes) == list(ticks)
    assert "30 mask frames for 25 frames: aligned by time stamp" in notices


def test_frames_behind_a_damaged_one_keep_their_masks(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mkv", Recipe(frames=20, codec="mjpeg", pixel_format="yuvj420p"))
    masks = mask_video(tmp_path / "m.mkv", [n * 40 for n in range(20)], Fraction(1, 1000))
    source = tmp_path / "clip.mkv"
    with av.open(str(whole)) as old, av.open(str(source), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for index, packet in enumerate(packet for packet in old.demux(video=0) if packet.size):
            if index == 7:
                packet, lost = av.Packet(b"no picture"), packet
                packet.pts, packet.dts, packet.time_base = lost.pts, lost.dts, lost.time_base
            packet.stream = stream
            new.mux(packet)
    holes, _ = holes_of(source, masks)
    assert numbers(holes) == [n for n in range(20) if n != 7]
