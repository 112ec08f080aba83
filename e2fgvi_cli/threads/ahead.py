"""A bounded queue filled by one worker thread: reading goes on while the network computes, and never further ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class End:
    """What a producing thread puts into its queue last: the error it stopped at, or None."""

    error: BaseException | None = None


class ReadAhead(Generic[T]):
    """Iterate over `produce()` made by a thread, called `name`, at most `depth` items ahead, and one that waits for its
    place.

    An error of the worker is raised here, after the items that came before it; `close()` stops the worker and waits for
    it.
    """

    def __init__(self, produce: Callable[[], Iterator[T]], depth: int, name: str) -> None:
        self._queue: queue.Queue[T | End] = queue.Queue(maxsize=max(1, depth))
        self._stop = threading.Event()
        self._produce = produce
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        error: BaseException | None = None
        items = self._produce()
        try:
            for item in items:
                if not self._put(item):
                    break
        except BaseException as caught:  # every kind is re-raised in the consumer
            error = caught
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
        self._put(End(error))

    def _put(self, item: T | End) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=_POLL_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator[T]:
        while not self._stop.is_set():
            item = self._queue.get()
            if isinstance(item, End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def close(self) -> None:
        """Stop the worker; items not taken are dropped. May be called twice."""
        self._stop.set()
        self._thread.join()
        while not self._queue.empty():
            self._queue.get_nowait()
