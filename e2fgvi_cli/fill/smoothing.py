"""Smoothing along time: a fill becomes the mean of what nearby frames have in its place, aligned with it.

The network makes each frame's fill anew, so fills of neighbouring frames differ where the scene does not: that is
flicker, and most of it is error. Frames are aligned by the camera's steps, as for image propagation, and count where
they agree, and differ more than alignment explains: what moves behind the hole is left as it is, and so is what is
sharper than the alignment. numpy and OpenCV, no torch.

Shape legend: H W the frame, y x the box of its hole with a rim.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..frames.stages import FinishedFrame
from ..propagation.homography import CoarseFrame, Homography
from ..propagation.means import mean_near, mean_of_channels
from ..propagation.steps import Step, coarse_frame, step_between, view_of
from ..threads.later import Later
from ..types import PixelArray
from .options import SmoothingOptions

WORKERS = 4
"""Threads, as for image propagation."""
NEARNESS = 9
"""Pixels, odd: the side of the square in which aligned frames are compared."""
RING, RING_NEARNESS = 16, 33
"""Pixels around the hole, and the side of the square, odd, in which alignment is judged by what is visible of them."""
HELD_BYTES = 256 << 20
"""Finished frames that are held for others: where they are large, fewer are within reach."""


def affordable(size: tuple[int, int], depth: int, reach: int) -> int:
    """As much of `reach` as there is room for, with frames of `size` (height, width) and `depth` bytes a level. It
    follows from the frames' format alone, so it is the same in every piece of a shot."""
    return max(1, min(reach, HELD_BYTES // (4 * 3 * depth * size[0] * size[1])))


def smooth(finished: Iterable[FinishedFrame], options: SmoothingOptions | None) -> Iterator[FinishedFrame]:
    """The frames of a shot, in order, each when `options.reach` later ones have come. None: as they come."""
    if options is None:
        yield from finished
        return
    shot = _Shot(options)
    with ThreadPoolExecutor(WORKERS, "smoothing") as pool:
        for frame in finished:
            yield from shot.add(frame, pool)
        yield from shot.rest(pool)


@dataclass
class _Held:
    """A finished frame, its picture, and once somebody asked: its coarse frame, and the step to the next."""

    frame: FinishedFrame
    picture: Later[PixelArray]
    coarse: Future[CoarseFrame] | None = None
    step: Future[Step | None] | None = None


@dataclass
class _Shot:
    """The frames that others may still need. For one thread; its tasks get what they need when they are made."""

    options: SmoothingOptions
    held: deque[_Held] = field(default_factory=deque)
    behind: int = 0
    """How many of `held` have been given out."""

    def add(self, frame: FinishedFrame, pool: ThreadPoolExecutor) -> Iterator[FinishedFrame]:
        if not self.held:
            size, depth = frame.source.frame.size, frame.source.frame.rgb.itemsize
            self.options = replace(self.options, reach=affordable(size, depth, self.options.reach))
        self.held.append(_Held(frame, Later(lambda: _picture(frame))))
        if len(self.held) - self.behind > self.options.reach:
            yield self._give(pool)

    def rest(self, pool: ThreadPoolExecutor) -> Iterator[FinishedFrame]:
        while len(self.held) > self.behind:
            yield self._give(pool)

    def _give(self, pool: ThreadPoolExecutor) -> FinishedFrame:
        """The next one, smoothed by and by."""
        frame = self.held[self.behind].frame
        if frame.inside is not None:
            frame = replace(frame, inside=Later(self._submit(pool).result))
        self.behind += 1
        if self.behind > self.options.reach:
            self.held.popleft()
            self.behind -= 1
        return frame

    def _submit(self, pool: ThreadPoolExecutor) -> Future[PixelArray]:
        here = self.behind
        low, high = max(0, here - self.options.reach), min(len(self.held), here + self.options.reach + 1)
        around = [self.held[i] for i in range(low, high)]
        # In this order: a task that waits for others is behind them in the queue, so there is always one that runs.
        for one in around:
            if one.coarse is None:
                one.coarse = pool.submit(lambda item: coarse_frame(view_of(item)), one.frame.source)
        for one, other in pairwise(around):
            if one.step is None:
                one.step = pool.submit(_step, one.coarse, other.coarse)
        steps = [one.step for one in around[:-1]]
        frame, pictures = around[here - low].frame, [one.picture for one in around]
        return pool.submit(_smoothed, frame, pictures, steps, here - low, self.options)


def _picture(frame: FinishedFrame) -> PixelArray:
    filled = frame.filled
    return frame.source.frame.rgb if filled is None else filled


def _step(one: Future[CoarseFrame] | None, other: Future[CoarseFrame] | None) -> Step | None:
    assert one is not None, "submitted before"
    assert other is not None, "submitted before"
    return step_between(one.result(), other.result())


def _aligned(steps: list[Future[Step | None] | None], own: int) -> Iterator[tuple[int, Homography]]:
    """Places of other frames with the homography from the frame at `own`; a side ends where none can be found."""
    for places, following in ((range(own, len(steps)), True), (range(own - 1, -1, -1), False)):
        homography = np.eye(3)
        for place in places:
            task = steps[place]
            step = None if task is None else task.result()
            if step is None:
                break
            homography = (step.forward if following else step.backward) @ homography
            yield (place + 1 if following else place), homography


def _smoothed(
    frame: FinishedFrame,
    pictures: list[Later[PixelArray]],
    steps: list[Future[Step | None] | None],
    own: int,
    options: SmoothingOptions,
) -> PixelArray:
    """The pixels of the box of `frame`, whose picture is the one at `own`. steps: from each picture to the next."""
    import cv2

    box, picture = frame.source.box, pictures[own].get()
    assert box is not None, "what was filled has a box"
    height, width = picture.shape[:2]
    top, left = max(0, box[0] - RING), max(0, box[1] - RING)
    bottom, right = min(height, box[2] + RING), min(width, box[3] + RING)
    visible = frame.source.alpha[top:bottom, left:right] == 0
    base: NDArray[np.float32] = picture[top:bottom, left:right].astype(np.float32)
    total, weights = base.copy(), np.ones(base.shape[:2], np.float32)
    corner = np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]])
    everywhere = np.ones((height, width), np.uint8)
    size, peak = (right - left, bottom - top), int(np.iinfo(picture.dtype).max)
    limit, tiny = (np.array([options.tolerance, 0.1], np.float32) * peak / 255) ** 2
    for place, homography in _aligned(steps, own):
        move = homography @ corner
        other = cv2.warpPerspective(
            pictures[place].get(),
            move,
            size,
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.float32)
        shown = cv2.warpPerspective(everywhere, move, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
        difference = mean_of_channels(np.abs(other - base))
        counts = (visible & (shown > 0)).astype(np.float32)
        misaligned = np.square(mean_near(difference * counts, counts, RING_NEARNESS))
        apart = np.square(np.asarray(cv2.blur(difference, (NEARNESS, NEARNESS))))
        weight = np.exp(-apart / limit) * apart / (apart + 2 * misaligned + tiny) * shown
        total += other * weight[:, :, None]
        weights += weight
    inner = (slice(box[0] - top, box[2] - top), slice(box[1] - left, box[3] - left))
    mean = total[inner] / weights[inner][:, :, None]
    smoothed: PixelArray = np.clip(np.rint(mean), 0, peak).astype(picture.dtype)
    return smoothed
