"""A shot in pieces: which frames a piece needs around it, and filling it alone (`sharing`: several at once, on several
devices).

A frame's fill depends on the windows that contain it, on the references and crops of those, and on nothing else; so a
piece computed alone, over a stream that begins and ends where those do, is bit for bit what the whole run computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice

from ..frames.stages import FinishedFrame, HoledFrame
from .crops import block_range
from .options import WindowOptions
from .smoothing import smooth
from .stream import Proposed, WindowEngine, fill_rest, propose
from .windows import lookahead


def context_range(start: int, stop: int, count: int, options: WindowOptions) -> tuple[int, int]:
    """(first, end) of the frames that filling start..stop-1 can depend on, numbered within a shot of `count` frames."""
    first, end = window_range(*smoothed_range(start, stop, count, options), count, options)
    reach = 0 if options.propagation is None else options.propagation.reach
    return max(0, first - reach), min(count, end + reach)


def smoothed_range(start: int, stop: int, count: int, options: WindowOptions) -> tuple[int, int]:
    """(first, end) of the frames whose fills are in the means of start..stop-1."""
    reach = 0 if options.smoothing is None else options.smoothing.reach
    return max(0, start - reach), min(count, stop + reach)


def window_range(start: int, stop: int, count: int, options: WindowOptions) -> tuple[int, int]:
    """(first, end) of the frames that the network looks at for start..stop-1. What was propagated into them comes from
    further away.

    `first` is a multiple of both strides and of a block of windows, so that windows, references and crops counted from
    it are those counted from the shot's start.
    """
    hop, stride, crops = options.neighbor_stride, options.reference_stride, options.crops
    ahead = None if options.released else lookahead(hop, stride, options.max_references)
    if ahead is None or options.max_references is None:
        return 0, count
    first_center = -(-max(start - hop, 0) // hop) * hop
    last_center = (stop - 1 + hop) // hop * hop
    reach = max(first_center - hop - stride * options.max_references, 0)
    end = last_center + ahead + 1
    multiple = math.lcm(hop, stride)
    if crops.enabled:
        reach = min(reach, block_range(first_center, hop, crops.block_windows)[0])
        end = max(end, block_range(last_center, hop, crops.block_windows)[1])
        multiple = math.lcm(multiple, hop * crops.block_windows)
    return reach - reach % multiple, min(count, end)


def fill_range(
    read: Callable[[int, int], Iterable[HoledFrame]],
    count: int,
    start: int,
    stop: int,
    engine: WindowEngine,
    options: WindowOptions,
) -> Iterator[FinishedFrame]:
    """Frames start..stop-1 of a shot of `count` frames. `read(first, end)` gives frames first..end-1 of it, and is
    called once."""
    filled_from, filled_to = smoothed_range(start, stop, count, options)
    first, end = window_range(filled_from, filled_to, count, options)
    low, high = context_range(start, stop, count, options)
    pairs = propose(read(low, high), options, engine.lookup(), first - low, end - low)

    def only_own_boxes() -> Iterator[Proposed]:
        for number, pair in enumerate(pairs, first):
            yield pair if filled_from <= number < filled_to else as_context(pair)

    filled = islice(fill_rest(only_own_boxes(), engine, options), filled_from - first, filled_to - first)
    for number, finished in enumerate(smooth(filled, options.smoothing), filled_from):
        if number >= stop:
            return
        if number >= start:
            yield finished


def as_context(pair: Proposed) -> Proposed:
    """The frame for the others' sake only. Without a box a frame is context: windows that fill nothing but context are
    not computed."""
    item, found = pair
    return replace(item.without(found), box=None), None
