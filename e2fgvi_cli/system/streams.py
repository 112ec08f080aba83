"""Standard streams that never cost a run its result: closed, full, or without a reader. Standard library only."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from typing import TextIO


class _Steady(io.FileIO):
    """A descriptor whose first failure to write is kept, and after which writing does nothing."""

    failure: OSError | None = None

    def write(self, data: object, /) -> int:
        size = memoryview(data).nbytes  # type: ignore[arg-type]
        if self.failure is None:
            try:
                written = super().write(data)  # type: ignore[arg-type]
                while written is None:  # a pipe that does not block, and is full
                    select.select([], [self], [], 1.0)
                    written = super().write(data)  # type: ignore[arg-type]
                return written
            except OSError as error:
                self.failure = error
        return size


def guard() -> None:
    """Open what of the descriptors 0 to 2 is closed as the null device, and let writing to standard output and error
    not fail.

    Without this the first file that is opened could become descriptor 2, and receive what libraries say there. May be
    called twice.
    """
    for number in (0, 1, 2):
        _open_if_closed(number)
    sys.stdout = _guarded(sys.stdout, 1)
    sys.stderr = _guarded(sys.stderr, 2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names in any letters, and names that are no text, on a terminal that has only some.
            stream.reconfigure(errors="backslashreplace")


def finish(code: int) -> int:
    """Flush, and say if output was lost for want of room. Returns the exit code: 1 instead of 0 then; a reader who left
    wants no more."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    failure = raw.failure if isinstance(raw, _Steady) else None
    if failure is None or failure.errno == errno.EPIPE:
        return code
    sys.stderr.write(f"error: standard output could not be written: {failure.strerror}; the work itself is done\n")
    sys.stderr.flush()
    return code or 1


def _open_if_closed(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)
        os.set_inheritable(number, True)


def _guarded(stream: TextIO | None, number: int) -> TextIO:
    if stream is not None:
        try:
            if stream.fileno() != number or (sys.platform == "win32" and stream.isatty()):
                return stream
        except (OSError, ValueError, AttributeError):
            return stream  # somebody's own, such as a test's
        if isinstance(getattr(getattr(stream, "buffer", None), "raw", None), _Steady):
            return stream
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    encoding = "utf-8" if stream is None else stream.encoding
    lines = number == 2 or (stream is not None and stream.isatty())
    return io.TextIOWrapper(io.BufferedWriter(_Steady(number, "w", closefd=False)), encoding, line_buffering=lines)
