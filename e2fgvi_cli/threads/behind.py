"""The counterpart of `ahead`: finished things are written by a thread while the network computes the next ones."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class WriteBehind(Generic[T]):
    """Gives items to `consume` in a thread, in order, at most `depth` of them behind.

    An error of `consume` is raised here by the next `put` or by `finish`, and nothing is consumed after it. One of
    `finish` and `abandon` has to be called; after either, `consume` is not running any more.
    """

    def __init__(self, consume: Callable[[T], None], depth: int) -> None:
        self._consume = consume
        self._queue: queue.Queue[T | None] = queue.Queue(maxsize=depth)
        self._error: BaseException | None = None
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._work, name="write-behind", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        # After an error items are still taken, and dropped, so that `put` never waits for a thread that is gone.
        while (item := self._queue.get()) is not None:
            if self._error is not None or self._abandoned.is_set():
                continue
            try:
                self._consume(item)
            except BaseException as caught:  # every kind is re-raised in the producer
                self._error = caught

    def put(self, item: T) -> None:
        """Hand over one item; waits while `depth` are on their way."""
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def finish(self) -> None:
        """Wait until everything is consumed."""
        try:
            self._queue.put(None)
            self._thread.join()
        except BaseException:  # interrupted: what is about to be closed must not be written to any more
            self.abandon()
            raise
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """Drop what is not consumed yet, and wait for the item that is being consumed."""
        self._abandoned.set()
        self._queue.put(None)
        self._thread.join()
