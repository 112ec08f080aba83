"""What follows an object: the contract between an engine (a network, SAM 2, flow and colour) and the walk over a clip.

The walk (`walking.py`) makes a new follower for each object and direction, so that a follower only goes one way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..types import HoleArray, PixelArray

Soft = NDArray[np.float32]
"""(H, W) in 0..1: how likely each pixel is the object's."""

LIKELY = 0.4
"""A pixel that is likelier is taken for the object's."""


class Follower(Protocol):
    """Follows one object in one direction. Both pictures and masks are at the size of the walk, always the same."""

    def start(self, rgb: PixelArray, mask: HoleArray) -> None:
        """The object is `mask` (H, W) uint8 in {0, 1}, not empty, in `rgb` (H, W, 3) uint8.

        Called before the first `step`, more than once where several masks are known: it goes on from the last. Called
        again for a correction: then with the picture of the latest `step`, whose mask it replaces.
        """
        ...

    def step(self, rgb: PixelArray) -> tuple[HoleArray, float]:
        """The object's (H, W) mask in {0, 1} in the next picture of the walk, and how sure that is, 0 to 1.

        An object that is not there has an empty mask. It may come back in a later step.
        """
        ...


MakeFollower = Callable[[], Follower]
"""A new follower that knows of nothing yet."""


@dataclass(frozen=True)
class Prompts:
    """Marks in pixels of the walk's pictures: `points` (x, y, on the object), `box` (left, top, right, bottom)."""

    points: tuple[tuple[float, float, bool], ...] = ()
    box: tuple[float, float, float, float] | None = None


@runtime_checkable
class PromptedFollower(Follower, Protocol):
    """A follower that finds the object by marks itself."""

    def prompt(self, rgb: PixelArray, prompts: Prompts) -> HoleArray:
        """As `start`, with marks in place of the mask, which it returns; empty where it finds nothing."""
        ...


@runtime_checkable
class GradedFollower(Follower, Protocol):
    """A follower that knows more than a mask."""

    def likely(self) -> Soft:
        """How likely each pixel of the latest step's picture is the object's, where its mask was not empty."""
        ...
