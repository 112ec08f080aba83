"""From an ordered stream of frames and holes to an ordered stream of finished frames, in bounded memory.

Knows windows, crops, blending and what may be forgotten; knows no tensors and no files, so it is tested with a
make-believe engine. Frames are numbered from the start of their shot; windows, crops, flow and references never leave
it.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

from ..frames.stages import FinishedFrame, Found, HoledFrame
from ..propagation.propagate import propagate
from ..propagation.query import Lookup
from ..threads.later import Later
from ..types import Box, HoleArray, PixelArray, Window
from .blending import Blender, Prediction
from .crops import Crop, block_range, plan_crops, ramp_weights, wanted_boxes
from .exchange import Merge, Neighbours
from .options import WindowOptions
from .smoothing import smooth
from .windows import blend_weight, lookahead, plan_published_window, plan_window

T = TypeVar("T")
Wanted = Sequence[tuple[int, Box]]
"""Local frames and the part of each that is to be filled."""


class WindowEngine(Protocol):
    """What the stream needs of `engine.Engine`. Boxes are the frame's, in pixels; a prediction is valid until the next
    call."""

    @property
    def size_multiple(self) -> tuple[int, int]: ...

    @property
    def max_pixels(self) -> int | None: ...

    def blender(self) -> Blender: ...

    def lookup(self) -> Lookup | None:
        """For image propagation on this device, for one shot; None: OpenCV's is as good."""
        ...

    def start_shot(self) -> None: ...

    def use_crops(self, crops: Iterable[Box]) -> None: ...

    def forget(self, before: int, keep: Callable[[int], bool]) -> None: ...

    def fill(
        self, window: Window, frame: Callable[[int], tuple[PixelArray, HoleArray]], crop: Box, wanted: Wanted
    ) -> list[tuple[int, Prediction[Any]]]: ...

    def fill_whole_window(
        self, window: Window, frame: Callable[[int], tuple[PixelArray, HoleArray]], crop: Box, wanted: Wanted
    ) -> list[tuple[int, Prediction[Any]]]: ...


Proposed = tuple[HoledFrame, Found | None]
"""A frame, and what other frames show of its hole."""


def propose(
    items: Iterable[HoledFrame],
    options: WindowOptions,
    lookup: Lookup | Future[Lookup | None] | None,
    start: int = 0,
    stop: int | None = None,
) -> Iterable[Proposed]:
    """Frames start..stop-1 of a shot with what all of its frames show of their holes (`options.propagation`).

    Without propagation nothing is proposed, and all frames are given: nothing is around them. lookup: the engine's, or
    the promise of it.
    """
    if options.propagation is None:
        return ((item, None) for item in items)
    return propagate(items, options.propagation, start, stop, lookup)


def fill_shot(items: Iterable[HoledFrame], engine: WindowEngine, options: WindowOptions) -> Iterator[FinishedFrame]:
    """Fill the frames of one shot, in order: what other frames show, then what the network makes of the rest, then
    smoothing along time.

    Reads only as far ahead as the next window can depend on.
    """
    return smooth(fill_rest(propose(items, options, engine.lookup()), engine, options), options.smoothing)


def fill_rest(
    proposed: Iterable[Proposed],
    engine: WindowEngine,
    options: WindowOptions,
    neighbours: Neighbours | None = None,
) -> Iterator[FinishedFrame]:
    """Fill what image propagation left of the frames of one shot, in order."""
    sources: deque[Proposed] = deque()

    def opened() -> Iterator[HoledFrame]:
        for source, found in proposed:
            sources.append((source, found))
            yield source.without(found)

    for finished in fill_windows(opened(), engine, options, neighbours):
        source, found = sources.popleft()
        if found is None or source.box is None:
            yield finished
        else:
            yield FinishedFrame(source, Later(partial(_found_and_filled, finished, source.box)), found[1])


def _found_and_filled(finished: FinishedFrame, box: Box) -> PixelArray:
    """The pixels of `box` of an opened frame: what was found is in its picture, the network's in its fill."""
    filled = finished.filled
    rgb = finished.source.frame.rgb if filled is None else filled  # None: nothing was left to the network
    top, left, bottom, right = box
    return rgb[top:bottom, left:right]


def fill_windows(
    items: Iterable[HoledFrame], engine: WindowEngine, options: WindowOptions, neighbours: Neighbours | None = None
) -> Iterator[FinishedFrame]:
    """Fill the frames of one shot with the network alone, in order.

    Windows without any hole in their local frames are not computed: their frames pass through untouched. A frame is
    handed out after the window that follows its last one has been started, so that a device works on while its result
    is fetched and written.
    neighbours: only a piece of the shot is filled, and exchanges what windows across its ends say. Frames before it
    pass through, too.
    """
    shot = _OpenShot(iter(items), options, engine)
    merge = Merge(engine.blender(), options.released, neighbours)
    fill = engine.fill_whole_window if options.released else engine.fill
    engine.start_shot()
    started: list[FinishedFrame] = []
    stop: int | None = None
    for center in itertools.count(0, options.neighbor_stride):
        stop = None if neighbours is None else neighbours.stop(center)
        if stop is not None and center >= stop:
            break
        shot.read_until(center)
        if center >= shot.count:
            break
        window = shot.plan(center)
        boxes = {i: box for i in window.local if (box := shot.items[i].box) is not None}
        if boxes and center >= merge.start:
            crops = shot.crops(center)
            for number, crop in enumerate(crops):
                parts = {i: part for i, box in boxes.items() if (part := wanted_boxes(box, crops)[number]) is not None}
                if not parts:
                    continue
                for i, prediction in fill(window, shot.pixels, crop.box, list(parts.items())):
                    ramp = ramp_weights(crop, prediction.box)
                    merge.add(i, boxes[i], prediction, blend_weight(i, window), ramp, stop)
        if center == merge.start:
            merge.give_before()
        if center + options.neighbor_stride == stop:
            merge.give_after()
        # The next window begins at this centre: what lies before it is final.
        finished = list(shot.finish(center, merge))
        yield from started
        started = finished
        shot.forget(center)
        engine.forget(center, shot.may_be_reference(center))
    yield from started
    if stop is not None:
        merge.take_after()
    yield from shot.finish(shot.count if stop is None else stop, merge)


class _OpenShot:
    """The frames of a shot that may still be needed, by number."""

    def __init__(self, source: Iterator[HoledFrame], options: WindowOptions, engine: WindowEngine) -> None:
        self.items: dict[int, HoledFrame] = {}
        self.count = 0
        """Frames read so far; all of them once the source is exhausted."""
        self._source, self._options, self._engine = source, options, engine
        self._finished = 0
        self._regions: dict[int, tuple[Box, ...]] = {}
        self._block: tuple[tuple[int, int], tuple[Crop, ...]] | None = None
        plan = (options.neighbor_stride, options.reference_stride, options.max_references)
        self._ahead = None if options.released else lookahead(*plan)

    def read_until(self, center: int) -> None:
        """Have everything that the window around `center` depends on, as far as the shot goes."""
        o = self._options
        end = None if self._ahead is None else center + self._ahead + 1
        if end is not None and o.crops.enabled:
            end = max(end, block_range(center, o.neighbor_stride, o.crops.block_windows)[1])
        while end is None or self.count < end:
            item = next(self._source, None)
            if item is None:
                return
            self.items[self.count] = item
            self._regions[self.count] = item.regions
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

    def crops(self, center: int) -> tuple[Crop, ...]:
        """The crops of the block that the window around `center` belongs to; the engine is told when they change."""
        o = self._options
        size = self.items[center].frame.size
        if o.released:
            return (Crop((0, 0, *size)),)
        block = block_range(center, o.neighbor_stride, o.crops.block_windows)
        if self._block is None or self._block[0] != block:
            first, end = block
            regions = [box for i in range(first, min(end, self.count)) for box in self._regions[i]]
            limits = [n for n in (o.crops.max_pixels, self._engine.max_pixels) if n is not None]
            options = replace(o.crops, max_pixels=min(limits, default=None))
            crops = plan_crops(regions, size, self._engine.size_multiple, options)
            self._engine.use_crops(crop.box for crop in crops)
            self._block = (block, crops)
        return self._block[1]

    def pixels(self, index: int) -> tuple[PixelArray, HoleArray]:
        item = self.items[index]
        return item.frame.rgb, item.hole

    def finish(self, before: int, merge: Merge) -> Iterator[FinishedFrame]:
        """The finished frames below `before` that were not asked for yet."""
        for i in range(self._finished, before):
            item = self.items[i]
            inside = None if item.box is None else merge.finish(i, item.frame.rgb.dtype)
            yield FinishedFrame(item, None if inside is None else Later(inside))
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
        # The next block begins `neighbor_stride` before the centre that it starts with.
        o = self._options
        oldest = block_range(before, o.neighbor_stride, o.crops.block_windows)[0]
        for i in [i for i in self._regions if i < oldest]:
            del self._regions[i]
