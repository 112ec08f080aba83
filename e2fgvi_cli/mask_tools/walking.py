"""The walk of a follower over a clip: forwards and backwards from the first marked frame, corrected by the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..errors import InputError
from ..types import HoleArray, PixelArray
from .follower import Follower, MakeFollower, PromptedFollower, Prompts

Frames = Callable[[int], PixelArray]


class Anchor(Protocol):
    """What is known of the object in one frame."""

    def mask(self, rgb: PixelArray, arrived: HoleArray | None) -> HoleArray:
        """The object's mask in `rgb`, given what the walk `arrived` with (None in the first anchor)."""
        ...

    def prompts(self, shape: tuple[int, ...]) -> Prompts | None:
        """Points and a box in a picture of this shape, for engines that take them; None where the mask is known."""
        ...


@dataclass(frozen=True)
class KnownMask:
    """An anchor whose mask (H, W) in {0, 1} is known."""

    known: HoleArray

    def mask(self, rgb: PixelArray, arrived: HoleArray | None) -> HoleArray:
        return self.known

    def prompts(self, shape: tuple[int, ...]) -> Prompts | None:
        return None


@dataclass(frozen=True)
class Step:
    """One frame of a walk: the (H, W) mask in {0, 1} and how sure it is (1 in marked frames)."""

    frame: int
    mask: HoleArray
    confidence: float


def walk(frames: Frames, count: int, anchors: Mapping[int, Anchor], make: MakeFollower) -> Iterator[Step]:
    """Every frame from 0 to `count` - 1, each once: the first anchor, what is after it, then what is before it,
    backwards.

    An anchor changes the frames after it up to the next one; the first one those before it, too. `anchors` has one at
    least, in frames of the clip. Raises `InputError` for an anchor in which nothing is found.
    """
    first = min(anchors)
    rgb = frames(first)
    forwards = make()
    known = _started(forwards, rgb, anchors[first], first, None)
    yield Step(first, known, 1.0)
    for index in range(first + 1, count):
        rgb = frames(index)
        mask, confidence = forwards.step(rgb)
        if index in anchors:
            mask, confidence = _started(forwards, rgb, anchors[index], index, mask), 1.0
        yield Step(index, mask, confidence)
    if not first:
        return
    backwards = make()
    backwards.start(frames(first), known)
    for index in range(first - 1, -1, -1):
        mask, confidence = backwards.step(frames(index))
        yield Step(index, mask, confidence)


def _started(follower: Follower, rgb: PixelArray, anchor: Anchor, index: int, arrived: HoleArray | None) -> HoleArray:
    prompts = anchor.prompts(rgb.shape)
    if prompts is not None and isinstance(follower, PromptedFollower):
        mask = follower.prompt(rgb, prompts)
    else:
        mask = anchor.mask(rgb, arrived)
        if mask.any():
            follower.start(rgb, mask)
    if not mask.any():
        raise InputError(
            f"nothing was found at the marks of frame {index}; add points on the object (--point +x,y@{index}), "
            f"or give its mask with --keyframe {index}=mask.png"
        )
    return mask
