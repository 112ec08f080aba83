"""From an ordered stream of frames and holes to an ordered stream of finished frames, in bounded memory.

Knows windows, blending and what may be forgotten; knows no tensors and no files, so it is tested with a make-believe engine.
Frames are numbered from the start of their shot; windows, flow and references never leave it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from .compose import AlphaArray, Box, Prediction, PublishedBlender, WeightedBlender, bounding_box, paste
from .types import Frame, HoleArray, PixelArray, Window
from .windows import blend_weight, lookahead, plan_published_window, plan_window


class WindowEngine(Protocol):
    """What the stream needs of `engine.Engine`."""

    def start_shot(self) -> None: ...

    def forget(self, before: int, keep: Callable[[int], bool]) -> None: ...

    def fill(
        self, window: Window, frame: Callable[[int], tuple[PixelArray, HoleArray]], wanted: Mapping[int, Box]
    ) -> dict[int, Prediction]: ...

    def fill_whole_window(
        self, window: Window, frame: Callable[[int], tuple[PixelArray, HoleArray]], wanted: Mapping[int, Box]
    ) -> dict[int, Prediction]: ...


@dataclass(frozen=True)
class WindowOptions:
    """How windows are laid. `released`: exactly as the published program does, whole clip in memory and all."""

    neighbor_stride: int = 5
    reference_stride: int = 10
    max_references: int | None = 6
    released: bool = False


@dataclass(frozen=True)
class HoledFrame:
    """A frame with its hole (H, W) in {0, 1} and the alpha map (H, W) to paste with; `box` bounds alpha, None without a hole."""

    frame: Frame
    hole: HoleArray
    alpha: AlphaArray
    box: Box | None

    @classmethod
    def of(cls, frame: Frame, hole: HoleArray, alpha: AlphaArray) -> HoledFrame:
        """With the box computed."""
        return cls(frame, hole, alpha, bounding_box(alpha))


@dataclass(frozen=True)
class FinishedFrame:
    """A frame that no later window changes. `filled` (H, W, 3) is the prediction where alpha > 0; None if there was no hole."""

    source: HoledFrame
    filled: PixelArray | None

    @property
    def rgb(self) -> PixelArray:
        """The finished picture (H, W, 3)."""
        if self.filled is None:
            return self.source.frame.rgb
        return paste(self.source.frame.rgb, self.filled, self.source.alpha)


def fill_shot(items: Iterable[HoledFrame], engine: WindowEngine, options: WindowOptions) -> Iterator[FinishedFrame]:
    """Fill the frames of one shot, in order. Reads only as far ahead as the next window can depend on.

    Windows without any hole in their local frames are not computed: their frames pass through untouched.
    """
    shot = _Shot(iter(items), options)
    blender = PublishedBlender() if options.released else WeightedBlender()
    fill = engine.fill_whole_window if options.released else engine.fill
    engine.start_shot()
    for center in itertools.count(0, options.neighbor_stride):
        shot.read_until(center)
        if center >= shot.count:
            break
        window = shot.plan(center)
        wanted = {i: box for i in window.local if (box := shot.items[i].box) is not None}
        if wanted:
            for i, prediction in fill(window, shot.pixels, wanted).items():
                blender.add(i, prediction, blend_weight(i, window))
        # The next window begins at this centre: what lies before it is final.
        yield from shot.finish(center, blender)
        shot.forget(center)
        engine.forget(center, shot.may_be_reference(center))
    yield from shot.finish(shot.count, blender)


class _Shot:
    """The frames of a shot that may still be needed, by number."""

    def __init__(self, source: Iterator[HoledFrame], options: WindowOptions) -> None:
        self.items: dict[int, HoledFrame] = {}
        self.count = 0
        """Frames read so far; all of them once the source is exhausted."""
        self._source, self._options = source, options
        self._finished = 0
        plan = (options.neighbor_stride, options.reference_stride, options.max_references)
        self._ahead = None if options.released else lookahead(*plan)

    def read_until(self, center: int) -> None:
        """Have everything that the window around `center` depends on, as far as the shot goes."""
        while self._ahead is None or self.count <= center + self._ahead:
            item = next(self._source, None)
            if item is None:
                return
            self.items[self.count] = item
            self.count += 1

    def plan(self, center: int) -> Window:
        o = self._options
        if o.released:
            return plan_published_window(
                center,
                self.count,
                neighbor_stride=o.neighbor_stride,
                reference_stride=o.reference_stride,
                max_references=o.max_references,
            )
        return plan_window(
            center,
            0,
            self.count - 1,
            neighbor_stride=o.neighbor_stride,
            reference_stride=o.reference_stride,
            max_references=o.max_references,
        )

    def pixels(self, index: int) -> tuple[PixelArray, HoleArray]:
        item = self.items[index]
        return item.frame.rgb, item.hole

    def finish(self, before: int, blender: WeightedBlender | PublishedBlender) -> Iterator[FinishedFrame]:
        for i in range(self._finished, before):
            item = self.items[i]
            filled = None if item.box is None else blender.finish(i, item.frame.rgb, item.alpha)
            yield FinishedFrame(item, filled)
        self._finished = max(self._finished, before)

    def may_be_reference(self, before: int) -> Callable[[int], bool]:
        """Which frames below `before` a later window may still take as a reference."""
        o = self._options
        if o.released:
            return lambda i: True
        if o.max_references is None:
            return lambda i: i % o.reference_stride == 0
        oldest = before - o.reference_stride * o.max_references
        return lambda i: i % o.reference_stride == 0 and i >= oldest

    def forget(self, before: int) -> None:
        keep = self.may_be_reference(before)
        for i in [i for i in self.items if i < before and not keep(i)]:
            del self.items[i]
