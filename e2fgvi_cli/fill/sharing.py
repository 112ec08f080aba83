"""One shot filled by several devices at once: whoever has nothing to do takes a part of what another still has before
it.

So nobody has to know how long the shot is, how fast the devices are or how far reading will get; there are as few
pieces as the frames that may wait allow, and at the end all devices are busy to the last. Where the cuts fall depends
on time, what is computed does not: a piece is what the whole shot gives there (`pieces`).
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from queue import SimpleQueue
from threading import Condition

from ..frames.stages import FinishedFrame, HoledFrame
from ..threads.ahead import End
from .exchange import Contribution
from .options import WindowOptions
from .pieces import as_context, window_range
from .smoothing import smooth
from .stream import Proposed, WindowEngine, fill_rest, propose

HELD_BYTES = 4 << 30
"""Frames that are read and not yet written, all devices together. More where there is room (`pipeline.HELD_SHARE`)."""
FETCHED_AFTER = 16
"""Frames after which a fill is fetched from its device: more than a window's hop, so that nobody waits for it."""
SHORTEST_PIECE = 40
"""Frames. At a cut some frames are encoded twice and predictions cross the bus: less than this is not divided."""
LONGEST_STRETCH = 120
"""Frames that a device keeps before it when another takes what follows. The other's frames wait until all before them
are written, and whoever writes waits for one device's meanwhile, so longer stretches are slower on short clips and no
better on long ones (`measurements.sharing`)."""

_ENDLESS = 1 << 60
"""Frames of a shot, or of a piece, whose end is not known yet."""


def fill_shot_on(
    engines: Sequence[WindowEngine],
    items: Iterable[HoledFrame],
    options: WindowOptions,
    held: int = HELD_BYTES,
    shortest: int = SHORTEST_PIECE,
) -> Iterator[FinishedFrame]:
    """`fill_shot` on several engines at once. What other frames show is looked up once, on the first engine's
    device."""
    filled = fill_rest_on(engines, propose(items, options, engines[0].lookup()), options, held, shortest)
    return smooth(filled, options.smoothing)


def fill_rest_on(
    engines: Sequence[WindowEngine],
    proposed: Iterable[Proposed],
    options: WindowOptions,
    held: int = HELD_BYTES,
    shortest: int = SHORTEST_PIECE,
) -> Iterator[FinishedFrame]:
    """`fill_rest` on several engines at once, one thread each.

    The frames are those of one engine alone, as long as all engines compute alike. Reads in a thread of its own, until
    about `held` bytes of frames are read and not yet taken. Raises what goes wrong in any of these threads, after the
    frames before it; when the iterator is closed, none of them works any more.
    """
    shot = _SharedShot(proposed, options, len(engines), held, shortest)
    with ThreadPoolExecutor(1, "shared-reader") as reader, ExitStack() as stack:
        # After `give_up`, for that is what they wait for.
        stack.callback(reader.submit(shot.read).exception)
        for number, engine in enumerate(engines):
            stack.callback(stack.enter_context(_device_thread(number)).submit(shot.work, engine).exception)
        stack.callback(shot.give_up)
        yield from shot.finished()


_idle_threads: dict[int, list[ThreadPoolExecutor]] = {}
"""By the number of the device. Several where several shots were shared at the same time."""


@contextmanager
def _device_thread(number: int) -> Iterator[ThreadPoolExecutor]:
    """A thread for the device `number` that outlives the shot: cuDNN's choice of kernels is kept for each thread."""
    idle = _idle_threads.setdefault(number, [])
    thread = idle.pop() if idle else ThreadPoolExecutor(1, f"device-{number}")
    try:
        yield thread
    finally:
        idle.append(thread)


class _GivenUpError(Exception):
    """Nobody wants the frames any more."""


class _Piece:
    """Frames start..stop-1: a device's thread puts each in as it is finished, whoever writes takes them out in order.

    stop comes closer when another device takes the rest. done: the first frame that is not finished yet. begun: the
    centre of the last window that is computed or being computed. preceding, following: who has the frames before and
    after.
    """

    def __init__(
        self, start: int, stop: int, first: int, begun: int, preceding: _Piece | None, following: _Piece | None
    ) -> None:
        self.start, self.stop, self.first, self.begun = start, stop, first, begun
        self.preceding, self.following = preceding, following
        self.done = start
        self.waits = False
        """Whether its device waits for a frame that is not read yet, or for what the next piece says of its last
        frames."""
        self.over = False
        self.error: BaseException | None = None
        self.frames: SimpleQueue[FinishedFrame | End] = SimpleQueue()
        # What its windows say of its neighbours' frames, once they are computed and until it is taken.
        self.given_before: list[Contribution] | None = None
        self.given_after: list[Contribution] | None = None


class _PieceBoundary:
    """`exchange.Neighbours` of a piece, whose frames are numbered from `first` in its stream."""

    def __init__(self, piece: _Piece, changed: Condition, given_up: Callable[[], bool]) -> None:
        self._piece, self._changed, self._given_up = piece, changed, given_up

    @property
    def start(self) -> int:
        return -1 if self._piece.preceding is None else self._piece.start - self._piece.first

    def stop(self, center: int) -> int | None:
        with self._changed:
            self._piece.begun = max(self._piece.begun, self._piece.first + center)
            return None if self._piece.following is None else self._piece.stop - self._piece.first

    def give_before(self, contributions: list[Contribution]) -> None:
        with self._changed:
            self._piece.given_before = contributions
            self._changed.notify_all()

    def give_after(self, contributions: list[Contribution]) -> None:
        with self._changed:
            self._piece.given_after = contributions
            self._changed.notify_all()

    def take_before(self) -> list[Contribution]:
        with self._changed:
            # Divided meanwhile, the frames before may belong to another piece: `preceding` is looked at each time.
            giver = self._wait_for(lambda: self._piece.preceding, lambda piece: piece.given_after)
            given, giver.given_after = giver.given_after or [], None
            return self._renumbered(given, giver)

    def take_after(self) -> list[Contribution]:
        with self._changed:
            self._piece.waits = True
            self._changed.notify_all()
            giver = self._wait_for(lambda: self._piece.following, lambda piece: piece.given_before)
            self._piece.waits = False
            given, giver.given_before = giver.given_before or [], None
            return self._renumbered(given, giver)

    def _wait_for(
        self, whom: Callable[[], _Piece | None], given: Callable[[_Piece], list[Contribution] | None]
    ) -> _Piece:
        """The neighbour, once it has given, or is over without: nothing was there, or its error is raised here, too."""
        while True:
            giver = whom()
            assert giver is not None, "whoever takes has a neighbour"
            if given(giver) is not None or (giver.over and giver.error is None):
                return giver
            if giver.error is not None:
                raise giver.error
            if self._given_up():
                raise _GivenUpError
            self._changed.wait()

    def _renumbered(self, given: list[Contribution], giver: _Piece) -> list[Contribution]:
        return [replace(c, index=c.index + giver.first - self._piece.first) for c in given]


class _SharedShot:
    """The frames of a shot that are still needed, and the pieces under way. Everything that changes does so under
    `_changed`."""

    def __init__(
        self, source: Iterable[Proposed], options: WindowOptions, devices: int, held: int, shortest: int
    ) -> None:
        self._source, self._options, self._devices = source, options, devices
        self._held, self._shortest = held, shortest
        self._changed = Condition()
        self._items: dict[int, Proposed] = {}
        self._oldest = self._count = self._taken = 0
        self._limit = 0
        """Frames that may be read and not taken."""
        self._exhausted = self._given_up = False
        self._error: BaseException | None = None
        self._first = _Piece(0, _ENDLESS, 0, -options.neighbor_stride, None, None)
        self._waiting: list[_Piece] = [self._first]
        self._running: list[_Piece] = []

    def read(self) -> None:
        """Thread: read the shot, as far ahead as may be held."""
        error: BaseException | None = None
        source = iter(self._source)
        try:
            for pair in source:
                with self._changed:
                    self._limit = self._limit or self._frames_held(pair)
                    self._items[self._count] = pair
                    self._count += 1
                    self._changed.notify_all()
                    self._changed.wait_for(self._may_read)
                    if self._given_up:
                        break
        except BaseException as caught:  # every kind is raised again in the thread that takes the frames out
            error = caught
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
        with self._changed:
            self._error, self._exhausted = error, error is None
            for piece in (*self._waiting, *self._running) if self._exhausted else ():
                piece.stop = min(piece.stop, self._count)
            self._changed.notify_all()

    def work(self, engine: WindowEngine) -> None:
        """Thread of a device: fill pieces until nothing is left that is worth dividing."""
        while (piece := self._next_piece()) is not None:
            error: BaseException | None = None
            recent: deque[FinishedFrame] = deque(maxlen=FETCHED_AFTER)
            neighbours = _PieceBoundary(piece, self._changed, lambda: self._given_up)
            try:
                finished = fill_rest(self._feed(piece), engine, self._options, neighbours)
                for number, frame in enumerate(finished, piece.first):
                    if number < piece.start:
                        continue
                    # Fetched while the device works on: what waits in pinned memory for long is slow to get and missed
                    # elsewhere.
                    if len(recent) == FETCHED_AFTER and (inside := recent[0].inside) is not None:
                        inside.get()
                    # The first frame waits for a window of the piece before, and is merged on the host.
                    if number > piece.start or piece.preceding is None:
                        recent.append(frame)
                    if not self._put(piece, number, frame):
                        break
            except _GivenUpError:
                return
            except BaseException as caught:
                error = caught
            with self._changed:
                self._running.remove(piece)
                piece.over, piece.error = True, error
                piece.frames.put(End(error))
                self._changed.notify_all()

    def finished(self) -> Iterator[FinishedFrame]:
        """All frames in order, each as soon as it is finished. Raises what a thread met, after the frames before it."""
        piece: _Piece | None = self._first
        while piece is not None:
            while not isinstance(item := piece.frames.get(), End):
                with self._changed:
                    self._taken += 1
                    self._changed.notify_all()
                yield item
            if item.error is not None:
                raise item.error
            piece = piece.following

    def give_up(self) -> None:
        """Have all threads end."""
        with self._changed:
            self._given_up = True
            self._changed.notify_all()

    def _frames_held(self, pair: Proposed) -> int:
        item, _ = pair
        each = item.held_bytes + (0 if self._options.propagation is None else item.frame.rgb.nbytes)
        # No piece begins further ahead than that, and reading is not for free: done early, it takes processor time and
        # memory from the start.
        useful = (self._devices + 1) * LONGEST_STRETCH + window_range(0, 1, _ENDLESS, self._options)[1]
        return max(min(self._held // each, useful), 2 * self._shortest)

    def _may_read(self) -> bool:
        if self._given_up or self._count - self._taken < self._limit:
            return True
        # However little may be held: what the writer waits for is never waited for in vain.
        earliest = min(self._running, key=lambda piece: piece.start, default=None)
        return earliest is not None and earliest.waits and self._taken == earliest.done

    def _next_piece(self) -> _Piece | None:
        """What a device without work does next. None: nothing, the others finish what they have."""
        with self._changed:
            while not self._given_up:
                piece = self._waiting.pop() if self._waiting else self._divide()
                if piece is not None:
                    self._running.append(piece)
                    return piece
                if self._exhausted or self._error is not None or not self._running:
                    return None
                self._changed.wait()
            return None

    def _divide(self) -> _Piece | None:
        """A part of the longest stretch of frames, read and not finished, that a device has before it, and all that
        follows."""
        piece = max(self._running, key=self._left, default=None)
        if piece is None or self._left(piece) < self._shortest:
            return None
        hop, block = self._options.neighbor_stride, self._options.neighbor_stride * self._options.crops.block_windows
        if piece.stop > self._count:  # there is more to come
            kept = min(self._left(piece), max(self._limit // self._devices, self._shortest), LONGEST_STRETCH)
        else:
            kept = min(self._left(piece) // 2, LONGEST_STRETCH)
        cut = (piece.done + kept) // block * block
        # The last window before the cut must not have begun: what it says of the frame after it is for the other
        # device.
        if not piece.begun + 2 * hop <= cut < min(piece.stop, self._count + 1):
            return None
        first = window_range(cut, cut + 1, _ENDLESS, self._options)[0]
        taken = _Piece(cut, piece.stop, first, cut - hop, piece, piece.following)
        if taken.following is not None:
            taken.following.preceding = taken
        piece.stop, piece.following = cut, taken
        self._changed.notify_all()
        return taken

    def _left(self, piece: _Piece) -> int:
        return min(piece.stop, self._count) - piece.done

    def _feed(self, piece: _Piece) -> Iterator[Proposed]:
        """What the network looks at for a piece. Waits for frames that are not read yet."""
        for number in itertools.count(piece.first):
            pair = self._get(piece, number)
            if pair is None:
                return
            # With their boxes the frames of the neighbours, too, of which this piece's windows say something.
            near = piece.start - self._options.neighbor_stride <= number <= piece.stop
            yield pair if near else as_context(pair)

    def _get(self, piece: _Piece, number: int) -> Proposed | None:
        with self._changed:
            try:
                while not self._given_up:
                    count = self._count if self._exhausted else _ENDLESS
                    if number >= window_range(piece.start, piece.stop, count, self._options)[1]:
                        return None
                    if number < self._count:
                        return self._items[number]
                    if self._error is not None:
                        raise self._error
                    if not piece.waits:
                        # Told once: two devices that wait would go on waking each other, and keep the reading thread
                        # from its work.
                        piece.waits = True
                        self._changed.notify_all()
                    self._changed.wait()
                raise _GivenUpError
            finally:
                piece.waits = False

    def _put(self, piece: _Piece, number: int, frame: FinishedFrame) -> bool:
        """Hand a finished frame out. Whether the piece has more."""
        with self._changed:
            if self._given_up:
                raise _GivenUpError
            piece.done = number + 1
            piece.frames.put(frame)
            oldest = min(p.done for p in self._running)
            for old in range(self._oldest, window_range(oldest, oldest + 1, _ENDLESS, self._options)[0]):
                del self._items[old]
                self._oldest = old + 1
            self._changed.notify_all()
            return piece.done < piece.stop
