"""A shot on several devices: the frames of one device, in order, with all of them busy, within the memory that was
given."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2fgvi_cli.fill import sharing
from e2fgvi_cli.fill.crops import CropOptions
from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.fill.sharing import fill_shot_on
from e2fgvi_cli.fill.stream import fill_shot
from e2fgvi_cli.frames.stages import HoledFrame
from e2fgvi_cli.types import Window

from .fake_engine import FakeEngine, stream


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_several_engines_fill_a_shot_as_one_does(data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 130))
    options = WindowOptions(
        data.draw(st.integers(1, 5)),
        data.draw(st.integers(1, 9)),
        data.draw(st.none() | st.integers(0, 3)),
        released=data.draw(st.booleans()),
        crops=CropOptions(margin=4, overhead=0, block_windows=data.draw(st.integers(1, 3))),
    )
    items = stream(count, data.draw(st.lists(st.booleans() | st.just(True), min_size=count, max_size=count)))
    alone = list(fill_shot(items, one := FakeEngine(), options))
    engines = [FakeEngine() for _ in range(data.draw(st.integers(1, 3)))]
    held = data.draw(st.integers(0, 200)) * (items[0].held_bytes if items else 1)
    shared = list(fill_shot_on(engines, items, options, held=held, shortest=data.draw(st.integers(1, 40))))
    assert [f.source.frame.index for f in shared] == list(range(count))
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(alone, shared, strict=True))
    assert sum(len(e.windows) for e in engines) == len(one.windows), "no window is computed twice"


def assert_nobody_works() -> None:
    """The devices' threads stay, for the next shot, and have nothing to do."""
    assert not [t.name for t in threading.enumerate() if t.name.startswith("shared-reader")]
    assert sharing._idle_threads[0]
    assert sharing._idle_threads[1]
    for thread in itertools.chain(*sharing._idle_threads.values()):
        thread.submit(int).result(timeout=1)


class Slow(FakeEngine):
    """A device: a window takes time, and nobody else's."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def fill(self, window: Window, *others: Any) -> Any:
        """As the fake one, later."""
        time.sleep(self.seconds)
        return super().fill(window, *others)


def test_devices_share_by_what_they_can_and_compute_no_window_twice() -> None:
    """The slower device fills less; windows across a cut are computed by one of both."""
    engines = [Slow(0.01), Slow(0.03)]
    assert len(list(fill_shot_on(engines, stream(800, [True] * 800), WindowOptions()))) == 800
    fast, slow = (len(e.windows) for e in engines)
    assert 0.15 < slow / (fast + slow) < 0.4, "a quarter, if nothing else keeps this machine busy"
    assert fast + slow == 160


def test_devices_go_on_while_the_frames_are_waiting_to_be_written() -> None:
    """Reading must not wait for whoever takes the frames, until as many are held as may be."""
    items, read = stream(600, [True] * 600), []

    def source() -> Iterator[HoledFrame]:
        for item in items:
            read.append(item)
            yield item

    engines = [FakeEngine(), FakeEngine()]
    frames = fill_shot_on(engines, source(), WindowOptions(), held=200 * items[0].held_bytes)
    next(frames)  # and no more of them are taken
    deadline = time.monotonic() + 20
    while len(read) < 201 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    assert len(read) == 201
    # A window needs 65 frames after its centre.
    assert sum(len(e.windows) for e in engines) >= (201 - 65) // 5
    assert len(list(frames)) == 599


def test_devices_that_wait_for_frames_do_not_wake_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with 32 cores two that did left a third of the processor time to whoever read."""
    told = []

    class Counting(threading.Condition):
        def notify_all(self) -> None:
            told.append(0)
            super().notify_all()

    monkeypatch.setattr(sharing, "Condition", Counting)

    def source() -> Iterator[HoledFrame]:
        for number, item in enumerate(stream(60, [True] * 60)):
            if number == 50:  # both have a piece by now, and neither has all that its first window needs
                time.sleep(0.5)
                assert len(told) < 400
            yield item

    assert len(list(fill_shot_on([FakeEngine(), FakeEngine()], source(), WindowOptions(), shortest=20))) == 60


def test_nothing_is_read_that_no_device_can_begin_with_yet() -> None:
    items, read = stream(900, [True] * 900), []

    def source() -> Iterator[HoledFrame]:
        for item in items:
            read.append(item)
            yield item

    frames = fill_shot_on([FakeEngine(), FakeEngine()], source(), WindowOptions(), held=900 * items[0].held_bytes)
    next(frames)
    time.sleep(0.5)
    assert len(read) < 3 * sharing.LONGEST_STRETCH + 80
    assert len(list(frames)) == 899


def test_a_window_that_needs_more_than_may_be_held_gets_it() -> None:
    """References may lie further ahead than frames may wait."""
    options = WindowOptions(5, 10, 30)
    frames = fill_shot_on([FakeEngine(), FakeEngine()], stream(400, [True] * 400), options, held=1, shortest=10)
    assert len(list(frames)) == 400


def test_shots_at_the_same_time_have_threads_of_their_own() -> None:
    """Whoever takes frames of two clips by turns would wait forever if one's devices waited for the other's."""
    clips = [stream(300, [True] * 300) for _ in range(2)]
    shots = [fill_shot_on([FakeEngine(), FakeEngine()], items, WindowOptions(), held=1) for items in clips]
    assert sum(1 for _ in zip(*shots, strict=True)) == 300
    before = threading.active_count()
    assert len(list(fill_shot_on([FakeEngine(), FakeEngine()], clips[0], WindowOptions()))) == 300
    assert threading.active_count() <= before


def test_frames_leave_a_piece_before_all_of_it_is_computed() -> None:
    engine, taken = FakeEngine(), threading.Event()
    compute = engine.fill

    def waits(window: Window, *others: Any) -> Any:
        if window.center == 30:
            assert taken.wait(20), "frame 0 is finished, and nobody got it"
        return compute(window, *others)

    engine.fill = waits  # type: ignore[method-assign]
    frames = fill_shot_on([engine], stream(60, [True] * 60), WindowOptions())
    assert next(frames).source.frame.index == 0
    taken.set()
    assert len(list(frames)) == 59


@pytest.mark.parametrize("broken", ["source", "engine"])
def test_what_goes_wrong_is_raised_after_the_frames_before_it(broken: str) -> None:
    class Fails(FakeEngine):
        def fill(self, window: Window, *others: Any) -> Any:
            if broken == "engine" and window.center == 100:
                raise RuntimeError("no more")
            return super().fill(window, *others)

    def source() -> Iterator[HoledFrame]:
        for i, item in enumerate(stream(200, [True] * 200)):
            if broken == "source" and i == 150:
                raise RuntimeError("no more")
            yield item

    got: list[int] = []
    frames = fill_shot_on([Fails(), Fails()], source(), WindowOptions(), shortest=20)
    with pytest.raises(RuntimeError, match="no more"):
        got.extend(frame.source.frame.index for frame in frames)
    assert got == list(range(len(got)))
    # With the engine: what its last whole window made final, or the piece before it. With the source: windows need 65
    # frames after them.
    assert 70 <= len(got) <= 150
    assert_nobody_works()


def test_a_failure_behind_a_cut_reaches_the_piece_before() -> None:
    """Its last frames need a window that failed: it must not wait for it, nor hand them out without."""

    class FailsFirst(FakeEngine):
        def fill(self, window: Window, *others: Any) -> Any:
            raise RuntimeError("no more")

    got: list[int] = []
    with pytest.raises(RuntimeError, match="no more"):
        got.extend(
            f.source.frame.index
            for f in fill_shot_on([Slow(0.01), FailsFirst()], stream(300, [True] * 300), WindowOptions())
        )
    assert got == list(range(len(got)))
    assert len(got) % 5 == 0
    assert_nobody_works()


def test_nothing_runs_on_after_the_frames_are_given_up() -> None:
    read: list[int] = []

    def source() -> Iterator[HoledFrame]:
        for i, item in enumerate(stream(400, [True] * 400)):
            if i > 100:
                time.sleep(0.05)  # long for one piece, too long for the clip
            read.append(i)
            yield item

    frames = fill_shot_on([FakeEngine(), FakeEngine()], source(), WindowOptions(), shortest=20)
    next(frames)
    while len(read) < 105:
        time.sleep(0.01)
    frames.close()  # type: ignore[attr-defined]
    assert len(read) < 110
    assert_nobody_works()
