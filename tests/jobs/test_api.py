"""The Python interface, with the real network on frames so small that they cost a fraction of a second."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from e2fgvi_cli.api import InpaintOptions, inpaint
from e2fgvi_cli.errors import EXIT_INTERRUPTED, InputError
from e2fgvi_cli.types import Progress
from e2fgvi_cli.video.options import OutputOptions
from tests.conftest import ROOT
from tests.factories import read_folder

from .clips import make_job


@pytest.fixture
def options(tmp_path: Path) -> InpaintOptions:
    return replace(make_job(tmp_path, "clip", 4).options, device="cpu")


def test_frames_come_while_the_output_is_written(options: InpaintOptions) -> None:
    said: list[Progress] = []
    notices: list[str] = []
    run = inpaint(options, on_progress=said.append, on_notice=notices.append)
    with pytest.raises(RuntimeError, match="not finished"):
        _ = run.summary
    frames = []
    for frame in run:
        assert not options.output.exists()
        frames.append(frame.rgb)
    assert [p.done for p in said] == [1, 2, 3, 4]
    assert said[0].total == 4
    assert np.array_equal(np.stack(frames), read_folder(options.output))
    assert (run.summary.frames, run.summary.filled, run.summary.output) == (4, 4, str(options.output))
    assert any("weights" in notice for notice in notices)
    with pytest.raises(InputError, match="exists"):
        inpaint(options).finish()


def test_stopping_early_and_cancelling_leave_nothing(options: InpaintOptions) -> None:
    with inpaint(options) as run:
        next(iter(run))
    assert not options.output.exists()
    cancel = threading.Event()
    run = inpaint(options, cancel=cancel, on_progress=lambda p: cancel.set() if p.done == 2 else None)
    from e2fgvi_cli.pipeline import CancelledError

    with pytest.raises(CancelledError, match="cancelled after 2 frames") as caught:
        run.finish()
    assert caught.value.exit_code == EXIT_INTERRUPTED
    assert list(options.output.parent.iterdir()) == []


def test_cancelling_waits_for_no_frame_to_be_finished(options: InpaintOptions) -> None:
    """On a CPU the first frame comes after most of a short clip's time."""
    cancel = threading.Event()
    run = inpaint(options, cancel=cancel, on_notice=lambda _: cancel.set())  # said before the first window
    from e2fgvi_cli.pipeline import CancelledError

    with pytest.raises(CancelledError, match="cancelled after 0 frames"):
        next(iter(run))
    assert run.progress.done == 0
    assert list(options.output.parent.iterdir()) == []


def test_what_is_left_out_is_said_before_the_work(options: InpaintOptions, tmp_path: Path) -> None:
    import av

    clip = tmp_path / "clip.mkv"
    with av.open(str(clip), "w") as container:
        container.add_attachment("font.ttf", "font/ttf", b"not really a font")
        video = container.add_stream("ffv1", rate=25)
        video.codec_context.height, video.codec_context.width = 40, 48
        for index in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((40, 48, 3), 60 * index, np.uint8), "rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    notices: list[str] = []
    film = replace(options, video=clip, output=tmp_path / "out.mp4", encoding=OutputOptions())
    with inpaint(film, on_notice=notices.append) as run:
        next(iter(run))
        assert "attachment stream 1 (attachment) does not fit into mp4: left out" in notices


def test_frames_only(options: InpaintOptions) -> None:
    summary = inpaint(options, write=False).finish()
    assert summary.frames == 4
    assert not options.output.parent.exists()


def test_importing_the_interface_costs_neither_torch_nor_pyav() -> None:
    code = (
        "import sys, e2fgvi_cli.api, e2fgvi_cli.jobs, e2fgvi_cli.jobs.model, e2fgvi_cli.jobs.runner, "
        "e2fgvi_cli.jobs.cluster, e2fgvi_cli.commands.batch; print(sorted({'torch', 'av', 'cv2', 'ray', 'yaml'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
