"""Starting processes so that a signal neither leaves one that nobody knows of nor hits one that is not ready for it.
Standard library only."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from ..system import interrupts


@contextmanager
def held_back() -> Iterator[None]:
    """Signals that end a run wait until the block is left. A process started inside gets none before it calls
    `let_through`."""
    with interrupts.deferred():
        if not hasattr(signal, "pthread_sigmask"):
            yield
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, interrupts.SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """In a process that was started inside `held_back`: be ended by SIGTERM alone, as by an interruption.

    Ctrl-C and a closed terminal reach the whole group; they are the driver's, which ends its workers.
    """
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    interrupts.install()
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts.SIGNALS)
