"""Image propagation: what other frames show of a hole is taken from there, before the network sees the frames.

Known in the field as the first stage of ProPainter (Zhou et al., ICCV 2023), there along completed optical flow. Here frames are aligned
by one homography a neighbouring pair, which neither holes nor moving objects disturb and which keeps sharpness over many frames. Where the
scene does not move like that, aligned frames do not fit around the hole or contradict each other, and the pixel is left to the network.
numpy and OpenCV, no torch. Which pixels a hole gets is `propagation.lookup`'s, or `propagation.gpu.lookup`'s on a GPU.

Shape legend: H W the frame, h w its coarse picture, n pixels of the hole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count as numbers
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..frames.stages import Found
from .homography import Around, Comparable, Motion, features, follow, inverse
from .lookup import look_up
from .options import PropagationOptions
from .query import LEAST_PIXELS, Lookup, Neighbour, Query, View, affordable_reach, coarse_region, coarse_size

if TYPE_CHECKING:
    from ..frames.stages import HoledFrame


WORKERS = 4
"""Threads. They share the interpreter between many short calls, so more of them are slower (docs/image-propagation.md)."""
CLEARANCE = 4
"""Pixels (of the coarse pictures) that features keep from holes."""
SPACING = 1.1
"""Each frame that is looked at is so many times as far away as the one before."""
FOLLOWED_AFRESH = 4
"""From so many frames on features are followed from one frame to the other, not only from frame to frame: small errors add up."""
RING = 1 / 12
"""Of the frame's shorter side: how far around the hole frames are compared."""


def propagate(
    items: Iterable[HoledFrame],
    options: PropagationOptions,
    start: int = 0,
    stop: int | None = None,
    lookup: Lookup | None = None,
) -> Iterator[tuple[HoledFrame, Found | None]]:
    """Frames start..stop-1 of a shot (None: all), in order, each with what others show of its hole (None: nothing).

    Reads `options.reach` frames ahead and holds as many behind, fewer where frames are large; and a few more that threads work on.
    lookup: a device's, which gets one query at a time; None: OpenCV's, several at once.
    """
    source = enumerate(items)
    pending: deque[tuple[HoledFrame, Future[Found | None] | None]] = deque()
    with (
        ThreadPoolExecutor(WORKERS, thread_name_prefix="propagation") as pool,
        ThreadPoolExecutor(1, thread_name_prefix="lookup") as alone,
    ):
        shot = _Shot(pool) if lookup is None else _Shot(pool, alone, lookup)
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


_Afresh = dict[int, Motion]
"""How one frame moves to later ones, by number: where features could be followed straight to them."""


class _Shot:
    """The frames within reach by number, and how they move. Used by one thread; its tasks get what they need when they are made."""

    def __init__(
        self, pool: ThreadPoolExecutor, looking: ThreadPoolExecutor | None = None, lookup: Lookup = look_up
    ) -> None:
        """looking: where lookups run, None: in `pool`."""
        self.items: dict[int, HoledFrame] = {}
        self.count = 0
        """Frames read so far."""
        self._pool, self._looking, self._lookup = pool, looking or pool, lookup
        self._views: dict[int, Future[View]] = {}
        self._small: dict[int, Future[Comparable]] = {}
        self._motions: dict[int, Future[_Step | None]] = {}
        self._afresh: dict[int, Future[_Afresh]] = {}

    def forget(self, before: int) -> None:
        for known in (self.items, self._views, self._small, self._motions, self._afresh):
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
            if i not in self._small:
                self._views[i] = self._pool.submit(_view, self.items[i])
                self._small[i] = self._pool.submit(_small, self._views[i])
        for i in range(low, high - 1):
            if i not in self._motions:
                self._motions[i] = self._pool.submit(_motion, self._small[i], self._small[i + 1])
        motions = {i: self._motions[i] for i in range(low, high - 1)}
        views = {i: self._views[i] for i in range(low, high)}
        small = {i: self._small[i] for i in range(low, high)}
        afresh = self._straight_ways(index, options.reach)
        others: Iterable[Neighbour] = _aligned(item, index, views, small, motions, afresh, options)
        if self._looking is not self._pool:
            # Lookups of a device take turns: what they look at is made ready by the others' threads.
            others = _Ready(self._pool.submit(list, others))
        return self._looking.submit(_recover, item, index, views[index], others, options, self._lookup)

    def _straight_ways(self, index: int, reach: int) -> dict[int, Future[_Afresh]]:
        """By the earlier one of two frames, how it moves to the later one: of frame `index` and of those before it that look at it."""
        far = [d for d in _distances(reach) if d >= FOLLOWED_AFRESH]
        found = {}
        for i in (*(index - d for d in reversed(far)), index):
            if i < 0:
                continue
            if i not in self._afresh:
                # A frame that was not searched itself, for it has no hole or lies before `start`, is looked at by later ones alone.
                later = [i + d for d in far if index <= i + d < self.count]
                if i < index:
                    later = [j for j in later if self.items[j].box is not None]
                motions = {j: self._motions[j] for j in range(i, max(later, default=i))}
                small = {j: self._small[j] for j in (i, *later)}
                self._afresh[i] = self._pool.submit(_follow_afresh, i, small, motions, reach)
            found[i] = self._afresh[i]
        return found


class _Ready:
    """What a thread makes a list of, to be waited for where it is needed."""

    def __init__(self, made: Future[list[Neighbour]]) -> None:
        self._made = made

    def __iter__(self) -> Iterator[Neighbour]:
        return iter(self._made.result())


# -- motion ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Step:
    """From a frame to the next, and back."""

    forward: Motion
    backward: Motion


def _small(view: Future[View]) -> Comparable:
    import cv2

    frame = view.result()
    coarse: NDArray[Any] = frame.coarse
    eight = coarse if coarse.dtype == np.uint8 else (coarse >> 8).astype(np.uint8)
    near = cv2.dilate(frame.hole, np.ones((2 * CLEARANCE + 1, 2 * CLEARANCE + 1), np.uint8))
    gray: NDArray[np.uint8] = np.asarray(cv2.cvtColor(eight, cv2.COLOR_RGB2GRAY), np.uint8)
    scale = frame.to_coarse
    return Comparable(gray, np.asarray(near), features(gray, np.asarray(near)), scale, inverse(scale))


def _motion(earlier: Future[Comparable], later: Future[Comparable]) -> _Step | None:
    """From one frame to the next, in the frames' own pixels."""
    one, other = earlier.result(), later.result()
    found = follow(one.gray, one.points, other.gray, other.near)
    if found is None:
        return None
    motion = np.asarray(other.from_coarse @ found @ one.to_coarse)
    return _Step(motion, inverse(motion))


def _follow_afresh(
    index: int, small: dict[int, Future[Comparable]], motions: dict[int, Future[_Step | None]], reach: int
) -> _Afresh:
    """The motion from frame `index` to each later one in `small`, from features followed straight from one to the other."""
    one, found = small[index].result(), {}
    for i, motion in _neighbours(index, motions, reach):
        if i in small:
            other = small[i].result()
            expected = other.to_coarse @ motion @ one.from_coarse
            afresh = follow(one.gray, one.points, other.gray, other.near, expected)
            if afresh is not None:
                found[i] = np.asarray(other.from_coarse @ afresh @ one.to_coarse)
    return found


def _aligned(
    item: HoledFrame,
    index: int,
    views: dict[int, Future[View]],
    small: dict[int, Future[Comparable]],
    motions: dict[int, Future[_Step | None]],
    afresh: dict[int, Future[_Afresh]],
    options: PropagationOptions,
) -> Iterator[Neighbour]:
    """Other frames, nearest first, with the best motion to each that is known."""
    around = Around.of(small[index].result(), coarse_region(views[index].result(), _region(item)))
    for i, motion in _neighbours(index, motions, options.reach):
        if abs(i - index) >= FOLLOWED_AFRESH:
            straight = afresh[min(i, index)].result().get(max(i, index))
            if straight is not None:
                straight = straight if i > index else inverse(straight)
                motion = around.fitting(motion, straight, small[i].result())
        yield i, views[i].result(), motion


def _neighbours(index: int, motions: dict[int, Future[_Step | None]], reach: int) -> Iterator[tuple[int, Motion]]:
    """Other frames, nearest first, with the motion from frame `index` to each; a side ends where motion cannot be told."""
    forward: Motion | None = np.eye(3)
    backward: Motion | None = np.eye(3)
    looked_at = set(_distances(reach))
    for distance in range(1, reach + 1):
        if forward is not None:
            task = motions.get(index + distance - 1)
            step = None if task is None else task.result()
            forward = None if step is None else step.forward @ forward
            if forward is not None and distance in looked_at:
                yield index + distance, forward
        if backward is not None:
            task = motions.get(index - distance)
            step = None if task is None else task.result()
            backward = None if step is None else step.backward @ backward
            if backward is not None and distance in looked_at:
                yield index - distance, backward


def _distances(reach: int) -> list[int]:
    """1, 2, 3, ..., further and further apart: what far frames show they show for long."""
    found = [1]
    while (following := max(found[-1] + 1, round(found[-1] * SPACING))) <= reach:
        found.append(following)
    return found


# -- pixels ----------------------------------------------------------------------------------------------------------------


def _view(item: HoledFrame) -> View:
    import cv2

    rgb: NDArray[Any] = item.frame.rgb
    coarse, hole = rgb, np.asarray(item.alpha > 0, np.uint8)
    size = coarse_size(item.frame.size)[::-1]
    if size != item.frame.size[::-1]:
        coarse = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        hole = np.asarray(cv2.resize(hole * np.uint8(255), size, interpolation=cv2.INTER_AREA) > 0, np.uint8)
    return View(rgb, coarse, hole, np.asarray(1 - cv2.dilate(hole, np.ones((5, 5), np.uint8)), np.uint8))


def _recover(
    item: HoledFrame,
    index: int,
    coming: Future[View],
    others: Iterable[Neighbour],
    options: PropagationOptions,
    lookup: Lookup,
) -> Found | None:
    import cv2

    region = _region(item)
    need = item.alpha[region] > 0
    view = coming.result()
    colours, found = lookup(Query(index, view, region, need, others, options))
    known = np.zeros(need.shape, np.uint8)
    known[need] = found
    known &= np.asarray(cv2.morphologyEx(known, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    if not known.any():
        return None
    result, where = view.rgb.copy(), np.zeros(view.rgb.shape[:2], np.bool_)
    where[region] = known
    result[region][known > 0] = colours[known[need] > 0]
    return result, where


def _region(item: HoledFrame) -> tuple[slice, slice]:
    """The hole with the ring around it, as far as the frame goes."""
    assert item.box is not None, "only frames with holes are searched for"
    ring = max(LEAST_PIXELS, round(RING * min(item.frame.size)))
    top, left, bottom, right = item.box
    return slice(max(0, top - ring), bottom + ring), slice(max(0, left - ring), right + ring)
