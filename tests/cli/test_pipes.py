"""Clips through standard input and output: y4m, messages apart, ends that are said."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from e2fgvi_cli.app import app
from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.system import pipes
from e2fgvi_cli.system.paths import PIPE
from e2fgvi_cli.types import Frame
from e2fgvi_cli.video import OutputOptions, open_reader, open_writer

from ..conftest import ROOT
from ..factories import clip, holes, read_folder, write_folder
from ..video.media import Recipe, make_clip

SIZE = (24, 32)
FAST = ("--device", "cpu", "--threads", "1", "--neighbor-stride", "2", "--max-references", "0")


def e2fgvi(folder: Path, *arguments: str, **streams: Any) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")}
    (folder / "tmp").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "e2fgvi_cli", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, timeout=120, check=False, **streams)


def y4m_of(pictures: np.ndarray, pixel_format: str = "yuv444p") -> bytes:
    """As `ffmpeg -f yuv4mpegpipe -` writes it."""
    file = io.BytesIO()
    with av.open(file, "w", format="yuv4mpegpipe", container_options={"strict": "-1"}) as container:
        stream = container.add_stream("rawvideo", rate=24)
        stream.width, stream.height, stream.pix_fmt = pictures.shape[2], pictures.shape[1], pixel_format
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pixel_format)))
    return file.getvalue()


def frames_in(data: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(data)) as container:
        assert container.format.name == "yuv4mpegpipe"
        return [frame.to_ndarray() for frame in container.decode(video=0)]


def passed(source: Path) -> tuple[list[Frame], list[str]]:
    """All frames of a clip to standard output, as they are."""
    with open_reader(source) as reader, open_writer(PIPE, reader.info, OutputOptions()) as writer:
        frames = list(reader)
        for frame in frames:
            writer.write(frame, None, None)
    return frames, writer.notices


def test_a_clip_goes_in_and_out_through_pipes(tmp_path: Path) -> None:
    write_folder(tmp_path / "masks", holes(6, *SIZE))
    given = y4m_of(clip(6, *SIZE))
    done = e2fgvi(tmp_path, "inpaint", "-v", "-", "-m", "masks", "-o", "-", "--mask-dilation", "0", *FAST, input=given)
    assert done.returncode == 0, done.stderr
    assert b"6 of 6 frames" in done.stderr
    before, after, hole = frames_in(given), frames_in(done.stdout), holes(6, *SIZE) > 0
    assert len(after) == 6
    for old, new, where in zip(before, after, hole, strict=True):
        assert np.array_equal(new[:, ~where], old[:, ~where])
        assert not np.array_equal(new[:, where], old[:, where])
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize(
    ("recipe", "layout"),
    [
        (Recipe(frames=4, pixel_format="yuv420p"), "yuv420p"),
        (Recipe(frames=4, pixel_format="yuv422p10le"), "yuv422p10le"),
        (Recipe(frames=4, pixel_format="yuvj420p"), "yuv420p"),  # and the word that its range is full
    ],
)
def test_samples_and_rate_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: Recipe, layout: str) -> None:
    source = make_clip(tmp_path / "a.mkv", recipe)
    file = os.open(tmp_path / "out.y4m", os.O_RDWR | os.O_CREAT)
    monkeypatch.setattr(pipes, "DESCRIPTOR", file)
    frames, notices = passed(source)
    os.close(file)
    assert notices[0].startswith("standard output gets y4m of ")
    with open_reader(tmp_path / "out.y4m") as reader:
        again = list(reader)
    assert reader.info.frame_rate == recipe.rate
    assert reader.info.pixel_format == layout
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(again, frames, strict=True))


def test_a_reader_that_leaves_ends_the_run_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_clip(tmp_path / "a.mkv", Recipe(frames=12, size=(480, 640)))
    out, into = os.pipe()
    os.close(out)
    monkeypatch.setattr(pipes, "DESCRIPTOR", into)
    with pytest.raises(InputError, match="standard output was closed before the clip's end"):
        passed(source)
    os.close(into)


@pytest.mark.parametrize(
    ("arguments", "given", "code", "said"),
    [
        (("-v", "-", "-o", "o.mp4"), b"", 3, "nothing came from standard input"),
        (("-v", "-", "-o", "o.mp4"), b"not a film", 3, "standard-input is no video file"),
        (("-v", "frames", "-o", "-", "--json"), b"", 2, "--json and --output - both write to standard output"),
        (("-v", "frames", "-o", "-", "--verify"), b"", 2, "--verify reads the output again"),
        (("-v", "frames", "-o", "-", "--crf", "12"), b"", 2, "y4m), which --crf does not apply to"),
        (("-v", "frames", "-o", "-", "--gif", "a.gif"), b"", 2, "need an output with a name"),
    ],
)
def test_what_cannot_be_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], given: bytes, code: int, said: str
) -> None:
    write_folder(tmp_path / "frames", clip(2, *SIZE))
    write_folder(tmp_path / "masks", holes(2, *SIZE))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["inpaint", "-m", "masks", *arguments, *FAST], input=given)
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.count("error: ") == 1
    assert said in done.stderr
    assert not (tmp_path / "o.mp4").exists()


def test_a_terminal_is_no_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    with pytest.raises(UsageError, match="--output - writes the clip to standard output, and that is a terminal"):
        pipes.refuse_terminal("--output", theirs, "writes the clip to standard output")
    os.close(ours)
    os.close(theirs)


def test_frames_of_a_folder_become_y4m(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_folder(tmp_path / "frames", clip(3, *SIZE))
    file = os.open(tmp_path / "out.y4m", os.O_RDWR | os.O_CREAT)
    monkeypatch.setattr(pipes, "DESCRIPTOR", file)
    passed(source)
    os.close(file)
    with open_reader(tmp_path / "out.y4m") as reader:
        found = np.stack([frame.rgb for frame in reader]).astype(int)
    assert reader.info.pixel_format == "yuv444p"
    assert np.abs(found - read_folder(source)).max() <= 6, "its matrix is guessed, for y4m has no word for it"
