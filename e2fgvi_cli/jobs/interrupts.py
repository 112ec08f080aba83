"""Signals that end a run: only the first one counts, and none comes while a process is being started. Standard library only.

Letting go of a batch takes a moment (workers clean up, the journal is told): a second Ctrl-C, or the SIGTERM that follows a SIGHUP,
must not break into that and leave half of it behind.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from .. import interrupts

PATIENCE_SECONDS = 15.0
"""After so long a second signal counts: letting go should have been over."""

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class _State:
    """Of this process: what its handlers were, whether signals are held back, and the one that came meanwhile."""

    def __init__(self) -> None:
        self.previous: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self.held = 0
        self.waiting: int | None = None
        self.first: tuple[int, float] | None = None


_state = _State()


@contextmanager
def first_only() -> Iterator[None]:
    """Inside, the first signal that ends a run does what it did before, and those after it nothing.

    Signals that are ignored or end the process at once stay as they are. Does nothing outside the main thread, where signals do
    not arrive, and inside another such block.
    """
    if threading.current_thread() is not threading.main_thread() or _state.previous:
        yield
        return
    handlers = {number: signal.getsignal(number) for number in ENDING}
    _state.previous = {number: handler for number, handler in handlers.items() if callable(handler)}
    _state.first = _state.waiting = None
    for number in _state.previous:
        signal.signal(number, _on_signal)
    hook, sys.unraisablehook = sys.unraisablehook, _raise_again
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in _state.previous.items():
            signal.signal(number, handler)
        _state.previous = {}


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _state.first is not None and time.monotonic() - _state.first[1] < PATIENCE_SECONDS:
        return
    if _state.held:
        _state.waiting = number
        return
    _state.first = number, time.monotonic()
    _state.previous[number](number, frame)


def _raise_again(ignored: Any) -> None:
    """Python prints and forgets what is raised in `__del__` or the callback of a weak reference: the signal comes once more."""
    if not isinstance(ignored.exc_value, KeyboardInterrupt) or _state.first is None:
        sys.__unraisablehook__(ignored)
        return
    number, _state.first = _state.first[0], None
    interrupts.forget()
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()


@contextmanager
def held_back() -> Iterator[None]:
    """Signals that end a run wait until the block is left. A process started inside gets none before it calls `let_through`."""
    masked = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING) if masked else set()
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1
        if masked:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        number, _state.waiting = _state.waiting, None
        if number is not None and number in _state.previous:
            _on_signal(number, None)


def let_through() -> None:
    """In a process that was started inside `held_back`, once its own handlers are there."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
