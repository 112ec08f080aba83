"""Everything that can be wrong with a target: the exact sentence before any work, and nothing left behind."""

from __future__ import annotations

import os
import shutil
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.types import VideoInfo
from e2fgvi_cli.video import OutputOptions, check_output, open_reader, open_writer

from .media import Recipe, make_clip


def images_in(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    folder.mkdir()
    for index, (height, width) in enumerate(sizes):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((height, width, 3), index, np.uint8))
    return folder


class Case(NamedTuple):
    source: Path
    info: VideoInfo


@pytest.fixture
def case(tmp_path: Path) -> Case:
    source = make_clip(tmp_path / "source.mp4", Recipe(languages=("eng",)))
    with open_reader(source) as reader:
        return Case(source, reader.info)


def write_all(
    case: Case, target: Path, options: OutputOptions, error: type[BaseException] | None = None, at: int = 4
) -> None:
    """Write the clip; raise `error` after frame `at`, when the target and one unfinished name are there."""
    with open_reader(case.source) as reader, open_writer(target, reader.info, options) as writer:
        for frame in reader:
            writer.write(frame, None, None)
            if error is not None and frame.index == at:
                assert len([path for path in target.parent.iterdir() if ".partial" in path.name]) == 1
                raise error


def denied(case: Case, target: Path, options: OutputOptions = OutputOptions()) -> str:
    before = sorted(target.parent.iterdir()) if target.parent.is_dir() else None
    with pytest.raises((InputError, UsageError)) as caught:
        check_output(target, case.info, options)
    with pytest.raises(type(caught.value)):
        open_writer(target, case.info, options)
    assert before == (sorted(target.parent.iterdir()) if target.parent.is_dir() else None)
    return str(caught.value)


def test_output_equals_input(case: Case, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for target in (case.source, tmp_path / "sub" / ".." / "source.mp4"):
        message = denied(case, target, OutputOptions(overwrite=True))
        assert message == f"the output {target} is the input itself; give another name"


def test_output_is_a_link_to_the_input(case: Case, tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(case.source)
    os.link(case.source, tmp_path / "hard.mp4")
    for name in ("link.mp4", "hard.mp4"):
        assert "is the input itself" in denied(case, tmp_path / name, OutputOptions(overwrite=True))


def test_output_exists(case: Case, tmp_path: Path) -> None:
    target = tmp_path / "old.mp4"
    target.write_bytes(b"old")
    assert denied(case, target) == f"the output {target} exists; give another name, or --overwrite to replace it"
    check_output(target, case.info, OutputOptions(overwrite=True))


def test_output_folder_with_other_things_is_never_replaced(case: Case, tmp_path: Path) -> None:
    target = tmp_path / "photos"
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    message = denied(case, target, OutputOptions(overwrite=True))
    assert "holds something that is no image (thesis.tex) and is never replaced" in message


def test_parent_is_a_file(case: Case, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    message = denied(case, tmp_path / "file" / "out.mp4")
    assert message == f"the output {tmp_path}/file/out.mp4 cannot be written: {tmp_path}/file is a file, not a folder"


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write anywhere")
def test_parent_not_writable(case: Case, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "cannot be written" in denied(case, locked / "out.mp4")


def test_parent_on_a_file_system_that_takes_no_files(case: Case) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    assert denied(case, Path("/proc/out.mp4")).startswith("the output /proc/out.mp4 cannot be written: /proc: ")


def test_no_space(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1_500_000))  # type: ignore[attr-defined]
    message = denied(case, tmp_path / "out.mp4")
    assert message.startswith(
        f"not enough space for the output {tmp_path}/out.mp4: about 0.0 MB are needed and 1.5 MB are free"
    )


def test_disk_full_while_writing(case: Case, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        with pytest.raises(InputError, match=r"no space left for the output .*out\.mkv"):
            write_all(case, tmp_path / "out.mkv", OutputOptions(codec="ffv1"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.mp4"]


COMBINATIONS = [
    ("out.webm", OutputOptions(codec="h264"), "--codec h264 does not go into .webm files (these take vp9, av1)"),
    (
        "out.mp4",
        OutputOptions(codec="ffv1"),
        "--codec ffv1 does not go into .mp4 files (these take h264, h265, vp9, av1)",
    ),
    (
        "out.mp4",
        OutputOptions(codec="prores"),
        "--codec prores does not go into .mp4 files (these take h264, h265, vp9, av1)",
    ),
    (
        "out.mp4",
        OutputOptions(codec="mpeg2"),
        "--codec mpeg2 is unknown; choose auto, h264, h265, prores, ffv1, vp9, av1, png",
    ),
    ("out.mp4", OutputOptions(container="ogg"), "--container ogg is unknown; choose mp4, m4v, mov, mkv, webm, avi"),
    ("out.mp4", OutputOptions(crf=60), "--crf 60 is out of range for h264; give 0 to 51"),
    (
        "out.mov",
        OutputOptions(codec="prores", crf=20),
        "--crf does not apply to prores, which has no such scale; leave it out",
    ),
    (
        "out.mov",
        OutputOptions(codec="prores", lossless=True),
        "--lossless does not apply to prores here; use --codec ffv1 (mkv), h264, h265 or vp9",
    ),
    (
        "out.mkv",
        OutputOptions(codec="ffv1", bitrate="match"),
        "--bitrate does not apply to ffv1; use h264, h265 or vp9",
    ),
    ("out.mp4", OutputOptions(crf=20, lossless=True), "--crf and --lossless contradict each other; give one of them"),
    ("out.mp4", OutputOptions(bitrate=0), "--bitrate 0 is not possible; give bits a second, such as 5000000, or match"),
    (
        "frames",
        OutputOptions(crf=20),
        "--crf and --bitrate do not apply to PNG frames, which are lossless; leave them out",
    ),
    ("out.mp4", OutputOptions(frame_rate=Fraction(0)), "a frame rate of 0 is not possible; give one above 0"),
]


@pytest.mark.parametrize(("name", "options", "message"), COMBINATIONS)
def test_combinations_that_cannot_be(
    case: Case, tmp_path: Path, name: str, options: OutputOptions, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_output(tmp_path / name, case.info, options)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2


def test_unknown_suffix(case: Case, tmp_path: Path) -> None:
    message = denied(case, tmp_path / "out.xyz")
    assert "ends in '.xyz', which is no container known here" in message


def test_codec_png_with_a_video_name(case: Case, tmp_path: Path) -> None:
    assert "drop .mp4" in denied(case, tmp_path / "out.mp4", OutputOptions(codec="png"))


def test_sound_that_does_not_fit(case: Case, tmp_path: Path) -> None:
    assert denied(case, tmp_path / "out.webm") == (
        "the source's sound (aac) does not fit into webm; write .mp4 or .m4v or .mov or .mkv or .avi instead"
    )


@pytest.fixture
def interrupted(case: Case, tmp_path: Path) -> Path:
    target = tmp_path / "out" / "result.mp4"
    target.parent.mkdir()
    target.write_bytes(b"the old result")
    return target


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
def test_interrupted_run_leaves_the_old_file(case: Case, interrupted: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        write_all(case, interrupted, OutputOptions(overwrite=True), error)
    assert interrupted.read_bytes() == b"the old result"
    assert list(interrupted.parent.iterdir()) == [interrupted]


def test_interrupted_folder_leaves_the_old_frames(case: Case, tmp_path: Path) -> None:
    target = images_in(tmp_path / "out", [(8, 8)])
    with pytest.raises(KeyboardInterrupt):
        write_all(case, target, OutputOptions(overwrite=True), KeyboardInterrupt)
    assert [path.name for path in target.iterdir()] == ["0.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source.mp4"]


def test_missing_parents_are_made_and_a_folder_is_replaced_whole(case: Case, tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "frames"
    for _ in range(2):
        with (
            open_reader(case.source) as reader,
            open_writer(target, reader.info, OutputOptions(overwrite=True)) as writer,
        ):
            for frame in reader:
                writer.write(frame, None, None)
        assert [path.name for path in sorted(target.iterdir())] == [f"{index:06d}.png" for index in range(12)]
        (target / "stale.png").write_bytes((target / "000000.png").read_bytes())
    assert [path.name for path in target.parent.iterdir()] == ["frames"]
