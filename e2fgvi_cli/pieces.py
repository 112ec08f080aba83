"""A shot in pieces: which frames a piece needs around it, filling it alone, and filling several at once on several devices.

A frame's fill depends on the windows that contain it, on the references and crops of those, and on nothing else; so a piece computed
alone, over a stream that begins and ends where those do, is bit for bit what the whole run computes.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from queue import SimpleQueue
from threading import Event

from .ahead import End, ReadAhead
from .crops import block_range
from .image_propagation import Found, propagate
from .streaming import FinishedFrame, HoledFrame, WindowEngine, WindowOptions, fill_rest
from .windows import lookahead

Opened = tuple[HoledFrame, Found | None]
"""A frame, and what other frames show of its hole."""
PIECE_BYTES = 4 << 30
"""Frames that are read and wait for their piece, all devices together. More where there is room (`pipeline.PIECES_SHARE`)."""
FETCHED_AFTER = 16
"""Frames after which a fill is fetched from its device: more than a window's hop, so that nobody waits for it."""
SHORTEST_PIECE, LONGEST_PIECE = 40, 400
"""Frames. Two windows a piece are computed twice, one at each end: 25 % more for 40 frames, 2.5 % for 400."""


def context_range(start: int, stop: int, count: int, options: WindowOptions) -> tuple[int, int]:
    """(first, end) of the frames that filling start..stop-1 can depend on, numbered within a shot of `count` frames."""
    first, end = window_range(start, stop, count, options)
    reach = 0 if options.propagation is None else options.propagation.reach
    return max(0, first - reach), min(count, end + reach)


def window_range(start: int, stop: int, count: int, options: WindowOptions) -> tuple[int, int]:
    """(first, end) of the frames that the network looks at for start..stop-1. What was propagated into them comes from further away.

    `first` is a multiple of both strides and of a block of windows, so that windows, references and crops counted from it are
    those counted from the shot's start.
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
    """Frames start..stop-1 of a shot of `count` frames. `read(first, end)` gives frames first..end-1 of it, and is called once."""
    first, end = window_range(start, stop, count, options)
    low, high = context_range(start, stop, count, options)
    items = read(low, high)
    return _fill_opened(_opened(items, options, engine, first - low, end - low), first, start, stop, engine, options)


def _opened(
    items: Iterable[HoledFrame], options: WindowOptions, engine: WindowEngine, start: int = 0, stop: int | None = None
) -> Iterable[Opened]:
    """Items start..stop-1, with what all of them show of their holes. Without propagation nothing is around them, and all are given."""
    if options.propagation is None:
        return ((item, None) for item in items)
    return propagate(items, options.propagation, start, stop, engine.lookup())


def _fill_opened(
    pairs: Iterable[Opened], first: int, start: int, stop: int, engine: WindowEngine, options: WindowOptions
) -> Iterator[FinishedFrame]:
    """Frames start..stop-1, of `pairs` that begin with frame `first` and have all that the network looks at."""

    def only_own_boxes() -> Iterator[Opened]:
        # Without a box a frame is context: windows that fill nothing but context are not computed.
        for number, (item, found) in enumerate(pairs, first):
            yield (item, found) if start <= number < stop else (replace(item.without(found), box=None), None)

    for number, finished in enumerate(fill_rest(only_own_boxes(), engine, options), first):
        if number >= stop:
            return
        if number >= start:
            yield finished


def fill_shot_on(
    engines: Sequence[WindowEngine],
    items: Iterable[HoledFrame],
    options: WindowOptions,
    piece: int | None = None,
    held: int = PIECE_BYTES,
) -> Iterator[FinishedFrame]:
    """`fill_shot` on several engines at once, one thread each: pieces of `piece` frames (None: as many as `held` bytes allow), in order.

    The frames are those of one engine alone, as long as all engines compute alike. What other frames show is looked up once, on the first
    engine's device. Reads as many frames ahead as the pieces under way need, in a thread of its own: while whoever takes the frames writes
    them, the next piece is read and no device waits for it.
    """
    idle: SimpleQueue[WindowEngine] = SimpleQueue()
    for engine in engines:
        idle.put(engine)
    given_up = Event()
    pool = ThreadPoolExecutor(len(engines), thread_name_prefix="device")

    def pieces() -> Iterator[_Piece]:
        opened = _opened(items, options, engines[0])
        source, waiting = itertools.takewhile(lambda _: not given_up.is_set(), opened), _Buffer()
        start = number = 0
        while waiting.read(source, start + 1):
            turn = number // len(engines)
            length = piece or piece_length(waiting.items[start], len(engines), options, turn, held)
            waiting.read(source, window_range(start, start + length, _ENDLESS, options)[1])
            if given_up.is_set():
                return
            if piece is None and waiting.exhausted:
                length = _even_piece(waiting.count - start, len(engines), options)
            count = waiting.count if waiting.exhausted else _ENDLESS
            stop = min(start + length, waiting.count)
            first, end = window_range(start, stop, count, options)
            part = _Piece([waiting.items[i] for i in range(first, min(end, waiting.count))], first, start, stop)
            pool.submit(part.fill, idle, options, given_up)
            yield part
            start, number = stop, number + 1
            waiting.forget(window_range(start, start + 1, _ENDLESS, options)[0])

    # One piece that is written, one for each device, one that is read: `piece_length` counts them.
    ahead = ReadAhead(pieces, len(engines), "pieces-ahead")
    try:
        for part in ahead:
            yield from part.finished()
    finally:
        given_up.set()
        ahead.close()
        pool.shutdown(cancel_futures=True)


_ENDLESS = 1 << 60
"""Frames of a shot whose end is not known yet."""


def piece_length(opened: Opened, devices: int, options: WindowOptions, turn: int, held: int = PIECE_BYTES) -> int:
    """Frames of a piece, whole blocks of windows, so that what waits for `devices` of them stays within about `held` bytes.

    turn: pieces that each device had before. The first is short, so that all devices begin soon; each is twice as long as the one before.
    """
    item, _ = opened
    each = item.held_bytes + (0 if options.propagation is None else item.frame.rgb.nbytes)
    fitting = held // (each * (devices + 2))
    length = min(max(fitting, SHORTEST_PIECE), LONGEST_PIECE, SHORTEST_PIECE << turn)
    return max(length // _block(options), 1) * _block(options)


def _even_piece(rest: int, devices: int, options: WindowOptions) -> int:
    """Frames of the next piece when only `rest` are left, all of them read: a device's share, but not too short."""
    length = max(-(-rest // devices), SHORTEST_PIECE)
    return -(-length // _block(options)) * _block(options)


def _block(options: WindowOptions) -> int:
    return options.neighbor_stride * options.crops.block_windows


class _Piece:
    """Frames start..stop-1 under way: the thread of a device puts each in as it is finished, whoever writes takes them out in order.

    part: what the network looks at for them, from frame `first` on.
    """

    def __init__(self, part: list[Opened], first: int, start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self._part, self._first = part, first
        self._finished: SimpleQueue[FinishedFrame | End] = SimpleQueue()

    def fill(self, idle: SimpleQueue[WindowEngine], options: WindowOptions, given_up: Event) -> None:
        """Compute the frames on the next idle engine. What goes wrong is raised where they are taken out."""
        engine = idle.get()
        error: BaseException | None = None
        part, self._part = self._part, []
        recent: deque[FinishedFrame] = deque(maxlen=FETCHED_AFTER)
        try:
            for frame in _fill_opened(part, self._first, self.start, self.stop, engine, options):
                if given_up.is_set():
                    break
                # Fetched while the device works on: what waits in pinned memory for a whole piece is slow to get and missed elsewhere.
                if len(recent) == FETCHED_AFTER and (inside := recent[0].inside) is not None:
                    inside.get()
                recent.append(frame)
                self._finished.put(frame)
        except BaseException as caught:  # every kind is raised again in the thread that takes the frames out
            error = caught
        finally:
            idle.put(engine)
        self._finished.put(End(error))

    def finished(self) -> Iterator[FinishedFrame]:
        """The frames, each as soon as it is finished. Raises what `fill` met, after the frames before it."""
        while not isinstance(item := self._finished.get(), End):
            yield item
        if item.error is not None:
            raise item.error


class _Buffer:
    """The frames of a shot that some piece still needs, by number."""

    def __init__(self) -> None:
        self.items: dict[int, Opened] = {}
        self.count = 0
        self.exhausted = False

    def read(self, source: Iterator[Opened], end: int) -> bool:
        """Have the frames below `end`, as far as the shot goes. Whether it has as many."""
        while self.count < end and not self.exhausted:
            item = next(source, None)
            if item is None:
                self.exhausted = True
            else:
                self.items[self.count] = item
                self.count += 1
        return self.count >= end

    def forget(self, before: int) -> None:
        for i in [i for i in self.items if i < before]:
            del self.items[i]
