"""Results appear complete or not at all: written under a temporary name beside the target, named when they are
finished.

Standard library only. What appears at a target in the meantime is not replaced without permission; what a dead process
left behind is removed by the next one that writes there.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ..errors import InputError
from .interrupts import deferred
from .paths import is_written_frame
from .renaming import exchange, rename_new

_NAME_BYTES = 255
"""The longest name that common file systems take."""

published: deque[Path] = deque(maxlen=100)
"""What this process gave its name, latest last: an interruption says that it is whole."""

_live: dict[Path, int] = {}
"""Temporary names that are written to now, and the process that does: a fork knows its parent's."""


@dataclass(frozen=True)
class _Entry:
    temporary: Path
    target: Path
    overwrite: bool


class Publication:
    """The results of one run, published together. Context manager: on an error nothing of them is left.

    `temporary` gives each a name to write to; leaving cleanly gives them their own, the first one first, undisturbed by
    signals. Raises `InputError` where a target was taken in the meantime; the finished result is then kept beside it
    under another name.
    before: called with every (finished file or folder, target) before the first has its name; what it raises ends the
    run.
    """

    def __init__(self, before: Callable[[list[tuple[Path, Path]]], None] | None = None) -> None:
        self._entries: list[_Entry] = []
        self._before = before

    def temporary(self, target: Path, *, overwrite: bool = False) -> Path:
        """A free name in the target's own folder, so that renaming stays within one file system. Makes the parents.

        overwrite: what is at the target may be replaced; of a folder only the frames in it are.
        """
        temporary = temporary_beside(target)
        self._entries.append(_Entry(temporary, target, overwrite))
        return temporary

    def withdraw(self, temporary: Path) -> None:
        """Remove one of the results, which then is not published."""
        self._entries = [entry for entry in self._entries if entry.temporary != temporary]
        discard(temporary)

    def publish(self) -> None:
        """Give every result its name."""
        failures = []
        with deferred():
            if self._before is not None:
                try:
                    self._before([(entry.temporary, entry.target) for entry in self._entries])
                except BaseException:
                    self.discard()
                    raise
            entries, self._entries = self._entries, []
            for entry in entries:
                try:
                    _publish(entry)
                except InputError as error:
                    failures.append(error)
        if failures:
            raise failures[0]

    def discard(self) -> None:
        """Remove what was written."""
        with deferred():
            entries, self._entries = self._entries, []
            for entry in entries:
                discard(entry.temporary)

    def __enter__(self) -> Publication:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.publish()
        else:
            self.discard()


def replace_file(target: Path, content: str | bytes) -> None:
    """A small file (text as UTF-8), there completely or not at all; replaces what is there. Raises `OSError`, also
    without its folder."""
    with deferred():
        temporary = _reserve(target)
        try:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
            os.replace(temporary, target)
        finally:
            discard(temporary)


def temporary_beside(target: Path) -> Path:
    """A name in the folder where the target is to appear, of this process; what dead ones left for this target goes."""
    real = _through_link(target)
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the output folder {target.parent} cannot be made: {error.strerror or error}") from error
    return _reserve(real)


def _reserve(real: Path) -> Path:
    remove_stale(real)
    number = 1
    while (temporary := real.parent / _temporary_name(real, f"{_token()}-{number}")) in _live:
        number += 1
    _live[temporary] = os.getpid()
    return temporary


def discard(temporary: Path) -> None:
    """Remove a temporary file or folder, if it is there."""
    if temporary.is_dir() and not temporary.is_symlink():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    _live.pop(temporary, None)


def discard_unfinished() -> None:
    """Remove everything that this process has not published: the end of a command that failed."""
    for temporary, process in list(_live.items()):
        if process == os.getpid():
            discard(temporary)


def remove_stale(target: Path, dead: frozenset[int] = frozenset()) -> None:
    """Remove what processes that are gone left of this target; if its replaced folder is all that is left, put it back.

    dead: numbers of processes known to be gone, on whatever machine; others count as gone if they ran on this one and
    do no more.
    """
    real = _through_link(target)
    pattern = _pattern(real)
    try:
        names = [entry.name for entry in os.scandir(real.parent)]
    except OSError:
        return
    for name in names:
        found = pattern.fullmatch(name)
        if found is None or real.parent / name in _live:
            continue
        process, machine, ending = int(found[1]), found[2], found[3]
        if process in dead or (machine == _machine() and (process == os.getpid() or not _is_alive(process))):
            if ending == ".old" and not os.path.lexists(real):
                with suppress(OSError):
                    rename_new(real.parent / name, real)
            else:
                _remove_old(real.parent / name)


def _remove_old(left: Path) -> None:
    """A file, or the frames of a folder and, if that was all, the folder."""
    with suppress(OSError):
        if left.is_symlink() or not left.is_dir():
            left.unlink(missing_ok=True)
            return
        for entry in left.iterdir():
            if is_written_frame(entry):
                entry.unlink()
        left.rmdir()


def _publish(entry: _Entry) -> None:
    temporary, target = entry.temporary, _through_link(entry.target)
    try:
        if temporary.is_dir():
            _publish_folder(temporary, target, entry.overwrite)
        elif entry.overwrite:
            os.replace(temporary, target)
        else:
            rename_new(temporary, target)
    except OSError as error:
        # The work of hours is done: it must not be lost for want of a name.
        try:
            kept = _keep(temporary, target)
        except OSError:
            kept = temporary
        taken = isinstance(error, FileExistsError)
        what = "appeared while this ran and was not replaced" if taken else f"cannot be replaced ({error.strerror})"
        raise InputError(f"the output {entry.target} {what}: the finished result is {kept}") from error
    finally:
        _live.pop(temporary, None)
    published.append(entry.target)


def _publish_folder(temporary: Path, target: Path, overwrite: bool) -> None:
    if not overwrite or not target.is_dir():
        rename_new(temporary, target)
        return
    old = temporary
    if not exchange(temporary, target):
        old = target.parent / _temporary_name(target, f"{_token()}-1", ".old")
        os.rename(target, old)
        try:
            os.rename(temporary, target)
        except OSError:
            os.rename(old, target)
            raise
    _remove_frames(old, target)


def _remove_frames(old: Path, target: Path) -> None:
    """Remove a replaced folder: what came into it while the run lasted and is no frame goes into the new one."""
    for entry in list(old.iterdir()):
        if is_written_frame(entry):
            entry.unlink()
        else:
            try:
                rename_new(entry, target / entry.name)
            except FileExistsError:
                _keep(entry, target / entry.name)
    old.rmdir()


def _keep(finished: Path, target: Path) -> Path:
    """Give something a free name that resembles the target's."""
    number = 1
    while True:
        name = target.with_name(f"{target.stem}-{number}{target.suffix}")
        try:
            rename_new(finished, name)
        except FileExistsError:
            number += 1
            continue
        return name


def _through_link(target: Path) -> Path:
    """Where a folder of frames really is: a link to a folder stays a link. A link to a file is replaced by the file."""
    return Path(os.path.realpath(target)) if target.is_symlink() and target.is_dir() else target


def _temporary_name(target: Path, token: str, ending: str = ".partial") -> str:
    stem, suffix = _parts(target)
    return f".{stem}.{token}{ending}{suffix}"


def _parts(target: Path) -> tuple[str, str]:
    """Stem, shortened where the temporary name would be too long, and suffix."""
    stem, suffix = target.stem, target.suffix
    if len(os.fsencode(suffix)) > 16:
        stem, suffix = target.name, ""
    room = _NAME_BYTES - len(os.fsencode(f"..{sys.maxsize}-000000-000.partial{suffix}"))
    data = os.fsencode(stem)
    if len(data) > room:
        stem = f"{data[: room - 8].decode(errors='ignore')}{zlib.crc32(data):08x}"
    return stem, suffix


def _pattern(target: Path) -> re.Pattern[str]:
    stem, suffix = (re.escape(part) for part in _parts(target))
    return re.compile(rf"\.{stem}\.(\d+)-([0-9a-f]{{6}})-\d+(\.partial|\.old){suffix}")


def _token() -> str:
    return f"{os.getpid()}-{_machine()}"


def _machine() -> str:
    """Tells apart the machines, and the containers, that share a folder: a process number means something on one of
    them only."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{zlib.crc32(f'{socket.gethostname()} {space}'.encode()) & 0xFFFFFF:06x}"


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":
        return _is_alive_windows(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # somebody else's
    return True


def _is_alive_windows(process: int) -> bool:
    """By OpenProcess and GetExitCodeProcess. Written from their documentation; not run on Windows here."""
    import ctypes

    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 (absent from the type stubs of other platforms)
    handle = kernel.OpenProcess(0x1000, False, process)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return bool(kernel.GetLastError() != 87)  # ERROR_INVALID_PARAMETER: there is no such process
    code = ctypes.c_uint32()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == 259  # STILL_ACTIVE
