"""What a run does at its start and end so as not to wait: the driver is woken, propagation runs ahead, the process
leaves."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2fgvi_cli.errors import DeviceError
from e2fgvi_cli.fill.progress import RunProgress
from e2fgvi_cli.options import InpaintOptions
from e2fgvi_cli.pipeline import PROPOSED_AHEAD, _finished_frames, finished_frames
from e2fgvi_cli.propagation import propagate
from e2fgvi_cli.system import driver
from e2fgvi_cli.types import Frame, HoleArray
from tests.conftest import ROOT
from tests.jobs.fake_engine import FakeEngine


class Driver:
    """Keeps what is asked of it."""

    def __init__(self, works: bool = True) -> None:
        self.asked: list[str] = []
        self._answer = 0 if works else 100

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: object) -> int:
            numbers = [a for a in arguments if isinstance(a, int)]
            self.asked.append(" ".join([name, *map(str, numbers)]))
            return self._answer

        return call


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(driver, "_torch_has_cuda", lambda: True)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    found = Driver()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: found)
    return found


@pytest.mark.parametrize(("device", "number"), [("auto", 0), ("cuda", 0), ("cuda:2", 2)])
def test_the_driver_opens_the_gpu_that_is_asked_for(woken: Driver, device: str, number: int) -> None:
    thread = driver.wake(device)
    assert thread is not None
    thread.join()
    assert woken.asked == ["cuInit 0", f"cuDeviceGet {number}", "cuDevicePrimaryCtxRetain"]


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_it_is_left_alone_for_other_devices(woken: Driver, device: str) -> None:
    assert driver.wake(device) is None
    assert not woken.asked


def test_a_driver_that_finds_no_gpu_is_asked_no_more(woken: Driver) -> None:
    woken._answer = 100
    thread = driver.wake("auto")
    assert thread is not None
    thread.join()
    assert woken.asked == ["cuInit 0"]


def test_without_a_driver_nothing_happens(woken: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    thread = driver.wake("auto")
    assert thread is not None
    thread.join()


@pytest.mark.parametrize("code", [0, 3])
def test_a_process_leaves_at_once_and_does_what_was_registered(code: int) -> None:
    program = (
        "import atexit, sys\n"
        "class Slow:\n"
        "    def __del__(self): print('taken apart')\n"
        "sys.modules['torch'] = Slow()\n"
        "atexit.register(print, 'registered')\n"
        "from e2fgvi_cli.__main__ import _leave\n"
        f"print('said'); _leave({code})\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split(), done.stderr) == (code, ["said", "registered"], "")


def hole_at(frame: Frame) -> HoleArray:
    hole = np.zeros(frame.size, np.uint8)
    hole[8:16, 8:16] = 1
    return hole


def still(count: int) -> Iterator[Frame]:
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    return (Frame(i, picture, Fraction(i, 25)) for i in range(count))


def test_propagation_goes_on_while_a_window_is_computed(tmp_path: Path) -> None:
    """The first window ends only when as many frames more were looked at as may wait for it."""
    ahead = threading.Event()
    seen: list[int] = []
    first_window = 66  # its references' last, so many frames are asked for before it is computed

    class Waits(FakeEngine):
        def lookup(self) -> Any:
            def look_up(query: Any) -> Any:
                from e2fgvi_cli.propagation.lookup import look_up

                seen.append(query.number)
                if len(seen) >= first_window + PROPOSED_AHEAD:
                    ahead.set()
                return look_up(query)

            return look_up

        def fill(self, *arguments: Any) -> Any:
            assert ahead.wait(60)
            return super().fill(*arguments)

    options = InpaintOptions(Path("clip"), Path("masks"), tmp_path / "out.mp4", detect_cuts=False)
    assert len(list(finished_frames(still(100), hole_at, [Waits()], options))) == 100


def test_frames_are_read_and_aligned_while_the_engine_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aligned = threading.Event()
    plain = propagate._step

    def step(*frames: Any) -> Any:
        found = plain(*frames)
        aligned.set()
        return found

    monkeypatch.setattr(propagate, "_step", step)

    def ready() -> list[FakeEngine]:
        assert aligned.wait(60)
        return [FakeEngine()]

    options = InpaintOptions(Path("clip"), Path("masks"), tmp_path / "out.mp4", detect_cuts=False)
    progress = RunProgress(None, "cpu", propagation=True)
    assert len(list(_finished_frames(still(12), hole_at, ready, options, progress))) == 12


def test_an_engine_that_cannot_be_made_ends_the_run(tmp_path: Path) -> None:
    def ready() -> list[FakeEngine]:
        raise DeviceError("there is no room")

    options = InpaintOptions(Path("clip"), Path("masks"), tmp_path / "out.mp4", detect_cuts=False)
    before = threading.active_count()
    with pytest.raises(DeviceError, match="no room"):
        list(_finished_frames(still(80), hole_at, ready, options, RunProgress(None, "cpu", propagation=True)))
    assert threading.active_count() == before, "nobody waits for its lookup"


def test_without_frames_the_engine_is_made_all_the_same(tmp_path: Path) -> None:
    """What it has to say is said before the clip is refused."""
    made = []
    options = InpaintOptions(Path("clip"), Path("masks"), tmp_path / "out.mp4")
    ready = lambda: made.append(1) or [FakeEngine()]  # noqa: E731
    assert not list(_finished_frames(still(0), hole_at, ready, options, RunProgress(0, "cpu", propagation=True)))
    assert made == [1]
