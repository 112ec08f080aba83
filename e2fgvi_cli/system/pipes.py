"""Clips through standard input and output. Standard library only."""

from __future__ import annotations

import io
import os
import select
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError, UsageError

DESCRIPTOR = 1
"""Standard output."""
_CHUNK = 1 << 20
_BEHIND_A_PIPE = "standard-input"


class StandardOutput(io.RawIOBase):
    """Descriptor 1 as a file to write samples to. Raises `InputError` when its reader is gone, now and ever after."""

    def __init__(self) -> None:
        self._broken = False

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: object, /) -> int:
        """Write all of it."""
        left = memoryview(data).cast("B")  # type: ignore[arg-type]
        size = left.nbytes
        while left.nbytes:
            if self._broken:
                raise _reader_left()
            try:
                left = left[os.write(DESCRIPTOR, left) :]
            except BlockingIOError:  # a pipe that does not block, and is full
                select.select([], [DESCRIPTOR], [], 1.0)
            except BrokenPipeError as error:
                self._broken = True
                raise _reader_left() from error
        return size


def _reader_left() -> InputError:
    return InputError("standard output was closed before the clip's end by the program that reads it")


def refuse_terminal(option: str, number: int, what: str) -> None:
    """Raise `UsageError` if the descriptor is a terminal, where nobody means a clip to come from or to go to."""
    try:
        terminal = os.isatty(number)
    except OSError:
        terminal = False
    if terminal:
        raise UsageError(f"{option} - {what}, and that is a terminal: use a pipe, or give a file")


@contextmanager
def standard_input() -> Iterator[Path]:
    """All of standard input as a file, which is gone afterwards: a clip is looked at more than once.

    Raises `UsageError` for a terminal, `InputError` where nothing comes or the disk is full.
    """
    refuse_terminal("--video", 0, "reads the clip from standard input")
    with tempfile.TemporaryDirectory(prefix="e2fgvi-") as folder:
        path = Path(folder) / _BEHIND_A_PIPE
        try:
            with path.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file, _CHUNK)
        except OSError as error:
            raise InputError(
                f"standard input cannot be kept in {tempfile.gettempdir()} ({error.strerror or error}): free some, or "
                "name another folder in TMPDIR"
            ) from error
        if not path.stat().st_size:
            raise InputError("--video -: nothing came from standard input: does the program before the pipe work?")
        yield path
