"""What the three formats have in common: the libraries and symbols a file asks for and those it offers."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path


class Bond(enum.Enum):
    """How firmly a library is wanted."""

    REQUIRED = "required"  # loading fails without it
    DELAY = "delay"  # Windows delay load: fails at the first call
    WEAK = "weak"  # macOS weak: may be absent
    REEXPORT = "reexport"  # macOS: required, and its symbols count as ours


@dataclass(frozen=True)
class Need:
    """A library named by the file. `name` is as written: `c10.dll`, `libc10.so`, `@rpath/libc10.dylib`."""

    name: str
    bond: Bond = Bond.REQUIRED


@dataclass(frozen=True)
class Import:
    """A symbol the file wants. `ordinal` replaces the name in some Windows imports.

    `library` is the `Need.name` that must have it (PE, two-level Mach-O) or None where any loaded library will do (ELF,
    flat Mach-O). `version` and `version_file` are ELF's (`GLIBCXX_3.4.30` of `libstdc++.so.6`).
    """

    name: str
    library: str | None = None
    ordinal: int | None = None
    version: str | None = None
    version_file: str | None = None
    bond: Bond = Bond.REQUIRED

    @property
    def label(self) -> str:
        """The name, or `#7` for an import by ordinal."""
        return self.name if self.ordinal is None else f"#{self.ordinal}"


@dataclass
class Binary(ABC):
    """One parsed file (one slice of a fat Mach-O). Exports are read on first use, since they are the large part."""

    path: Path
    format: str  # "pe", "elf" or "macho"
    machine: str  # "x86_64", "arm64", "x86", ... one vocabulary for all formats
    bits: int
    size: int
    expected_size: int  # bytes the headers speak of; larger than `size` means the file is cut short
    needed: list[Need] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    identity: str = ""  # soname, install name or export name
    rpath: list[str] = field(default_factory=list)  # ELF DT_RPATH, Mach-O LC_RPATH
    runpath: list[str] = field(default_factory=list)  # ELF DT_RUNPATH
    version_needs: list[tuple[str, str]] = field(default_factory=list)  # ELF: (library, version it must define)
    sections: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> (offset, size)
    notes: dict[str, str] = field(default_factory=dict)  # format's own facts: linker version, minimum OS, ...

    @property
    def truncated(self) -> bool:
        """True when the file ends before its own tables do."""
        return self.expected_size > self.size

    @abstractmethod
    def defines(self, name: str, ordinal: int | None = None) -> bool:
        """True if the file offers this symbol (or this ordinal)."""

    @abstractmethod
    def export_names(self) -> Collection[str]:
        """All symbols offered."""

    def forwards(self, name: str, ordinal: int | None = None) -> tuple[str, str] | None:
        """(library, symbol) this export is only a pointer to, or None."""
        return None

    def version_names(self) -> set[str] | None:
        """Symbol versions the file defines, or None if it is not versioned (then any version is accepted)."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Release the file."""
