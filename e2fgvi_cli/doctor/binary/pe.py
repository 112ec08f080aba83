"""PE files (Windows DLL, PYD, EXE), 32 and 64 bit.

Source: Microsoft "PE Format". Reads the import lookup tables (not the address table, which a bound file overwrites),
delay imports, and exports with ordinals and forwarders.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from .common import Binary, Bond, Import, Need
from .view import Malformed, View

MACHINES = {0x14C: "x86", 0x8664: "x86_64", 0xAA64: "arm64", 0x1C4: "arm", 0xA641: "arm64"}
PE32, PE32_PLUS = 0x10B, 0x20B
MOST_SECTIONS = 256  # the loader's own limit was 96 for decades
EXPORT, IMPORT, RESOURCE, DELAY_IMPORT = 0, 1, 2, 13
COFF = struct.Struct("<HHIIIHH")
SECTION = struct.Struct("<8sIIIIIIHHI")
DIRECTORY = struct.Struct("<II")
IMPORT_RECORD = struct.Struct("<IIIII")
DELAY_RECORD = struct.Struct("<IIIIIIII")
EXPORT_RECORD = struct.Struct("<IIHHIIIIIII")
WORD, HALF = struct.Struct("<I"), struct.Struct("<H")
FIXED_INFO = struct.pack("<II", 0xFEEF04BD, 0x00010000)  # VS_FIXEDFILEINFO: signature, structure version


@dataclass
class _Exports:
    """Name -> ordinal, and ordinal -> forwarder text ("" for a real function)."""

    names: dict[str, int] = field(default_factory=dict)
    ordinals: dict[int, str] = field(default_factory=dict)
    dll_name: str = ""


@dataclass
class PeBinary(Binary):
    """A parsed image; see `read_pe`."""

    image_base: int = 0
    _view: View | None = None
    _areas: list[tuple[int, int, int]] = field(default_factory=list)  # (rva, size in file, file offset)
    _directories: list[tuple[int, int]] = field(default_factory=list)
    _exports: _Exports | None = None

    def place(self, rva: int) -> int:
        """File offset of a relative virtual address. Raises Malformed when no section holds it."""
        for start, size, offset in self._areas:
            if start <= rva < start + size:
                return offset + rva - start
        raise Malformed(f"address {rva:#x} is in no section")

    def directory(self, index: int) -> tuple[int, int]:
        """(rva, size) of a data directory, (0, 0) when absent."""
        return self._directories[index] if index < len(self._directories) else (0, 0)

    def _table(self) -> _Exports:
        if self._exports is None:
            self._exports = _read_exports(self)
        return self._exports

    def defines(self, name: str, ordinal: int | None = None) -> bool:
        """True if the export table has this name, or this ordinal when one is given."""
        return name in self._table().names if ordinal is None else ordinal in self._table().ordinals

    def export_names(self) -> Collection[str]:
        """Names of the export table."""
        return self._table().names.keys()

    def forwards(self, name: str, ordinal: int | None = None) -> tuple[str, str] | None:
        """`KERNEL32.Sleep` as ("KERNEL32.dll", "Sleep") when the export is a forwarder."""
        table = self._table()
        number = table.names.get(name) if ordinal is None else ordinal
        target = table.ordinals.get(number, "") if number is not None else ""
        library, dot, symbol = target.rpartition(".")
        return (f"{library}.dll", symbol) if dot else None

    def file_version(self) -> tuple[int, ...] | None:
        """(14, 40, 33810, 0) from the version resource, None without one."""
        rva, size = self.directory(RESOURCE)
        if self._view is None or not rva:
            return None
        try:
            start = self.place(rva)
        except Malformed:
            return None
        area = next((area for area in self._areas if area[0] <= rva < area[0] + area[1]), (0, size, start))
        found = self._view.data.find(FIXED_INFO, start, area[2] + area[1])
        if found < 0:
            return None
        high, low = self._view.unpack(DIRECTORY, found + 8)
        return (high >> 16, high & 0xFFFF, low >> 16, low & 0xFFFF)

    def close(self) -> None:
        """Release the file."""
        if self._view is not None:
            self._view.close()


def read_pe(view: View, path: Path) -> PeBinary:
    """Parse one PE image. Raises Malformed when its headers or tables do not hold together."""
    if view.read(0, 2) != b"MZ":
        raise Malformed("not a PE file")
    start = view.unpack(WORD, 0x3C)[0]
    if view.read(start, 4) != b"PE\0\0":
        raise Malformed("no PE header")
    machine, count, timestamp, _, _, optional_size, _ = view.unpack(COFF, start + 4)
    optional = start + 24
    magic = view.unpack(HALF, optional)[0]
    if magic not in (PE32, PE32_PLUS):
        raise Malformed(f"optional header magic {magic:#x}")
    if count > MOST_SECTIONS:
        raise Malformed(f"{count} sections")
    wide = magic == PE32_PLUS
    major, minor = view.read(optional + 2, 2)
    image_base = struct.unpack("<Q" if wide else "<I", view.read(optional + (24 if wide else 28), 8 if wide else 4))[0]
    header_size = view.unpack(WORD, optional + 60)[0]
    directories_at = optional + (112 if wide else 96)
    directory_count = min(view.unpack(WORD, directories_at - 4)[0], 16)
    binary = PeBinary(path, "pe", MACHINES.get(machine, f"pe-machine-{machine:#x}"), 64 if wide else 32, view.size, 0)
    binary._view, binary.image_base = view, image_base
    binary.notes = {"linker": f"{major}.{minor}", "timestamp": str(timestamp)}
    binary._directories = list(view.table(DIRECTORY, directories_at, directory_count))
    binary._areas = [(0, header_size, 0)]
    end = 0
    for name, size, rva, raw_size, raw, *_ in view.table(SECTION, optional + optional_size, count):
        binary._areas.append((rva, min(max(size, 1), raw_size) if size else raw_size, raw))
        binary.sections[name.rstrip(b"\0").decode("latin-1")] = (raw, raw_size)
        end = max(end, raw + raw_size)
    binary.expected_size = end
    if not binary.truncated:
        _read_imports(binary, view, wide)
        _read_delay_imports(binary, view, wide)
    return binary


def _read_imports(binary: PeBinary, view: View, wide: bool) -> None:
    rva, _ = binary.directory(IMPORT)
    if not rva:
        return
    at = binary.place(rva)
    while True:
        lookup, _, _, name, address = view.unpack(IMPORT_RECORD, at)
        if not name or not (lookup or address):
            return
        library = view.text(binary.place(name))
        binary.needed.append(Need(library))
        _read_thunks(binary, wide, lookup or address, Need(library))
        at += IMPORT_RECORD.size


def _read_delay_imports(binary: PeBinary, view: View, wide: bool) -> None:
    rva, _ = binary.directory(DELAY_IMPORT)
    if not rva:
        return
    at = binary.place(rva)
    while True:
        attributes, name, _, _, names_table, *_ = view.unpack(DELAY_RECORD, at)
        if not name:
            return
        base = 0 if attributes & 1 else binary.image_base  # before Visual C++ 7 these were addresses, not RVAs
        library = view.text(binary.place(name - base))
        binary.needed.append(Need(library, Bond.DELAY))
        if names_table:
            _read_thunks(binary, wide, names_table - base, Need(library, Bond.DELAY))
        at += DELAY_RECORD.size


def _read_thunks(binary: PeBinary, wide: bool, rva: int, need: Need) -> None:
    view = binary._view
    assert view is not None
    layout = struct.Struct("<Q" if wide else "<I")
    flag = 1 << (63 if wide else 31)
    at = binary.place(rva)
    while True:
        value = view.unpack(layout, at)[0]
        if not value:
            return
        view.entries.spend(1)
        if value & flag:
            binary.imports.append(Import("", need.name, ordinal=value & 0xFFFF, bond=need.bond))
        else:
            binary.imports.append(Import(view.text(binary.place(value & 0x7FFFFFFF) + 2), need.name, bond=need.bond))
        at += layout.size


def _read_exports(binary: PeBinary) -> _Exports:
    view = binary._view
    assert view is not None
    rva, size = binary.directory(EXPORT)
    found = _Exports()
    if not rva or binary.truncated:
        return found
    record = view.unpack(EXPORT_RECORD, binary.place(rva))
    dll_name, base, functions, names, functions_at, names_at, ordinals_at = record[4:11]
    if dll_name:
        found.dll_name = view.text(binary.place(dll_name))
    if functions:
        for index, (address,) in enumerate(view.table(WORD, binary.place(functions_at), functions)):
            if address:
                inside = rva <= address < rva + size
                found.ordinals[base + index] = view.text(binary.place(address)) if inside else ""
    if names:
        indices = [index for (index,) in view.table(HALF, binary.place(ordinals_at), names)]
        for position, (address,) in enumerate(view.table(WORD, binary.place(names_at), names)):
            found.names[view.text(binary.place(address))] = base + indices[position]
    return found
