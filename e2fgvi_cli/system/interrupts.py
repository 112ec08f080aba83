"""Ctrl-C, SIGTERM and SIGHUP end a command in one way, whatever the moment: what is unfinished goes, what is whole
stays.

Standard library only. `install` is for the program's own process; `deferred` is for everybody.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ..errors import EXIT_HANGUP, EXIT_INTERRUPTED

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
GRACE_SECONDS = 10.0
"""So long after the first signal further ones do not disturb the cleaning up; later ones end the process at once."""

_first: tuple[int, float] | None = None
_others_hook = sys.unraisablehook


class Interrupted(KeyboardInterrupt):
    """One of `SIGNALS` came; `number` is which."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def exit_code(number: int | None) -> int:
    """Of a command that the signal ended: 129 for SIGHUP, 130 for the others."""
    return EXIT_HANGUP if number == getattr(signal, "SIGHUP", None) else EXIT_INTERRUPTED


def install() -> None:
    """Let the first signal raise `Interrupted` in the main thread. What the caller has set to be ignored (nohup) stays
    so."""
    global _first, _others_hook  # noqa: PLW0603 (a process has one set of signal handlers)
    _first = None
    _handle(_raise)
    # Registered before what others register, and so run after it.
    atexit.unregister(_ignore)
    atexit.register(_ignore)
    if sys.unraisablehook is not _raise_again:
        _others_hook, sys.unraisablehook = sys.unraisablehook, _raise_again


def _ignore() -> None:
    """For the interpreter's own end, in which it takes handlers away, and the signal would decide the exit code."""
    _handle(signal.SIG_IGN)


def leave_at_once(code: int | None = None, message: bytes = b"") -> None:
    """Let a signal end the process without unwinding, for when there is nothing to clean up: before the work or after
    it.

    code: the exit code; None: that of the signal. message: for standard error.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            os.write(2, message)
        os._exit(exit_code(number) if code is None else code)

    _handle(leave)


def received() -> int | None:
    """The signal that came first since `install`, if one did."""
    return None if _first is None else _first[0]


def forget() -> None:
    """Let the next signal count as the first: the one before it was lost."""
    global _first  # noqa: PLW0603
    _first = None


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Inside the block no signal interrupts; one that came is answered at its end. In other threads than the main one:
    nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _frame: FrameType | None) -> None:
        noted.append(number)

    try:
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                before[number] = handler
                signal.signal(number, note)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if noted:
            before[noted[0]](noted[0], None)


def _handle(handler: Any) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _raise(number: int, _frame: FrameType | None) -> None:
    global _first  # noqa: PLW0603
    if _first is None:
        _first = (number, time.monotonic())
        raise Interrupted(number)
    if time.monotonic() - _first[1] > GRACE_SECONDS:
        os._exit(exit_code(number))


def _raise_again(ignored: Any) -> None:
    """Python prints and forgets what is raised in the callback of a weak reference or in `__del__`: a signal comes once
    more."""
    if not isinstance(ignored.exc_value, Interrupted):
        _others_hook(ignored)
        return
    forget()
    again = threading.Timer(0.05, os.kill, (os.getpid(), ignored.exc_value.number))
    again.daemon = True
    again.start()
