"""How far a run is: it grows from the first frame that is read, never falls, and ends at 1."""

from __future__ import annotations

import io
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2fgvi_cli.commands.inpaint_view import Reporter
from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.fill.progress import SHARES, STATIONS, RunProgress, WatchedEngine
from e2fgvi_cli.fill.stream import fill_rest, propose
from e2fgvi_cli.frames.stages import HoledFrame
from e2fgvi_cli.types import Frame, Progress
from tests.jobs.fake_engine import FakeEngine


def frames(count: int) -> list[HoledFrame]:
    hole = np.zeros((32, 32), np.uint8)
    hole[8:16, 8:16] = 1
    return [HoledFrame.of(Frame(i, np.full((32, 32, 3), i, np.uint8), Fraction(i)), hole, hole) for i in range(count)]


def test_the_shares_of_a_device_are_a_whole() -> None:
    assert all(len(shares) == len(STATIONS) and sum(shares) == pytest.approx(1) for shares in SHARES.values())


def test_a_run_is_seen_to_move_before_its_first_frame_is_finished() -> None:
    progress = RunProgress(20, "cpu", propagation=False)
    options = WindowOptions()
    engine = FakeEngine()
    seen: list[float] = []

    def reach(station: str, count: int) -> None:
        progress.reach(station, count)
        seen.append(progress.snapshot().share or 0.0)

    items = progress.counted(frames(20), "read")
    proposed = progress.counted(propose(items, options, engine.lookup()), "found")
    finished = fill_rest(proposed, WatchedEngine(engine, reach, 0), options)
    next(finished)
    assert len(seen) > 10
    assert seen[0] > 0
    assert max(seen) > 0.3
    for number, _ in enumerate(finished, 2):
        progress.finish(number)
        seen.append(progress.snapshot().share or 0.0)
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(seen))
    assert progress.snapshot() == Progress(20, 20, 1.0)


@given(st.lists(st.tuples(st.sampled_from(STATIONS), st.integers(0, 30)), max_size=40))
def test_no_order_of_counting_takes_a_share_back_or_leaves_the_range(counts: list[tuple[str, int]]) -> None:
    progress, before = RunProgress(20, "cuda", propagation=True), 0.0
    for station, count in counts:
        progress.reach(station, count)
        share = progress.snapshot().share
        assert share is not None
        assert before <= share <= 1
        before = share


def test_a_clip_of_unknown_length_has_no_share() -> None:
    progress = RunProgress(None, "cpu", propagation=True)
    progress.finish(7)
    assert progress.snapshot() == Progress(7, None, None)


def test_plain_lines_say_frames_share_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr("sys.stderr", said)
    with Reporter(quiet=False) as reporter:
        reporter._began = 0.0
        monkeypatch.setattr("time.monotonic", lambda: 30.0)
        for progress in (Progress(0, 20, 0.01), Progress(0, 20, 0.25), Progress(5, 20, 0.26), Progress(20, 20, 1.0)):
            reporter._show(progress)
    assert said.getvalue().splitlines() == [
        "1%: 0 of 20 frames",
        "25%: 0 of 20 frames, about 1:30 left",
        "100%: 20 of 20 frames",
    ]
