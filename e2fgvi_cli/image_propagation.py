"""Image propagation: what other frames show of a hole is taken from there, before the network sees the frames.

Known in the field as the first stage of ProPainter (Zhou et al., ICCV 2023), there along completed optical flow. Here frames are aligned
by one homography a neighbouring pair, which neither holes nor moving objects disturb and which keeps sharpness over many frames. Where the
scene does not move like that, aligned frames do not fit around the hole or contradict each other, and the pixel is left to the network.
numpy and OpenCV, no torch.

Shape legend: H W the frame, y x the region around a hole, k candidates, n pixels of the hole.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count as numbers
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .camera_motion import Motion, estimate_motion
from .types import HoleArray, PixelArray

if TYPE_CHECKING:
    from .streaming import HoledFrame

Found = tuple[PixelArray, NDArray[np.bool_]]
"""A frame (H, W, 3) with what was found of its hole, and where that is (H, W)."""


@dataclass(frozen=True)
class PropagationOptions:
    """What counts as seen elsewhere; levels are of 8 bits. The defaults are from docs/image-propagation.md.

    reach: frames looked at on either side, at most. candidates: frames whose pixels are compared, nearest first. One counts near a pixel if
    it fits the frame around the hole there to `fit` levels on average. A pixel is taken if at least `agreeing` candidates count, and
    differ from their median by no more than `spread` levels on average.
    """

    reach: int = 30
    candidates: int = 5
    agreeing: int = 2
    fit: float = 20.0
    spread: float = 16.0


WORKERS = 8
COARSE_PIXELS = 480
"""Longer side of the pictures that motion is estimated and frames are compared in: features are located to a fraction of a pixel anyway,
and whether frames fit is a mean over many pixels. What is taken comes from the frames themselves."""
CLEARANCE = 4
"""Pixels (of the coarse pictures) that features keep from holes."""
SPACING = 1.1
"""Each frame that is looked at is so many times as far away as the one before."""
RING = 1 / 12
"""Of the frame's shorter side: how far around the hole frames are compared."""
NEAR = 1 / 8
"""Of the shorter side of the hole with its ring: how near "near a pixel" is."""
LEAST_PIXELS = 8
"""Of a ring, and of what is near."""
HELD_BYTES = 1 << 30
"""Frames that are held for others: where they are large, fewer are within reach. 1080p has all 30 on either side, 2160p eight."""
DISTANT = 0.02
"""Weight of the mean over the whole ring against what is near, for pixels that no ring is near to."""


def propagate(
    items: Iterable[HoledFrame], options: PropagationOptions, start: int = 0, stop: int | None = None
) -> Iterator[tuple[HoledFrame, Found | None]]:
    """Frames start..stop-1 of a shot (None: all), in order, each with what others show of its hole (None: nothing).

    Reads `options.reach` frames ahead and holds as many behind, fewer where frames are large; and a few more that threads work on.
    """
    source = enumerate(items)
    workers = min(WORKERS, os.cpu_count() or 1)
    pending: deque[tuple[HoledFrame, Future[Found | None] | None]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="propagation") as pool:
        shot = _Shot(pool)
        try:
            for index in numbers() if stop is None else range(stop):
                while shot.count <= index + options.reach and (following := next(source, None)) is not None:
                    if shot.count == 0:
                        options = replace(options, reach=_affordable(following[1], options.reach))
                    shot.items[following[0]] = following[1]
                    shot.count += 1
                if index >= shot.count:
                    break
                if index >= start:
                    pending.append((shot.items[index], shot.search(index, options)))
                if len(pending) > 2 * workers:
                    yield _awaited(pending.popleft())
                shot.forget(index - options.reach)
            while pending:
                yield _awaited(pending.popleft())
        finally:
            for _, task in pending:
                if task is not None:
                    task.cancel()


def _affordable(item: HoledFrame, reach: int) -> int:
    """As much of `reach` as there is room for: it follows from the frames' size alone, so it is the same in every piece of a shot."""
    return max(1, min(reach, HELD_BYTES // (2 * item.most_bytes)))


def _awaited(entry: tuple[HoledFrame, Future[Found | None] | None]) -> tuple[HoledFrame, Found | None]:
    item, task = entry
    return item, None if task is None else task.result()


@dataclass(frozen=True)
class _Source:
    """A frame as others see it.

    coarse (h, w, 3): its picture, no longer than `COARSE_PIXELS`. hole (h, w): 1 where any of a coarse pixel is hole. visible (h, w): 1
    outside of that and of the rim that cubic interpolation would look into it from.
    """

    rgb: PixelArray
    coarse: PixelArray
    hole: HoleArray
    visible: NDArray[np.uint8]

    @property
    def to_coarse(self) -> Motion:
        """From the frame's pixels to the coarse picture's. Centres of pixels lie at whole numbers: (x + 1/2) scales."""
        x, y = (self.coarse.shape[k] / self.rgb.shape[k] for k in (1, 0))
        return np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1]])


class _Shot:
    """The frames within reach by number, and how they move. Used by one thread; its tasks get what they need when they are made."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.items: dict[int, HoledFrame] = {}
        self.count = 0
        """Frames read so far."""
        self._pool = pool
        self._sources: dict[int, Future[_Source]] = {}
        self._small: dict[int, Future[_Small]] = {}
        self._motions: dict[int, Future[Motion | None]] = {}

    def forget(self, before: int) -> None:
        for known in (self.items, self._sources, self._small, self._motions):
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
                self._sources[i] = self._pool.submit(_source, self.items[i])
                self._small[i] = self._pool.submit(_small, self._sources[i])
        for i in range(low, high - 1):
            if i not in self._motions:
                self._motions[i] = self._pool.submit(_motion, self._small[i], self._small[i + 1])
        motions = {i: self._motions[i] for i in range(low, high - 1)}
        sources = {i: self._sources[i] for i in range(low, high)}
        return self._pool.submit(_recover, item, index, sources, motions, options)


# -- motion ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Small:
    """A coarse picture in gray (h, w) with 1 at and near its hole. to_coarse: of `_Source`."""

    gray: NDArray[np.uint8]
    near: HoleArray
    to_coarse: Motion


def _small(source: Future[_Source]) -> _Small:
    import cv2

    frame = source.result()
    coarse: NDArray[Any] = frame.coarse
    eight = coarse if coarse.dtype == np.uint8 else (coarse >> 8).astype(np.uint8)
    near = cv2.dilate(frame.hole, np.ones((2 * CLEARANCE + 1, 2 * CLEARANCE + 1), np.uint8))
    return _Small(np.asarray(cv2.cvtColor(eight, cv2.COLOR_RGB2GRAY)), np.asarray(near), frame.to_coarse)


def _motion(earlier: Future[_Small], later: Future[_Small]) -> Motion | None:
    """From one frame to the next, in the frames' own pixels."""
    one, other = earlier.result(), later.result()
    found = estimate_motion(one.gray, one.near, other.gray, other.near)
    return None if found is None else np.asarray(np.linalg.inv(other.to_coarse) @ found @ one.to_coarse)


def _neighbours(index: int, motions: dict[int, Future[Motion | None]], reach: int) -> Iterator[tuple[int, Motion]]:
    """Other frames, nearest first, with the motion from frame `index` to each; a side ends where motion cannot be told."""
    forward: Motion | None = np.eye(3)
    backward: Motion | None = np.eye(3)
    looked_at = set(_distances(reach))
    for distance in range(1, reach + 1):
        if forward is not None:
            task = motions.get(index + distance - 1)
            step = None if task is None else task.result()
            forward = None if step is None else step @ forward
            if forward is not None and distance in looked_at:
                yield index + distance, forward
        if backward is not None:
            task = motions.get(index - distance)
            step = None if task is None else task.result()
            backward = None if step is None else np.linalg.inv(step) @ backward
            if backward is not None and distance in looked_at:
                yield index - distance, backward


def _distances(reach: int) -> list[int]:
    """1, 2, 3, ..., further and further apart: what far frames show they show for long."""
    found = [1]
    while (following := max(found[-1] + 1, round(found[-1] * SPACING))) <= reach:
        found.append(following)
    return found


# -- pixels ----------------------------------------------------------------------------------------------------------------


def _source(item: HoledFrame) -> _Source:
    import cv2

    rgb: NDArray[Any] = item.frame.rgb
    coarse, hole = rgb, np.asarray(item.alpha > 0, np.uint8)
    scale = COARSE_PIXELS / max(rgb.shape[:2])
    if scale < 1:
        size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
        coarse = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        hole = np.asarray(cv2.resize(hole * np.uint8(255), size, interpolation=cv2.INTER_AREA) > 0, np.uint8)
    return _Source(rgb, coarse, hole, np.asarray(1 - cv2.dilate(hole, np.ones((5, 5), np.uint8)), np.uint8))


def _recover(
    item: HoledFrame,
    index: int,
    sources: dict[int, Future[_Source]],
    motions: dict[int, Future[Motion | None]],
    options: PropagationOptions,
) -> Found | None:
    import cv2

    own = sources[index].result()
    rgb, region = own.rgb, _region(item)
    need = item.alpha[region] > 0
    y, x = np.nonzero(need)
    y, x = y + region[0].start, x + region[1].start

    # Frames are compared coarsely, in the region's part of the coarse picture.
    scale, back = own.to_coarse, np.linalg.inv(own.to_coarse)
    rows, columns = (_coarse(r, scale[k, k], own.hole.shape[1 - k]) for k, r in ((1, region[0]), (0, region[1])))
    target, others = np.ascontiguousarray(own.coarse[rows, columns]), own.hole[rows, columns] == 0
    shift = np.array([[1, 0, columns.start], [0, 1, rows.start], [0, 0, 1]], np.float64)
    size = (others.shape[1], others.shape[0])
    place = ((y + 0.5) * scale[1, 1]).astype(np.intp) - rows.start
    place = place * size[0] + ((x + 0.5) * scale[0, 0]).astype(np.intp) - columns.start
    levels = np.iinfo(rgb.dtype).max / 255
    inverse = cv2.WARP_INVERSE_MAP

    # The candidates of each pixel of the hole, nearest first; what is not there is larger than any colour.
    stack = np.full((options.candidates, y.size, 3), np.inf, np.float32)
    got = np.zeros(y.size, np.int64)
    for other, motion in _neighbours(index, motions, options.reach):
        source = sources[other].result()
        there = scale @ motion @ back @ shift
        visible = cv2.warpPerspective(source.visible, there, size, flags=inverse | cv2.INTER_NEAREST) > 0
        # Numbers instead of masks: with most pixels of a hole found, few are looked up.
        wanted = np.flatnonzero(visible.ravel()[place] & (got < options.candidates))
        if not wanted.size:
            continue
        aligned = cv2.warpPerspective(source.coarse, there, size, flags=inverse | cv2.INTER_CUBIC)
        misfit = _misfit(aligned, target, visible & others)
        wanted = wanted[misfit.ravel()[place[wanted]] <= options.fit * levels]
        if not wanted.size:
            continue
        if source.coarse is source.rgb:
            stack[got[wanted], wanted] = aligned.reshape(-1, 3)[place[wanted]]
        else:
            stack[got[wanted], wanted] = _pixels_at(source.rgb, motion, x[wanted], y[wanted])
        got[wanted] += 1
        if (got >= options.candidates).all():
            break
    colours, spread = _median(stack, got)
    known = np.zeros(need.shape, np.uint8)
    known[need] = (got >= options.agreeing) & (spread <= options.spread * levels)
    known &= np.asarray(cv2.morphologyEx(known, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    if not known.any():
        return None
    result, where = rgb.copy(), np.zeros(rgb.shape[:2], np.bool_)
    where[region] = known
    result[where] = np.clip(np.rint(colours[known[need] > 0]), 0, np.iinfo(rgb.dtype).max).astype(rgb.dtype)
    return result, where


def _region(item: HoledFrame) -> tuple[slice, slice]:
    """The hole with the ring around it, as far as the frame goes."""
    assert item.box is not None, "only frames with holes are searched for"
    ring = max(LEAST_PIXELS, round(RING * min(item.frame.size)))
    top, left, bottom, right = item.box
    return slice(max(0, top - ring), bottom + ring), slice(max(0, left - ring), right + ring)


def _coarse(fine: slice, scale: float, limit: int) -> slice:
    """The pixels of the coarse picture that pixels `fine` of a frame lie in."""
    return slice(int(fine.start * scale), min(ceil(fine.stop * scale), limit))


def _pixels_at(rgb: PixelArray, motion: Motion, x: NDArray[np.intp], y: NDArray[np.intp]) -> NDArray[Any]:
    """(n, 3): the picture, interpolated, where `motion` takes the pixels (x, y)."""
    import cv2

    across, down, depth = (motion @ np.stack([x, y, np.ones_like(x)]).astype(np.float64)).astype(np.float32)
    # OpenCV wants less than 32,768 rows and columns.
    width = min(x.size, 4096) or 1
    padding = -x.size % width
    where = [np.pad(part / depth, (0, padding)).reshape(-1, width) for part in (across, down)]
    return np.asarray(cv2.remap(rgb, where[0], where[1], cv2.INTER_CUBIC)).reshape(-1, 3)[: x.size]


def _misfit(aligned: NDArray[Any], target: NDArray[Any], compared: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(y, x): mean absolute difference (of all channels) of the `compared` pixels near each pixel; infinite if there are none at all."""
    import cv2

    if not compared.any():
        return np.full(compared.shape, np.inf, np.float32)
    weight = compared.astype(np.float32)
    # OpenCV where it can be: several times as fast as the same in numpy.
    apart = cv2.absdiff(aligned, target).astype(np.float32)
    error = np.asarray(cv2.transform(apart, np.full((1, 3), 1 / 3, np.float32))).reshape(compared.shape) * weight
    side = 2 * max(LEAST_PIXELS, int(NEAR * min(compared.shape))) + 1
    near = {"ksize": (side, side), "borderType": cv2.BORDER_CONSTANT}
    mean = float(error.sum()) / float(weight.sum())
    return np.asarray((cv2.blur(error, **near) + DISTANT * mean) / (cv2.blur(weight, **near) + DISTANT))  # type: ignore[call-overload]


def _mean_of_channels(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(a, b, 3) -> (a, b): three times as fast as `values.mean(axis=2)`."""
    return (values[:, :, 0] + values[:, :, 1] + values[:, :, 2]) * np.float32(1 / 3)


def _median(stack: NDArray[np.float32], got: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Median (n, 3) of the first `got` (n,) of (k, n, 3) candidates, and their mean absolute difference from it (n,); (0, inf) without any."""
    pixel = np.arange(len(got))
    ordered = _sorted(stack)
    last = np.maximum(got - 1, 0)
    median = (ordered[last // 2, pixel] + ordered[(last + 1) // 2, pixel]) / 2
    there = np.arange(len(stack))[:, None] < got
    with np.errstate(invalid="ignore"):  # infinity less infinity, which is not there
        apart = np.where(there, _mean_of_channels(np.abs(stack - median)), 0).sum(axis=0)
    spread = np.where(got > 0, apart / np.maximum(got, 1), np.inf).astype(np.float32)
    return np.where(got[:, None] > 0, median, 0).astype(np.float32), spread


def _sorted(stack: NDArray[np.float32]) -> NDArray[np.float32]:
    """`np.sort(stack, axis=0)` for a few layers: odd-even exchanges of whole layers take a fraction of its time."""
    layers = list(stack)
    for turn in range(len(layers)):
        for i in range(turn % 2, len(layers) - 1, 2):
            layers[i], layers[i + 1] = np.minimum(layers[i], layers[i + 1]), np.maximum(layers[i], layers[i + 1])
    return np.stack(layers)
