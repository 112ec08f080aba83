"""Bounds-checked reading of a file that may be damaged or hostile.

Every read names an offset that the file itself supplied, so every read is checked: outside the file means `Malformed`,
never an IndexError, a huge allocation or an endless loop. Tables cannot be larger than the bytes that hold them, and
`Budget` stops files in which many entries point at the same bytes (a million symbols with one long name).
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

LONGEST_NAME = 1 << 16  # libtorch's longest symbol has 3199 characters; 64 KiB leaves room for template libraries
ABSOLUTE_BUDGET = 1 << 29  # half a gibibyte of names: more than any real library, less than a machine's memory


class Malformed(Exception):
    """The file contradicts its own format; the message says where. Raised by every reader of this package."""


class Budget:
    """A limit on how much a reader may produce in all, in bytes of names or entries of tables."""

    def __init__(self, limit: int) -> None:
        self.left = min(limit, ABSOLUTE_BUDGET)

    def spend(self, amount: int) -> None:
        """Take `amount` from what is left. Raises Malformed once the limit is passed."""
        self.left -= amount
        if self.left < 0:
            raise Malformed("tables refer to far more data than the file holds")


class View:
    """A read-only mapped file (or bytes). Offsets are absolute, in bytes. Close it, or use it with `with`.

    Raises OSError when the file cannot be opened, or is no regular file: a pipe could be waited for, for ever.
    """

    def __init__(self, source: Path | bytes) -> None:
        self._map: mmap.mmap | None = None
        self.data: mmap.mmap | bytes
        if isinstance(source, bytes):
            self.data = source
        else:
            if not stat.S_ISREG(os.stat(source).st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            with open(source, "rb") as handle:
                try:
                    self._map = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
                    self.data = self._map
                except ValueError:  # an empty file cannot be mapped
                    self.data = b""
        self.size = len(self.data)
        self.names = Budget(8 * self.size + (1 << 16))
        self.entries = Budget(2 * self.size + (1 << 12))

    def __enter__(self) -> View:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the mapping; later reads are not allowed."""
        if self._map is not None:
            self._map.close()
            self._map = None
            self.data = b""

    def check(self, offset: int, length: int) -> None:
        """Raise Malformed unless `length` bytes at `offset` lie inside the file."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise Malformed(f"{length} bytes at offset {offset:#x} lie outside the file ({self.size} bytes)")

    def unpack(self, layout: struct.Struct, offset: int) -> tuple[Any, ...]:
        """One record of `layout` at `offset`."""
        self.check(offset, layout.size)
        return layout.unpack_from(self.data, offset)

    def table(self, layout: struct.Struct, offset: int, count: int) -> Iterator[tuple[Any, ...]]:
        """`count` records of `layout`, one after the other from `offset`."""
        length = layout.size * count
        self.check(offset, length)
        self.entries.spend(count)
        return layout.iter_unpack(self.data[offset : offset + length])

    def read(self, offset: int, length: int) -> bytes:
        """`length` raw bytes at `offset`."""
        self.check(offset, length)
        return bytes(self.data[offset : offset + length])

    def text(self, offset: int, end: int | None = None) -> str:
        """The zero-terminated string at `offset`; `end` is where its table ends (default: the file)."""
        self.check(offset, 1)
        end = self.size if end is None else min(end, self.size)
        stop = self.data.find(b"\0", offset, min(end, offset + LONGEST_NAME))
        if stop < 0:
            raise Malformed(f"string at offset {offset:#x} does not end")
        self.names.spend(stop - offset + 1)
        return self.data[offset:stop].decode("utf-8", "surrogateescape")
