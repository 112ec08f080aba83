"""The walk of a follower over a clip, from marked frame to marked frame and back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import InputError
from ..types import HoleArray, PixelArray
from .follower import Follower, MakeFollower, PromptedFollower, Prompts
from .fusion import PackedLook, fused, look

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


def walk(
    frames: Frames,
    count: int,
    anchors: Mapping[int, Anchor],
    make: MakeFollower,
    on_look: Callable[[], None] = lambda: None,
) -> Iterator[Step]:
    """Every frame from 0 to `count` - 1, each once, in no order.

    What is after the last anchor is followed forwards, what is before the first one backwards. What is between two is
    followed both ways, and the two are fused: an anchor changes the frames before it, too. `anchors` has one at least,
    in frames of the clip. `on_look` is called `looks` times. Raises `InputError` for an anchor in which nothing is
    found.
    """
    marked = sorted(anchors)
    forwards = make()
    known: list[_Known] = []  # the first two and the latest two: what a walk backwards starts with
    held: dict[int, PackedLook] = {}
    rgb, arrived = frames(marked[0]), None
    for begin, end in itertools.pairwise([*marked, count]):
        mask = _started(forwards, rgb, anchors[begin], begin, arrived)
        known = [*known[:2], *known[2:][-1:], _Known(begin, rgb, mask)]
        on_look()
        yield Step(begin, mask, 1.0)
        yield from _between(frames, known[-2:], held, make, on_look)
        held = {}
        for index in range(begin + 1, min(end + 1, count)):
            rgb = frames(index)
            seen = look(forwards, rgb)
            if index == end:
                arrived = seen.mask
                continue
            on_look()
            if end == count:
                yield Step(index, seen.mask, seen.confidence)
            else:
                held[index] = PackedLook.of(seen)
    backwards = _walker(known[:2][::-1], make)
    for index in range(marked[0] - 1, -1, -1):
        before, confidence = backwards.step(frames(index))
        on_look()
        yield Step(index, before, confidence)


def looks(count: int, marked: Collection[int]) -> int:
    """How often a walk over `count` frames looks at one: twice between two marked ones."""
    return count + max(marked) - min(marked) + 1 - len(marked)


@dataclass(frozen=True)
class _Known:
    """A marked frame with its picture and its mask."""

    frame: int
    rgb: PixelArray
    mask: HoleArray


def _between(
    frames: Frames,
    known: Sequence[_Known],
    held: Mapping[int, PackedLook],
    make: MakeFollower,
    on_look: Callable[[], None],
) -> Iterator[Step]:
    """The frames between two marked ones, backwards, fused with what is `held` of the walk forwards."""
    if not held:
        return
    earlier, later = (one.frame for one in known)
    backwards = _walker(known, make)
    for index in range(later - 1, earlier, -1):
        seen = look(backwards, frames(index))
        on_look()
        mask, confidence = fused(held[index].unpacked(), seen, (index - earlier) / (later - earlier))
        yield Step(index, mask, confidence)


def _walker(known: Sequence[_Known], make: MakeFollower) -> Follower:
    """A follower that knows these frames and goes on from the last."""
    follower = make()
    for one in known:
        follower.start(one.rgb, one.mask)
    return follower


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
