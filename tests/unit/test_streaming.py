"""The stream with a make-believe engine: order, finality, bounded memory, no work where there is no hole."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2fgvi_cli.fill.blending import Prediction, WeightedBlender
from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.fill.stream import fill_shot
from e2fgvi_cli.frames.stages import FinishedFrame, HoledFrame
from e2fgvi_cli.threads.later import Later
from e2fgvi_cli.types import Box, Frame, Window


class FakeEngine:
    """Predicts level i for frame i, and checks that every frame it is shown is really there."""

    def __init__(self) -> None:
        self.windows: list[Window] = []
        self.whole = 0
        self.features: set[int] = set()
        self.most_features = 0
        self.shots = 0
        self.crops: list[tuple[Box, ...]] = []
        self.size_multiple, self.max_pixels = (2, 2), None

    def lookup(self) -> None:
        return None

    def start_shot(self) -> None:
        self.shots += 1
        self.features.clear()

    def forget(self, before: int, keep: Callable[[int], bool]) -> None:
        self.features = {i for i in self.features if i >= before or keep(i)}

    def blender(self) -> WeightedBlender:
        return WeightedBlender()

    def use_crops(self, crops: Iterable[Box]) -> None:
        self.crops.append(tuple(crops))

    def fill(
        self,
        window: Window,
        frame: Callable[[int], tuple[np.ndarray, np.ndarray]],
        crop: Box,
        wanted: Sequence[tuple[int, Box]],
    ) -> list[tuple[int, Prediction]]:
        self.windows.append(window)
        for i in window.frames:
            if i not in self.features:
                assert frame(i)[0][0, 0, 0] == i % 256
            self.features.add(i)
        self.most_features = max(self.most_features, len(self.features))
        assert {i for i, _ in wanted} <= set(window.local)
        return [
            (i, Prediction(box, np.full((box[2] - box[0], box[3] - box[1], 3), (i % 200) / 255, np.float32)))
            for i, box in wanted
        ]

    def fill_whole_window(
        self,
        window: Window,
        frame: Callable[[int], tuple[np.ndarray, np.ndarray]],
        crop: Box,
        wanted: Sequence[tuple[int, Box]],
    ) -> list[tuple[int, Prediction]]:
        self.whole += 1
        return self.fill(window, frame, crop, wanted)


class Source:
    """Frames whose every pixel is their number; counts how many are alive between reading and finishing."""

    def __init__(self, count: int, holed: Callable[[int], bool] = lambda i: True) -> None:
        self.count, self.holed, self.read = count, holed, 0

    def __iter__(self) -> Iterator[HoledFrame]:
        for i in range(self.count):
            self.read += 1
            hole = np.zeros((6, 6), np.uint8)
            hole[2:4, 2:4] = self.holed(i)
            frame = Frame(i, np.full((6, 6, 3), i % 256, np.uint8), Fraction(i, 25))
            yield HoledFrame.of(frame, hole, hole.astype(np.float32))


def run(source: Source, options: WindowOptions) -> tuple[list[FinishedFrame], FakeEngine, int]:
    engine, finished, most_ahead = FakeEngine(), [], 0
    for item in fill_shot(source, engine, options):
        finished.append(item)
        most_ahead = max(most_ahead, source.read - len(finished))
    return finished, engine, most_ahead


@given(st.integers(0, 90), st.integers(1, 7), st.integers(1, 12), st.none() | st.integers(0, 5), st.booleans())
def test_every_frame_comes_out_once_in_order_and_filled(
    count: int, stride: int, reference: int, most: int | None, released: bool
) -> None:
    finished, _, _ = run(Source(count), WindowOptions(stride, reference, most, released))
    assert [f.source.frame.index for f in finished] == list(range(count))
    for i, item in enumerate(finished):
        assert item.rgb[2, 2].tolist() == [i % 200] * 3
        assert item.rgb[0, 0].tolist() == [i % 256] * 3


def test_reading_ahead_and_features_do_not_grow_with_the_clip() -> None:
    options = WindowOptions(5, 10, 6)
    figures = []
    for count in (200, 2000):
        finished, engine, ahead = run(Source(count), options)
        assert len(finished) == count
        figures.append((ahead, engine.most_features))
    assert figures[0] == figures[1]
    assert figures[0][0] <= 5 + 10 * 6 + 2 * 5


def test_frames_far_from_any_hole_cost_nothing() -> None:
    finished, engine, _ = run(Source(100, holed=lambda i: i == 50), WindowOptions())
    assert [f.source.frame.index for f in finished if f.filled is not None] == [50]
    assert [w.center for w in engine.windows] == [45, 50, 55]
    assert all(np.array_equal(f.rgb, f.source.frame.rgb) for f in finished if f.source.frame.index != 50)


def test_no_hole_at_all_never_runs_the_network() -> None:
    finished, engine, _ = run(Source(30, holed=lambda i: False), WindowOptions())
    assert len(finished) == 30
    assert engine.windows == []


def test_released_mode_uses_whole_windows_over_the_whole_clip() -> None:
    _, engine, _ = run(Source(45), WindowOptions(released=True, max_references=None))
    assert engine.whole == len(engine.windows) == 9
    assert engine.windows[0].reference == (10, 20, 30, 40)


def test_a_failing_source_is_not_swallowed() -> None:
    def broken() -> Iterator[HoledFrame]:
        yield from Source(3)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(fill_shot(broken(), FakeEngine(), WindowOptions()))


def test_later_computes_once_and_lets_go() -> None:
    class Pixels:
        calls = 0

        def make(self) -> int:
            self.calls += 1
            if self.calls == 1:
                raise OSError("not yet")
            return 7

    source = Pixels()
    alive, later = weakref.ref(source), Later(source.make)
    with pytest.raises(OSError, match="not yet"):
        later.get()
    assert later.get() == later.get() == 7
    assert source.calls == 2
    del source
    assert alive() is None, "what it was computed from is not held any longer"
