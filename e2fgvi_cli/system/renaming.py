"""Giving a finished file or folder its name in one step: without replacing what is there, or in exchange for it.

Standard library only. Where the system has no such step, the nearest thing to it.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

_UNSUPPORTED = frozenset(
    getattr(errno, name) for name in ("EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EPERM", "EMLINK", "EXDEV")
)
_AT_FDCWD = -100
_NO_REPLACE, _EXCHANGE = "no replace", "exchange"
_FLAGS = {"linux": {_NO_REPLACE: 1, _EXCHANGE: 2}, "darwin": {_NO_REPLACE: 4, _EXCHANGE: 2}}


def rename_new(source: Path, target: Path) -> None:
    """Rename a file or folder to a name that must not exist. Raises `FileExistsError` if it does, by then, too.

    An empty folder at the target counts as nothing if `source` is a folder.
    """
    if source.is_dir() and not source.is_symlink() and not target.is_symlink() and target.is_dir():
        # POSIX replaces an empty folder by a folder and refuses any other.
        if sys.platform == "win32":
            target.rmdir()
        try:
            os.rename(source, target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
            raise
        return
    if sys.platform == "win32":
        os.rename(source, target)  # refuses an existing name there
    elif not _rename_with(_NO_REPLACE, source, target):
        _link_or_rename(source, target)


def exchange(first: Path, second: Path) -> bool:
    """Let two existing names change places at once. False, and nothing done, where the system cannot."""
    return _rename_with(_EXCHANGE, first, second)


def _link_or_rename(source: Path, target: Path) -> None:
    if not source.is_dir():
        try:
            os.link(source, target, follow_symlinks=False)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):
            pass  # a file system without hard links
        else:
            source.unlink()
            return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    os.rename(source, target)


def _rename_with(what: str, source: Path, target: Path) -> bool:
    """Rename with a flag of the system's own call; False if it has none, or not for this file system."""
    call = _system_call()
    if call is None:
        return False
    code = call(os.fsencode(source), os.fsencode(target), _FLAGS[sys.platform][what])
    if code == 0:
        return True
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(source), None, str(target))


@functools.cache
def _system_call() -> Callable[[bytes, bytes, int], int] | None:
    """`renameat2` of Linux or `renamex_np` of macOS as a function (from, to, flags) -> error number; None elsewhere."""
    name = {"linux": "renameat2", "darwin": "renamex_np"}.get(sys.platform)
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name) if name else None
    except (OSError, AttributeError, TypeError):
        function = None
    if function is None:
        return None

    def call(source: bytes, target: bytes, flags: int) -> int:
        if sys.platform == "linux":
            failed = function(_AT_FDCWD, source, _AT_FDCWD, target, ctypes.c_uint(flags))
        else:
            failed = function(source, target, ctypes.c_uint(flags))
        return ctypes.get_errno() if failed else 0

    return call
