"""What is exchanged where a shot is cut into pieces that different devices fill: predictions of the windows that reach
across the cut.

The window around the first frame of a piece also fills the last frames of the piece before it, and the last window of
that one also fills this first frame. Each is computed once, by whose centre it has, and what it says of the other's
frames is handed over in numpy. The predictions of a frame are merged in the order of their windows, as without a cut,
so that the result is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..types import Box, PixelArray
from .blending import Blender, Prediction, PublishedBlender, WeightedBlender


@dataclass(frozen=True)
class Contribution:
    """What one window says of frame `index`, for those who compute its other windows: the arguments of
    `blending.Blender.add`, in numpy."""

    index: int
    box: Box
    prediction: Prediction[NDArray[np.float32]]
    weight: float
    ramp: NDArray[np.float32] | None


class Neighbours(Protocol):
    """Who fills the frames before and after a piece of a shot, frames numbered as in the piece's stream (`sharing`).

    The piece computes the windows around its own frames, which are a multiple of the hop long. Of the window at its
    start the frames before belong to the piece before; of its last window the first frame after its end belongs to the
    next; these and theirs are exchanged.
    """

    @property
    def start(self) -> int:
        """The piece's first frame, below 0 if nobody is before it."""
        ...

    def stop(self, center: int) -> int | None:
        """The first frame that is not the piece's, None if nobody follows. Asked before each window, which has begun
        with that.

        It may become less, but never so that a window that has begun says something of frames after it.
        """
        ...

    def give_before(self, contributions: list[Contribution]) -> None:
        """For the last frames of the piece before, by the window at `start`."""
        ...

    def give_after(self, contributions: list[Contribution]) -> None:
        """For the first frame of the piece after, by the last window of this one."""
        ...

    def take_before(self) -> list[Contribution]:
        """What the piece before gave for frame `start`. Waits for it."""
        ...

    def take_after(self) -> list[Contribution]:
        """What the piece after gave for the last frames of this one. Waits for it."""
        ...


class Merge:
    """Where the predictions for the frames of a shot, or of a piece of it, come together; those for its neighbours'
    frames are given to them.

    blender: the engine's. released: merged as the published program does. start: the first frame of the piece, below 0
    if nobody is before it.
    """

    def __init__(self, blender: Blender, released: bool, neighbours: Neighbours | None = None) -> None:
        self.start = -1 if neighbours is None else neighbours.start
        self._to_numpy, self._released, self._neighbours = blender.to_numpy, released, neighbours
        self._blender: Blender = PublishedBlender(blender.to_numpy) if released else blender
        self._before: list[Contribution] = []
        self._after: list[Contribution] = []
        self._first: list[Contribution] = []
        """For the first frame, in the order of the windows, of which the one before them is the neighbour's and may
        come much later."""

    def add(
        self,
        index: int,
        box: Box,
        prediction: Prediction[Any],
        weight: float,
        ramp: NDArray[np.float32] | None,
        stop: int | None = None,
    ) -> None:
        """As `Blender.add`. stop: the first frame that is not the piece's."""
        if self.start < index and (stop is None or index < stop):
            self._blender.add(index, box, prediction, weight, ramp)
            return
        pixels = np.array(self._to_numpy(prediction.rgb))  # a prediction is valid until the next window only
        mine = Contribution(index, box, Prediction(prediction.box, pixels), weight, ramp)
        (self._first if index == self.start else self._before if index < self.start else self._after).append(mine)

    def give_before(self) -> None:
        """After the window at the start: what it says of the frames before."""
        assert self._neighbours is not None, "alone, nobody is before"
        self._neighbours.give_before(self._before)

    def give_after(self) -> None:
        """After the last window: what it says of the first frame that follows."""
        assert self._neighbours is not None, "alone, nobody follows"
        self._neighbours.give_after(self._after)

    def take_after(self) -> None:
        """Take in what the next piece's first window says of the last frames of this one. Waits for it."""
        assert self._neighbours is not None, "alone, nobody follows"
        for c in self._neighbours.take_after():
            self.add(c.index, c.box, c.prediction, c.weight, c.ramp)

    def finish(self, index: int, dtype: np.dtype[Any]) -> Callable[[], PixelArray] | None:
        """As `Blender.finish`; None for a frame that is not the piece's."""
        if index > self.start:
            return self._blender.finish(index, dtype)
        return partial(self._merge_first, index, dtype) if index == self.start else None

    def _merge_first(self, index: int, dtype: np.dtype[Any]) -> PixelArray:
        """On the host: it is one frame of each piece."""
        assert self._neighbours is not None, "alone, the first frame is like any other"
        blender: Blender = PublishedBlender() if self._released else WeightedBlender()
        for c in (*self._neighbours.take_before(), *self._first):
            blender.add(c.index, c.box, c.prediction, c.weight, c.ramp)
        return blender.finish(index, dtype)()
