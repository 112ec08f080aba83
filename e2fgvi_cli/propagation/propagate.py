"""Image propagation: what other frames show of a hole is taken from there, before the network sees the frames.

Known in the field as the first stage of ProPainter (Zhou et al., ICCV 2023), there along completed optical flow. Here
frames are aligned by one homography a neighbouring pair, which neither holes nor moving objects disturb and which keeps
sharpness over many frames. Where the scene does not move like that, aligned frames do not fit around the hole or
contradict each other, and the pixel is left to the network. numpy and OpenCV, no torch. Which pixels a hole gets is
`propagation.lookup`'s, or `propagation.gpu.lookup`'s on a GPU.

Shape legend: H W the frame, h w its coarse picture, n pixels of the hole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count as numbers
from typing import TYPE_CHECKING

import numpy as np

from ..frames.stages import Found
from .homography import (
    DIRECT_FROM,
    CoarseFrame,
    Homography,
    Surroundings,
    estimate_homography,
    inverse,
)
from .lookup import look_up
from .options import PropagationOptions
from .query import (
    LEAST_PIXELS,
    Answer,
    Lookup,
    Neighbour,
    Query,
    View,
    affordable_reach,
    coarse_region,
    distances,
)
from .reliability import reliable
from .steps import Step, coarse_frame, step_between, view_of

if TYPE_CHECKING:
    from ..frames.stages import HoledFrame


WORKERS = 4
"""Threads. They share the interpreter between many short calls, so more of them are slower."""
JUDGES = 2
"""Threads more, where a device looks up: they judge what it has found, and it goes on."""
RING = 1 / 12
"""Of the frame's shorter side: how far around the hole frames are compared."""


def propagate(
    items: Iterable[HoledFrame],
    options: PropagationOptions,
    start: int = 0,
    stop: int | None = None,
    lookup: Lookup | Future[Lookup | None] | None = None,
) -> Iterator[tuple[HoledFrame, Found | None]]:
    """Frames start..stop-1 of a shot (None: all), in order, each with what others show of its hole (None: nothing).

    Reads `options.reach` frames ahead and holds as many behind, fewer where frames are large; and a few more that
    threads work on.
    lookup: a device's, which gets one query at a time; None: OpenCV's, several at once. Where it is still to come, what
    does not need it begins.
    """
    source = enumerate(items)
    pending: deque[tuple[HoledFrame, Future[Found | None] | None]] = deque()
    with (
        ThreadPoolExecutor(WORKERS, thread_name_prefix="propagation") as pool,
        ThreadPoolExecutor(1, thread_name_prefix="lookup") as alone,
        ThreadPoolExecutor(JUDGES, thread_name_prefix="judge") as judges,
    ):
        shot = _FramesInReach(pool, lambda: _device(lookup, alone, judges))
        try:
            for index in numbers() if stop is None else range(stop):
                while shot.count <= index + options.reach and (following := next(source, None)) is not None:
                    if shot.count == 0:
                        first = following[1].frame
                        reach = affordable_reach(first.size, first.rgb.itemsize, options.reach)
                        options = replace(options, reach=reach)
                    shot.items[following[0]] = following[1]
                    shot.count += 1
                if index >= shot.count:
                    break
                if index >= start:
                    pending.append((shot.items[index], shot.search(index, options)))
                if len(pending) > 2 * WORKERS:
                    yield _awaited(pending.popleft())
                shot.forget(index - options.reach)
            while pending:
                yield _awaited(pending.popleft())
        finally:
            for _, task in pending:
                if task is not None:
                    task.cancel()


def _awaited(entry: tuple[HoledFrame, Future[Found | None] | None]) -> tuple[HoledFrame, Found | None]:
    item, task = entry
    return item, None if task is None else task.result()


_DirectAlignments = dict[int, Homography]
"""How one frame moves to later ones, by number: where keypoints could be followed straight to them."""


class _FramesInReach:
    """The frames within reach by number, and how they move. Used by one thread; its tasks get what they need when they
    are made."""

    def __init__(self, pool: ThreadPoolExecutor, device: Callable[[], _Device | None]) -> None:
        """device: what looks up instead of OpenCV in `pool`; asked for once, when all that can be done before is on its
        way."""
        self.items: dict[int, HoledFrame] = {}
        self.count = 0
        """Frames read so far."""
        self._pool, self._ask = pool, device
        self._views: dict[int, Future[View]] = {}
        self._coarse_frames: dict[int, Future[CoarseFrame]] = {}
        self._steps: dict[int, Future[Step | None]] = {}
        self._direct: dict[int, Future[_DirectAlignments]] = {}

    @cached_property
    def _device(self) -> _Device | None:
        return self._ask()

    def forget(self, before: int) -> None:
        for known in (self.items, self._views, self._coarse_frames, self._steps, self._direct):
            for i in [i for i in known if i < before]:
                del known[i]

    def search(self, index: int, options: PropagationOptions) -> Future[Found | None] | None:
        """Start looking for the hole of frame `index`; None if it has none."""
        item = self.items[index]
        if item.box is None:
            return None
        low, high = max(0, index - options.reach), min(self.count, index + options.reach + 1)
        # In this order: a task that waits for others is behind them in the queue, so there is always one that runs.
        for i in range(low, high):
            if i not in self._coarse_frames:
                self._views[i] = self._pool.submit(view_of, self.items[i])
                self._coarse_frames[i] = self._pool.submit(_coarse_frame, self._views[i])
        for i in range(low, high - 1):
            if i not in self._steps:
                self._steps[i] = self._pool.submit(_step, self._coarse_frames[i], self._coarse_frames[i + 1])
        steps = {i: self._steps[i] for i in range(low, high - 1)}
        views = {i: self._views[i] for i in range(low, high)}
        coarse_frames = {i: self._coarse_frames[i] for i in range(low, high)}
        if self._device is not None and getattr(self._device.lookup, "aligns", False):
            query = self._pool.submit(_chained_query, item, index, views, coarse_frames, steps, options)
            return self._device.search(item, query)
        direct = self._direct_alignments(index, options.reach)
        neighbours = _aligned(item, index, views, coarse_frames, steps, direct, options)
        if self._device is None:
            return self._pool.submit(_recover, item, index, views[index], neighbours, options)
        return self._device.search(item, self._pool.submit(_query, item, index, views[index], neighbours, options))

    def _direct_alignments(self, index: int, reach: int) -> dict[int, Future[_DirectAlignments]]:
        """By the earlier one of two frames, how it moves to the later one: of frame `index` and of those before it that
        look at it."""
        far = [d for d in distances(reach) if d >= DIRECT_FROM]
        found = {}
        for i in (*(index - d for d in reversed(far)), index):
            if i < 0:
                continue
            if i not in self._direct:
                # A frame that was not searched itself, for it has no hole or lies before `start`, is looked at by later
                # ones alone.
                later = [i + d for d in far if index <= i + d < self.count]
                if i < index:
                    later = [j for j in later if self.items[j].box is not None]
                steps = {j: self._steps[j] for j in range(i, max(later, default=i))}
                coarse_frames = {j: self._coarse_frames[j] for j in (i, *later)}
                self._direct[i] = self._pool.submit(_align_directly, i, coarse_frames, steps, reach)
            found[i] = self._direct[i]
        return found


@dataclass(frozen=True)
class _Device:
    """A device's lookup. It takes turns: queries are made ready by other threads, and answers are waited for and judged
    by others again."""

    lookup: Lookup
    alone: ThreadPoolExecutor
    judges: ThreadPoolExecutor

    def search(self, item: HoledFrame, query: Future[Query]) -> Future[Found | None]:
        """What becomes of `query`."""
        asked = self.alone.submit(lambda: _asked(self.lookup, query.result()))
        return self.judges.submit(lambda: _shown(item, query.result(), asked.result()()))


def _asked(lookup: Lookup, query: Query) -> Callable[[], Answer]:
    """What waits for the answer; where the lookup cannot but answer at once, it is there."""
    ask = getattr(lookup, "ask", None)
    if ask is not None:
        waiting: Callable[[], Answer] = ask(query)
        return waiting
    answer = lookup(query)
    return lambda: answer


def _device(
    lookup: Lookup | Future[Lookup | None] | None, alone: ThreadPoolExecutor, judges: ThreadPoolExecutor
) -> _Device | None:
    found = lookup.result() if isinstance(lookup, Future) else lookup
    return None if found is None else _Device(found, alone, judges)


# -- homography --------------------------------------------------------------------------------------------------------


def _coarse_frame(view: Future[View]) -> CoarseFrame:
    return coarse_frame(view.result())


def _step(earlier: Future[CoarseFrame], later: Future[CoarseFrame]) -> Step | None:
    return step_between(earlier.result(), later.result())


def _align_directly(
    index: int, coarse_frames: dict[int, Future[CoarseFrame]], steps: dict[int, Future[Step | None]], reach: int
) -> _DirectAlignments:
    """The homography from frame `index` to each later one in `coarse_frames`, from keypoints followed straight from one
    to the other."""
    one, found = coarse_frames[index].result(), {}
    for i, homography in _chained(index, steps, reach):
        if i in coarse_frames:
            other = coarse_frames[i].result()
            expected = other.to_coarse @ homography @ one.from_coarse
            direct = estimate_homography(one.gray, one.keypoints, other.gray, other.near_hole, expected)
            if direct is not None:
                found[i] = np.asarray(other.from_coarse @ direct @ one.to_coarse)
    return found


def _aligned(
    item: HoledFrame,
    index: int,
    views: dict[int, Future[View]],
    coarse_frames: dict[int, Future[CoarseFrame]],
    steps: dict[int, Future[Step | None]],
    direct: dict[int, Future[_DirectAlignments]],
    options: PropagationOptions,
) -> Iterator[Neighbour]:
    """Other frames, nearest first, with the best homography to each that is known."""
    around = Surroundings.of(coarse_frames[index].result(), coarse_region(views[index].result(), _region(item)))
    for i, homography in _chained(index, steps, options.reach):
        if abs(i - index) >= DIRECT_FROM:
            direct_one = direct[min(i, index)].result().get(max(i, index))
            if direct_one is not None:
                direct_one = direct_one if i > index else inverse(direct_one)
                homography = around.better_fitting(homography, direct_one, coarse_frames[i].result())
        yield i, views[i].result(), homography


def _chained_query(
    item: HoledFrame,
    index: int,
    views: dict[int, Future[View]],
    coarse_frames: dict[int, Future[CoarseFrame]],
    steps: dict[int, Future[Step | None]],
    options: PropagationOptions,
) -> Query:
    """Other frames with the chained homography to each, for a lookup that aligns."""
    others = [(i, views[i].result(), homography) for i, homography in _chained(index, steps, options.reach)]
    known_frames = {i: coarse_frames[i].result() for i in (index, *(number for number, _, _ in others))}
    return replace(_query(item, index, views[index], others, options), coarse_frames=known_frames)


def _chained(index: int, steps: dict[int, Future[Step | None]], reach: int) -> Iterator[tuple[int, Homography]]:
    """Other frames, nearest first, with the homography from frame `index` to each; a side ends where none can be
    found."""
    forward: Homography | None = np.eye(3)
    backward: Homography | None = np.eye(3)
    looked_at = set(distances(reach))
    for distance in range(1, reach + 1):
        if forward is not None:
            task = steps.get(index + distance - 1)
            step = None if task is None else task.result()
            forward = None if step is None else step.forward @ forward
            if forward is not None and distance in looked_at:
                yield index + distance, forward
        if backward is not None:
            task = steps.get(index - distance)
            step = None if task is None else task.result()
            backward = None if step is None else step.backward @ backward
            if backward is not None and distance in looked_at:
                yield index - distance, backward


# -- pixels ------------------------------------------------------------------------------------------------------------


def _query(
    item: HoledFrame, index: int, coming: Future[View], others: Iterable[Neighbour], options: PropagationOptions
) -> Query:
    """All that is asked of other frames is ready then."""
    region = _region(item)
    query = Query(index, coming.result(), region, item.alpha[region] > 0, list(others), options)
    query.prepare()
    return query


def _recover(
    item: HoledFrame, index: int, coming: Future[View], others: Iterable[Neighbour], options: PropagationOptions
) -> Found | None:
    """By OpenCV, which looks at others only until enough is found."""
    region = _region(item)
    query = Query(index, coming.result(), region, item.alpha[region] > 0, others, options)
    return _shown(item, query, look_up(query))


def _shown(item: HoledFrame, query: Query, answer: Answer) -> Found | None:
    """What of the answer is reliable, in the frame."""
    import cv2

    region, need, rgb = query.region, query.need, query.view.rgb
    known = np.zeros(need.shape, np.uint8)
    known[need] = reliable(query, answer)
    known &= np.asarray(cv2.morphologyEx(known, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    if not known.any():
        return None
    result, where = rgb.copy(), np.zeros(rgb.shape[:2], np.bool_)
    where[region] = known
    result[region][known > 0] = answer.colours[known[need] > 0]
    return result, where


def _region(item: HoledFrame) -> tuple[slice, slice]:
    """The hole with the ring around it, as far as the frame goes."""
    assert item.box is not None, "only frames with holes are searched for"
    ring = max(LEAST_PIXELS, round(RING * min(item.frame.size)))
    top, left, bottom, right = item.box
    return slice(max(0, top - ring), bottom + ring), slice(max(0, left - ring), right + ring)
