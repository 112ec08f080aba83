"""Readers of PE, ELF and Mach-O files: standard library only, safe on damaged and hostile files."""

from __future__ import annotations

from pathlib import Path

from .common import Binary, Bond, Import, Need
from .elf import read_elf
from .macho import FAT, FAT64, THIN, read_macho
from .pe import read_pe
from .view import Malformed, View

__all__ = ["Binary", "Bond", "Import", "Malformed", "Need", "View", "read_binary", "sniff"]


def sniff(head: bytes) -> str:
    """ "elf", "pe", "macho" or "" from a file's first bytes."""
    if head[:4] == b"\x7fELF":
        return "elf"
    if head[:2] == b"MZ":
        return "pe"
    return "macho" if head[:4] in (*THIN, FAT, FAT64) else ""


def read_binary(path: Path, machine: str | None = None) -> Binary:
    """Parse a library of any of the three formats; `machine` picks the slice of a fat Mach-O file.

    Raises OSError (cannot be opened) and Malformed (not such a file, or damaged). Close the result.
    """
    view = View(path)
    try:
        kind = sniff(bytes(view.data[:4]))
        if kind == "elf":
            return read_elf(view, path)
        if kind == "pe":
            return read_pe(view, path)
        if kind == "macho":
            return read_macho(view, path, machine)
        raise Malformed("neither a PE, an ELF nor a Mach-O file" if view.size else "the file is empty")
    except BaseException:
        view.close()
        raise
