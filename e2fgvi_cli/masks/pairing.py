"""Which mask belongs to which frame, by their names and numbers. Pure: no file is opened.

The names are judged together: one rule must explain all of them, so that no few names that happen to agree pair the
rest one off. What no rule explains is refused.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from ..errors import InputError
from .inspection import ranges

_DIGITS = re.compile(r"(\d+)")
_LAST_NUMBER = re.compile(r"(\d+)\D*$")
# What stands before the number of an object, in names such as 00012_obj2: never before the number of a frame.
_OBJECT_WORD = re.compile(r"(?:obj|object|id|inst|instance|class|label|track|person|layer)[ _.-]*$", re.IGNORECASE)
_FRAME_WORD = re.compile(r"(?:^|[^a-z])(?:f|frame|img|image)[ _.-]*$", re.IGNORECASE)
_ADVICE = "give one mask a frame, name them like the frames, or give a single image"


@dataclass(frozen=True)
class Pairing:
    """`masks_of` frame number -> places in the list of masks (several: one an object); `missing` of `frames` have none;
    `notices` say by which rule."""

    masks_of: dict[int, tuple[int, ...]]
    frames: int
    notices: tuple[str, ...] = ()

    @property
    def missing(self) -> int:
        """How many frames have no mask."""
        return self.frames - len(self.masks_of)


@dataclass(frozen=True)
class Numbering:
    """The frame number that each name speaks of, in the order of the names; several names may have one."""

    numbers: tuple[int, ...]

    @cached_property
    def values(self) -> tuple[int, ...]:
        """The numbers, ascending, each once."""
        return tuple(sorted(set(self.numbers)))

    @property
    def rises(self) -> bool:
        """Whether the order of the names is that of their numbers, each its own."""
        return all(before < after for before, after in pairwise(self.numbers))

    @property
    def step(self) -> int | None:
        """The distance of neighbouring numbers if it is the same throughout, else None."""
        steps = {after - before for before, after in pairwise(self.values)}
        return steps.pop() if len(steps) == 1 else (1 if not steps else None)

    @property
    def skips(self) -> bool:
        """Whether most numbers follow each other and some are left out."""
        steps = [after - before for before, after in pairwise(self.values)]
        return self.step is None and 2 * steps.count(1) >= len(steps)

    def places(self, shift: int = 0) -> dict[int, tuple[int, ...]]:
        """Number + shift -> places of the names that have it."""
        found: dict[int, list[int]] = defaultdict(list)
        for place, number in enumerate(self.numbers):
            found[number + shift].append(place)
        return {number: tuple(places) for number, places in found.items()}


def numbering(names: Sequence[str], what: str | None = None) -> Numbering | None:
    """The frame numbers in file names (without suffix); None where they have none of their own.

    With `what`, which names the files: `InputError` if names hold two numbers and nothing tells which is the frame's.
    """
    columns = _columns(names)
    if columns is None:
        last = [_LAST_NUMBER.search(name) for name in names]
        found = tuple(int(match[1]) for match in last if match)
        return Numbering(found) if len(set(found)) == len(names) else None
    alone = [place for place, column in enumerate(columns) if len(set(column)) == len(names)]
    if alone:  # of several, such as a frame and its time, the one that looks like a frame's
        best = _frame_column(names[0], columns, alone) if len(alone) > 1 else None
        return Numbering(tuple(map(int, columns[alone[-1] if best is None else best])))
    varying = [place for place, column in enumerate(columns) if len(set(column)) > 1]
    if len(varying) != 2 or len(set(zip(*columns, strict=True))) != len(names):
        return None
    frame = _frame_column(names[0], columns, varying)
    if frame is None and what is None:
        return None
    if frame is None:
        raise InputError(
            f"{what}: names such as {names[0]} and {names[1]} do not say which of their numbers is the frame's; "
            "name the masks of several objects like 00012_obj1"
        )
    return Numbering(tuple(map(int, columns[frame])))


def _columns(names: Sequence[str]) -> tuple[tuple[str, ...], ...] | None:
    """The numbers of names that differ in nothing else, as texts, a column a place; None for other names."""
    parts = [_DIGITS.split(name) for name in names]
    if not parts or len(parts[0]) < 3 or len({tuple(part[::2]) for part in parts}) != 1:
        return None
    return tuple(zip(*(part[1::2] for part in parts), strict=True))


def _frame_column(name: str, columns: tuple[tuple[str, ...], ...], places: list[int]) -> int | None:
    """Which of some numbers is the frame's: the only one with a word for frames before it, or without one for objects,
    or padded to one width."""
    before = _DIGITS.split(name)[::2]
    widths = {place: {len(text) for text in columns[place]} for place in places}
    for choice in (
        [place for place in places if _FRAME_WORD.search(before[place])],
        [place for place in places if not _OBJECT_WORD.search(before[place])],
        [place for place in places if len(widths[place]) == 1 and max(widths[place]) >= 3],
    ):
        if len(choice) == 1:
            return choice[0]
    return None


def pair_with_frames(masks: Sequence[str], frames: Sequence[str], what: str) -> Pairing:
    """Masks for a folder of frames, by their names (without suffix, in natural order).

    By name where all masks or all frames find their like, else by number, or by order where there are as many; numbers
    that begin at 0 here and at 1 there are shifted. `what` begins the `InputError` for names that no rule explains.
    """
    _refuse_twins(masks, what)
    by_name: dict[Any, tuple[int, ...]] = {name: (place,) for place, name in enumerate(masks)}
    common = set(by_name) & set(frames)
    if common and len(set(frames)) == len(frames) and len(common) in (len(by_name), len(frames)):
        return _paired(by_name, {name: index for index, name in enumerate(frames)}, masks, ())
    of_masks, of_frames = numbering(masks, what), numbering(frames)
    if of_masks is None or of_frames is None or len(of_frames.values) != len(frames):
        if len(masks) == len(frames) and not common:
            return _in_order(len(masks))
        raise _unexplained(what)
    index_of = {number: index for index, number in enumerate(of_frames.numbers)}
    shift = _shift(of_masks, of_frames, as_many=len(masks) == len(frames))
    if shift is None:
        other_kind = of_masks.step != 1 or not set(of_masks.values) & set(of_frames.values)
        if len(masks) == len(frames) and other_kind and _may_be_order(of_masks) and _may_be_order(of_frames):
            return _in_order(len(masks), "masks and frames are numbered differently: paired in their order")
        raise InputError(
            f"{what}: the masks are numbered {ranges(list(of_masks.values))}, the frames "
            f"{ranges(list(of_frames.values))}; name the masks like the frames they belong to"
        )
    notices: tuple[str, ...] = ("masks are matched by the number in their name",)
    if of_masks.values == of_frames.values and len(masks) == len(frames):
        notices = ()
    if shift:
        notices = (
            f"masks are numbered from {of_masks.values[0]}, frames from {of_frames.values[0]}: mask "
            f"{of_masks.values[0]} is taken for frame {of_masks.values[0] + shift}, and so on",
        )
    return _paired(of_masks.places(shift), index_of, masks, notices)


def _shift(masks: Numbering, frames: Numbering, *, as_many: bool) -> int | None:
    """What to add to the masks' numbers so that all masks, or all frames, find their like: 0, or one for another
    start."""
    have, want = set(masks.values), set(frames.values)
    if have <= want or want <= have:
        return 0
    start = frames.values[0] - masks.values[0]
    moved = {number + start for number in have}
    if as_many and moved == want and (abs(start) == 1 or not have & want):
        return start
    zero_based = masks.values[0] == 0 and frames.values[0] == 1
    one_based = frames.values[0] == 0 and masks.values[-1] == frames.values[-1] + 1
    for shift, fits in ((1, zero_based), (-1, one_based)):
        if fits and {number + shift for number in have} <= want:
            return shift
    return None


def _may_be_order(numbers: Numbering) -> bool:
    """Whether the numbers may be anything (times, say), so that only their order counts; not if some seem left out."""
    return numbers.rises and not numbers.skips


def pair_with_count(masks: Sequence[str], frames: int, what: str) -> Pairing:
    """Masks for the `frames` frames of a video, whose frames have no names. Errors as `pair_with_frames`.

    As many masks as frames: by order. Else by number, counted from 1 where the first mask is 1 or the last is `frames`,
    from 0 elsewhere (as `mask track` and most tools name them); masks past the clip's end are left out.
    """
    _refuse_twins(masks, what)
    numbers = numbering(masks, what)
    if numbers is None:
        if len(masks) == frames:
            return _in_order(frames)
        raise _unexplained(what)
    values = numbers.values
    if len(values) == frames == len(masks):
        if not numbers.skips or not numbers.rises:
            said = (
                ()
                if values[0] <= 1 and numbers.step == 1
                else (f"masks are numbered {ranges(list(values))}: as many as frames, so paired in their order",)
            )
            return _in_order(frames, *said)
        raise InputError(
            f"{what}, but their numbers skip some and end at {values[-1]}: {ranges(list(values))}; name the masks by "
            "frame number, or without gaps"
        )
    base = 1 if values[0] == 1 or values[-1] == frames else 0
    if values[0] - base >= frames:
        raise InputError(
            f"{what}: they are numbered {ranges(list(values))}, and the frames are 0 to {frames - 1}; name the "
            "masks by frame number"
        )
    notice = f"masks are matched by the number in their name, counted from {base}"
    return _paired(numbers.places(-base), {index: index for index in range(frames)}, masks, (notice,))


def _paired(
    masks_of: dict[Any, tuple[int, ...]], index_of: dict[Any, int], masks: Sequence[str], notices: tuple[str, ...]
) -> Pairing:
    found = {index_of[key]: places for key, places in masks_of.items() if key in index_of}
    unused = [places for key, places in masks_of.items() if key not in index_of]
    said = [*notices]
    several = max((len(places) for places in found.values()), default=0)
    if several > 1:
        said.append(f"frames have up to {several} masks, such as {masks[_several(found)[0]]}: they are joined")
    if unused:
        count = sum(map(len, unused))
        said.append(f"{count} mask{'s belong' if count > 1 else ' belongs'} to no frame, such as {masks[unused[0][0]]}")
    return Pairing(found, len(index_of), tuple(said))


def _several(found: dict[int, tuple[int, ...]]) -> tuple[int, ...]:
    return next(places for places in found.values() if len(places) > 1)


def _in_order(count: int, *notices: str) -> Pairing:
    return Pairing({index: (index,) for index in range(count)}, count, notices)


def _refuse_twins(masks: Sequence[str], what: str) -> None:
    twins = sorted(name for name, times in Counter(masks).items() if times > 1)
    if twins:
        raise InputError(f"{what}: two files are called {twins[0]}, with different endings; leave one of them")


def _unexplained(what: str) -> InputError:
    return InputError(f"{what}, and their names do not say which frame each belongs to; {_ADVICE}")
