"""A value that is computed by whoever needs it first."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Later(Generic[T]):
    """A value that is computed when it is first asked for, by whichever thread asks, once."""

    def __init__(self, compute: Callable[[], T]) -> None:
        self._compute: Callable[[], T] | None = compute
        self._lock = Lock()

    def get(self) -> T:
        """The value. What computing it raises is raised again by the next call."""
        with self._lock:
            if self._compute is not None:
                self._value = self._compute()
                self._compute = None  # what it was computed from is not needed any more
            return self._value
