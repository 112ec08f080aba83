"""Settings that a process has only once, whatever number of runs and threads it has: set by the first that needs them,
put back by the last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from ..errors import UsageError

T = TypeVar("T")


class ProcessSetting(Generic[T]):
    """One such setting, called `name` in sentences. `read` tells its value, `write` changes it."""

    def __init__(self, name: str, read: Callable[[], T], write: Callable[[T], object]) -> None:
        self._name, self._read, self._write = name, read, write
        self._lock = threading.Lock()
        self._holders: list[T] = []
        self._before: list[T] = []

    @contextmanager
    def held(self, value: T) -> Iterator[None]:
        """Inside the block the setting is `value`; any number of threads may hold the same.

        Raises `UsageError` while another value is held: changing it would change what the other run computes.
        """
        with self._lock:
            if self._holders and self._holders[0] != value:
                raise UsageError(
                    f"{self._name} {value}: another run in this process uses {self._holders[0]}; "
                    "let it end first, or start a process for each"
                )
            if not self._holders:
                self._before = [self._read()]
                self._write(value)
            self._holders.append(value)
        try:
            yield
        finally:
            with self._lock:
                self._holders.pop()
                if not self._holders:
                    self._write(self._before.pop())
