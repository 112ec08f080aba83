"""`e2fgvi ui` before there is a page: what it cannot open, and what is not installed."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from ..conftest import Run
from .conftest import make_clip

pytest.importorskip("starlette", reason="the extra [ui] is not installed")
pytest.importorskip("uvicorn", reason="the extra [ui] is not installed")


def test_what_is_no_clip(e2fgvi: Run, tmp_path: Path) -> None:
    (tmp_path / "one.mp4").write_text("words")
    done = e2fgvi("ui", tmp_path / "one.mp4", "--no-browser")
    assert done.returncode == 3
    assert "one.mp4" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_port_in_use(e2fgvi: Run, tmp_path: Path) -> None:
    make_clip(tmp_path / "one.mp4", 2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = e2fgvi("ui", tmp_path / "one.mp4", "--no-browser", "--port", port)
    assert done.returncode == 2
    assert f"--port {port} cannot be used (Address already in use): give another, or 0 for any free one" in done.stderr


def test_nothing_to_open(e2fgvi: Run, tmp_path: Path) -> None:
    done = e2fgvi("ui", tmp_path / "none.mp4", "--no-browser")
    assert (done.returncode, "give a video file, a folder of frames or a folder of clips" in done.stderr) == (3, True)


def test_without_the_extra(e2fgvi: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.machinery import PathFinder

    find = PathFinder.find_spec
    monkeypatch.delitem(sys.modules, "uvicorn")
    monkeypatch.setattr(PathFinder, "find_spec", lambda name, *rest: None if name == "uvicorn" else find(name, *rest))
    done = e2fgvi("ui", tmp_path, "--no-browser")
    assert done.returncode == 2
    assert "needs the package uvicorn, which is not installed: pip install 'e2fgvi-cli[ui]'" in done.stderr


def test_weights_that_are_not_there_are_said_before_a_page_opens(e2fgvi: Run, tmp_path: Path) -> None:
    make_clip(tmp_path / "one.mp4", 2)
    done = e2fgvi("ui", tmp_path / "one.mp4", "--no-browser", "--weights", tmp_path / "none.pth")
    assert (done.returncode, done.stdout) == (4, "")
    assert "none.pth does not exist: give a path or one of open, published" in done.stderr
