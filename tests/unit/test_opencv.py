"""OpenCV leaves threads to the program while frames are filled, and has its own back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from e2fgvi_cli.options import InpaintOptions
from e2fgvi_cli.pipeline import finished_frames
from e2fgvi_cli.threads.opencv import one_thread_a_call
from e2fgvi_cli.types import Frame, HoleArray

from ..jobs.fake_engine import FakeEngine


@pytest.fixture(autouse=True)
def _three_threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    yield
    cv2.setNumThreads(before)


def test_one_thread_while_frames_are_filled() -> None:
    seen = []

    def hole_at(frame: Frame) -> HoleArray:
        seen.append(cv2.getNumThreads())
        return np.zeros(frame.size, np.uint8)

    frames = [Frame(i, np.zeros((8, 8, 3), np.uint8), Fraction(i, 25)) for i in range(3)]
    options = InpaintOptions(Path("clip"), Path("masks"), Path("out.mp4"))
    assert len(list(finished_frames(frames, hole_at, [FakeEngine()], options))) == 3
    assert seen == [1, 1, 1]
    assert cv2.getNumThreads() == 3


def test_runs_that_overlap_put_back_what_was_there_before_both() -> None:
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(one_thread_a_call())
        second.enter_context(one_thread_a_call())
        first.close()
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == 3
