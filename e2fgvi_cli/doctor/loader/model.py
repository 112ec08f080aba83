"""The vocabulary of the loaders: where a library was looked for, and what is wrong with a file."""

from __future__ import annotations

import enum
import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..binary import Binary, Bond, Malformed, read_binary
from ..binary.demangle import readable


class Flaw(enum.Enum):
    """What stops (or would stop) a file from loading, most fundamental first."""

    UNREADABLE = "unreadable"  # damaged headers, or not a library at all
    TRUNCATED = "truncated"
    WRONG_MACHINE = "wrong_machine"
    MISSING_LIBRARY = "missing_library"
    MISSING_VERSION = "missing_version"
    MISSING_SYMBOL = "missing_symbol"


@dataclass(frozen=True)
class Fault:
    """One reason for a failure to load.

    `consumer` wants `name` (library, symbol or version) and `provider` is the file that should have had it (None: no
    such file). `searched` are the folders looked into; `instead` are files of that name, or symbols of that stem, found
    elsewhere. `delayed` faults appear at the first call only.
    """

    flaw: Flaw
    consumer: Path
    name: str
    provider: Path | None = None
    searched: tuple[Path, ...] = ()
    instead: tuple[str, ...] = ()
    delayed: bool = False
    detail: str = ""

    @property
    def provider_name(self) -> str:
        """File name of the provider, "" without one."""
        return self.provider.name if self.provider else ""

    @property
    def readable(self) -> str:
        """The name as a person would search for it; `#7` has none, it is the seventh function of a DLL's list."""
        if self.flaw is Flaw.MISSING_SYMBOL and self.name.startswith("#"):
            return f"ordinal {self.name[1:]}"
        return readable(self.name) if self.flaw is Flaw.MISSING_SYMBOL else self.name


@dataclass(frozen=True)
class Found:
    """Outcome of looking for one library: a path, or `assumed` (belongs to the system and cannot be seen from here)."""

    path: Path | None = None
    assumed: bool = False
    searched: tuple[Path, ...] = ()
    rejected: tuple[str, ...] = ()  # files of that name that the loader would pass over, with the reason


@dataclass
class Setting:
    """The process in which a file would be loaded.

    `native` is False when the file is of another platform than this machine: then system folders are not consulted and
    the system's own libraries are taken for granted. `user_dirs` are `os.add_dll_directory` folders on Windows and the
    folders of `--search` everywhere; `preload` are files already loaded (torch's libraries, for extensions of torch).
    """

    platform: str  # "linux", "win32", "darwin"
    machine: str
    native: bool = True
    executable: Path | None = None
    user_dirs: list[Path] = field(default_factory=list)
    preload: list[Path] = field(default_factory=list)
    environ: Mapping[str, str] = field(default_factory=dict)
    system_root: Path | None = None  # Windows' System32 or a Linux root folder other than "/", for tests


SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class ShortageError(Exception):
    """This process may open no more files or map no more memory: nothing is said of the file."""


class Library:
    """Parsed files, each read once. Use with `with`, or call `close`."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, str | None], Binary | Malformed | OSError] = {}

    def get(self, path: Path, machine: str | None = None) -> Binary:
        """The parsed file. Raises Malformed or OSError, the same one each time; ShortageError where a limit of the
        process is reached."""
        key = (os.path.realpath(path), machine)
        if key not in self._files:
            try:
                self._files[key] = read_binary(path, machine)
            except (Malformed, OSError) as error:
                if isinstance(error, OSError) and error.errno in SHORTAGES:
                    raise ShortageError(error.strerror or str(error)) from error
                self._files[key] = error
        entry = self._files[key]
        if isinstance(entry, Exception):
            raise entry
        return entry

    def close(self) -> None:
        """Release every mapping."""
        for entry in self._files.values():
            if isinstance(entry, Binary):
                entry.close()
        self._files.clear()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


__all__ = ["Bond", "Fault", "Flaw", "Found", "Library", "Setting", "ShortageError"]
