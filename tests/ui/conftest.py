"""A clip with a square that moves, and the page's server in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ..conftest import ROOT


def make_clip(path: Path, frames: int = 12, matrix: tuple[int, ...] | None = None, *, green: bool = False) -> Path:
    """64x48: noise with a red square of 12 pixels that moves 2 to the right a frame, from x = 8; with a `green` one of
    10 that moves 2 to the left, from x = 50."""
    ground = np.random.default_rng(1).integers(60, 120, (48, 64, 3), np.uint8)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=10, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for index in range(frames):
            picture = ground.copy()
            picture[18:30, 8 + 2 * index : 20 + 2 * index] = (230, 20, 20)
            if green:
                picture[34:44, 50 - 2 * index : 60 - 2 * index] = (20, 220, 20)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode())
    return path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Any]:
    """A `Site` of one clip, `asking.CLIP`."""
    server = pytest.importorskip("e2fgvi_cli.ui.server", reason="the extra [ui] is not installed")
    make_clip(tmp_path / "a clip.mp4")
    one = server.Site(tmp_path / "a clip.mp4", device="cpu")
    yield one
    one.close()


@pytest.fixture
def client(site: Any) -> Any:
    """Who asks it."""
    pytest.importorskip("httpx2", reason="the extra [dev] is not installed")
    from starlette.testclient import TestClient

    from e2fgvi_cli.ui.server import build

    return TestClient(build(site, "token"), raise_server_exceptions=False)


@contextmanager
def serving(target: Path) -> Iterator[str]:
    """The address of a page that the real command serves; it is ended as by Ctrl-C."""
    command = [sys.executable, "-m", "e2fgvi_cli", "ui", str(target), "--no-browser", "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{24}/", line)
            yield line
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
