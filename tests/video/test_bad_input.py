"""Everything that can be wrong with a source or a target: the exact sentence, before any work, and nothing left
behind."""

from __future__ import annotations

import gc
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from e2fgvi_cli.errors import InputError
from e2fgvi_cli.types import Frame
from e2fgvi_cli.video import OutputOptions, open_reader, open_writer
from e2fgvi_cli.video.reading.reader import DECODE_AHEAD_FRAMES

from .media import Recipe, make_clip, read_back


def read_all(path: Path) -> tuple[int, list[str]]:
    with open_reader(path) as reader:
        return sum(1 for _ in reader), reader.notices


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_all(path)
    assert caught.value.exit_code == 3
    return str(caught.value)


def images_in(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    folder.mkdir()
    for index, (height, width) in enumerate(sizes):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((height, width, 3), index, np.uint8))
    return folder


def test_missing_path(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.mp4") == f"there is no file or folder {tmp_path}/none.mp4; check the path"


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no frames here")
    message = f"folder {tmp_path} holds no images (png, jpg, tiff, webp, bmp, exr); give the folder of frames"
    assert refused(tmp_path) == message


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("1.png", b"not an image at all", "it is no image that OpenCV can decode"),
        ("1.png", b"", "it is no image that OpenCV can decode"),
        ("1.exr", b"\x76\x2f\x31\x01 broken", "it is no EXR that PyAV can decode"),
    ],
)
def test_unreadable_image_is_named(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    folder = images_in(tmp_path / "frames", [(8, 8)])
    (folder / name).write_bytes(content)
    assert refused(folder) == f"cannot read image {folder / name}: {reason}"


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_image_cut_short_is_named(tmp_path: Path, suffix: str) -> None:
    folder = images_in(tmp_path / "frames", [(64, 64)])
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = cv2.imencode(suffix, noise)[1].tobytes()
    (folder / f"1{suffix}").write_bytes(data[: len(data) // 2])
    assert refused(folder) == f"cannot read image {folder}/1{suffix}: the file is cut short; export it again"


def test_mixed_sizes_name_both(tmp_path: Path) -> None:
    folder = images_in(tmp_path / "frames", [(8, 12), (8, 12), (10, 12)])
    assert refused(folder) == (
        f"the frames differ in size: {folder}/0.png is 12x8, {folder}/2.png is 12x10; export them at one size"
    )


def test_mixed_sizes_found_only_by_decoding(tmp_path: Path) -> None:
    folder = images_in(tmp_path / "frames", [(8, 12)])
    cv2.imwrite(str(folder / "1.bmp"), np.zeros((9, 12, 3), np.uint8))
    assert refused(folder) == (
        f"the frames differ in size: {folder}/0.png is 12x8, {folder}/1.bmp is 12x9; export them at one size"
    )


def test_sound_without_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), format="s16", layout="stereo")
        frame.sample_rate = 48000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    assert refused(path) == f"{path} has no video stream (it holds audio); give a file with a picture"


@pytest.mark.parametrize("name", ["readme.txt", "movie.mp4", "script.py", "list.m3u8"])
def test_file_that_is_no_video(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("#EXTM3U\nthis is text, and long enough to be looked at twice\n" * 20)
    assert refused(path).startswith(f"{path} is no video file")


def test_folder_is_read_in_natural_order_whatever_the_case(tmp_path: Path) -> None:
    for name in ("frame10.PNG", "frame2.png", "frame1.Png", ".hidden.png"):
        cv2.imwrite(str(tmp_path / "x.png"), np.zeros((4, 4, 3), np.uint8))
        (tmp_path / "x.png").rename(tmp_path / name)
    with open_reader(tmp_path) as reader:
        assert [frame.name for frame in reader] == ["frame1.Png", "frame2.png", "frame10.PNG"]
        assert reader.info.frame_count == 3


def test_truncated_video_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mkv", Recipe(frames=40, options={"g": "5"}))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    count, notices = read_all(cut)
    assert 10 < count < 40
    assert notices[-1] == f"the file ends early: {count} of 40 frames decoded"


def test_truncated_mp4_with_its_index_in_front(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mp4", Recipe(frames=40, options={"g": "5"}))
    whole = tmp_path / "whole.mp4"
    with av.open(str(source)) as old, av.open(str(whole), "w", container_options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.7)])
    count, notices = read_all(cut)
    assert 10 < count < 40
    assert f"the file ends early: {count} of 40 frames decoded" in notices


def test_whole_video_has_no_notice(tmp_path: Path) -> None:
    for suffix in (".mp4", ".mkv", ".webm"):
        assert read_all(make_clip(tmp_path / f"whole{suffix}", Recipe(languages=("eng",)))) == (12, [])


def test_corrupt_packet_is_skipped_and_said(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "source.mkv", Recipe(codec="ffv1", frames=12, options={"g": "1", "slicecrc": "1"}))
    broken = tmp_path / "broken.mkv"
    with av.open(str(source)) as old, av.open(str(broken), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        for number, packet in enumerate(old.demux(old.streams.video[0])):
            if not packet.size:
                continue
            if number == 5:
                damaged = av.Packet(b"\xff" * 40)
                damaged.pts, damaged.dts, damaged.time_base = packet.pts, packet.dts, packet.time_base
                packet = damaged
            packet.stream = stream
            new.mux(packet)
    count, notices = read_all(broken)
    assert count == 11
    assert notices == ["1 damaged packet was skipped in broken.mkv"]
    with open_reader(broken) as reader, open_writer(tmp_path / "out.mkv", reader.info, OutputOptions()) as writer:
        for frame in reader:
            writer.write(frame, None, None)
    assert read_back(tmp_path / "out.mkv").times == [Fraction(40 * n, 1000) for n in range(12) if n != 5]


def test_worker_errors_reach_the_consumer_after_the_frames_before(tmp_path: Path) -> None:
    folder = images_in(tmp_path / "frames", [(8, 8)] * 6)
    (folder / "4.png").write_bytes(b"broken")
    seen = []
    with open_reader(folder) as reader, pytest.raises(InputError, match=r"4\.png"):
        seen.extend(frame.index for frame in reader)
    assert seen == [0, 1, 2, 3]


def test_reader_never_holds_more_than_a_few_frames(tmp_path: Path) -> None:
    """Counted, not estimated: how many frames are alive while a clip of eighty is read slowly."""
    clip = make_clip(tmp_path / "clip.mp4", Recipe(frames=80))
    most = 0
    gc.collect()
    others = sum(type(one) is Frame for one in gc.get_objects())  # what tests before this one keep
    with open_reader(clip) as reader:
        for frame in reader:
            if frame.index % 16 == 8:
                time.sleep(0.15)  # the decoder gets as far ahead as it may
                most = max(most, sum(type(one) is Frame for one in gc.get_objects()) - others)
    assert 2 < most <= DECODE_AHEAD_FRAMES + 4  # queued, in the worker's hand, in ours


def test_reader_left_early_stops_its_thread(tmp_path: Path) -> None:
    import threading

    folder = images_in(tmp_path / "frames", [(8, 8)] * 50)
    before = threading.active_count()
    with open_reader(folder) as reader:
        assert next(iter(reader)).index == 0
    assert threading.active_count() == before
