"""Mach-O files (macOS dylibs, bundles), thin and fat, 32 and 64 bit, either byte order.

Source: Apple's <mach-o/loader.h>, <mach-o/fat.h>, <mach-o/nlist.h>. Undefined symbols come from LC_SYMTAB with their
two-level library ordinal; exports from LC_SYMTAB and, where symbols were stripped, from the export trie dyld reads.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .common import Binary, Bond, Import, Need
from .view import Malformed, View

CPU_TYPES = {7: "x86", 0x01000007: "x86_64", 12: "arm", 0x0100000C: "arm64", 18: "ppc", 0x01000012: "ppc64"}
THIN = {
    b"\xcf\xfa\xed\xfe": ("<", True),
    b"\xce\xfa\xed\xfe": ("<", False),
    b"\xfe\xed\xfa\xcf": (">", True),
    b"\xfe\xed\xfa\xce": (">", False),
}
FAT, FAT64 = b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"
MOST_SLICES = 32  # a Java class file has the same magic, followed by a version of at least 45
LC_SEGMENT, LC_SYMTAB, LC_ID_DYLIB, LC_SEGMENT_64, LC_VERSION_MIN, LC_BUILD_VERSION = 0x1, 0x2, 0xD, 0x19, 0x24, 0x32
LC_RPATH, LC_DYLD_INFO, LC_DYLD_INFO_ONLY, LC_EXPORTS_TRIE = 0x8000001C, 0x22, 0x80000022, 0x80000033
DYLIBS = {
    0xC: Bond.REQUIRED,
    0x80000018: Bond.WEAK,
    0x8000001F: Bond.REEXPORT,
    0x20: Bond.DELAY,
    0x80000023: Bond.REQUIRED,
}
N_STAB, N_TYPE, N_EXT, N_PEXT, N_UNDF, N_PBUD, N_INDR = 0xE0, 0x0E, 0x01, 0x10, 0x0, 0xC, 0xA
WEAK_REFERENCE = 0x40
FLAT_LOOKUP, EXECUTABLE_ORDINAL, SELF_ORDINAL = 0xFE, 0xFF, 0
MH_TWOLEVEL = 0x80
TRIE_STEPS = 1 << 21


@dataclass
class MachoBinary(Binary):
    """One parsed slice; see `read_macho`. `slices` names the machines of all slices of the file."""

    slices: tuple[str, ...] = ()
    _view: View | None = None
    _base: int = 0  # where the slice starts in the file
    _trie: tuple[int, int] = (0, 0)
    _defined: dict[str, int] = field(default_factory=dict)
    _from_trie: bool = False

    def _table(self) -> dict[str, int]:
        if not self._from_trie:
            self._from_trie = True
            if self._view is not None and self._trie[1]:
                with contextlib.suppress(
                    Malformed
                ):  # what was read of the trie so far, and the symbol table, still count
                    for name in _trie_names(self._view, *self._trie):
                        self._defined[name] = 1
        return self._defined

    def defines(self, name: str, ordinal: int | None = None) -> bool:
        """True if the symbol table or the export trie has the name."""
        return name in self._defined or name in self._table()

    def export_names(self) -> Collection[str]:
        """All external names defined."""
        return self._table()

    def close(self) -> None:
        """Release the file."""
        if self._view is not None:
            self._view.close()


def read_macho(view: View, path: Path, machine: str | None = None) -> MachoBinary:
    """Parse one Mach-O file; of a fat file the slice of `machine`, else its first. Raises Malformed."""
    magic = view.read(0, 4)
    if magic in THIN:
        binary = _read_slice(view, path, 0, view.size)
        binary.slices = (binary.machine,)
        return binary
    if magic not in (FAT, FAT64):
        raise Malformed("not a Mach-O file")
    count = view.unpack(struct.Struct(">I"), 4)[0]
    if not 0 < count < MOST_SLICES:
        raise Malformed(f"fat file with {count} slices")
    layout = struct.Struct(">IIQQII" if magic == FAT64 else ">IIIII")
    slices = [(CPU_TYPES.get(row[0], hex(row[0])), row[2], row[3]) for row in view.table(layout, 8, count)]
    _, offset, size = next((entry for entry in slices if entry[0] == machine), slices[0])
    binary = _read_slice(view, path, offset, size)
    binary.slices = tuple(entry[0] for entry in slices)
    binary.expected_size = max(binary.expected_size, *(start + length for _, start, length in slices))
    return binary


def _read_slice(view: View, path: Path, base: int, size: int) -> MachoBinary:
    magic = view.read(base, 4)
    if magic not in THIN:
        raise Malformed("fat slice without a Mach-O header")
    order, wide = THIN[magic]
    _, cpu, _, filetype, count, _, flags = view.unpack(struct.Struct(order + "IIIIIII"), base)
    binary = MachoBinary(path, "macho", CPU_TYPES.get(cpu, hex(cpu)), 64 if wide else 32, view.size, base)
    binary._view, binary._base = view, base
    binary.notes["filetype"] = str(filetype)
    at = base + (32 if wide else 28)
    symtab: tuple[int, int, int, int] | None = None
    command = struct.Struct(order + "II")
    for _ in range(min(count, size // command.size)):
        kind, length = view.unpack(command, at)
        if length < command.size:
            raise Malformed(f"load command of {length} bytes")
        if kind == LC_SYMTAB:
            symtab = view.unpack(struct.Struct(order + "IIII"), at + 8)
        else:
            _read_command(binary, kind, at, length, order)
        at += length
    if symtab is not None:
        symoff, nsyms, stroff, strsize = symtab
        entry = 16 if wide else 12
        binary.expected_size = max(binary.expected_size, base + symoff + nsyms * entry, base + stroff + strsize)
        if not binary.truncated:
            layout = struct.Struct(order + ("IBBHQ" if wide else "IBBHI"))
            _read_symbols(
                binary,
                view,
                layout,
                (base + symoff, nsyms, base + stroff, base + stroff + strsize),
                bool(flags & MH_TWOLEVEL),
            )
    return binary


def _read_command(binary: MachoBinary, kind: int, at: int, length: int, order: str) -> None:
    """One load command other than LC_SYMTAB."""
    view = binary._view
    assert view is not None
    word = struct.Struct(order + "I")

    def text(field_at: int) -> str:
        return view.text(at + view.unpack(word, at + field_at)[0], at + length)

    if kind in DYLIBS:
        binary.needed.append(Need(text(8), DYLIBS[kind]))
    elif kind == LC_ID_DYLIB:
        binary.identity = text(8)
    elif kind == LC_RPATH:
        binary.rpath.append(text(8))
    elif kind in (LC_SEGMENT, LC_SEGMENT_64):
        layout = struct.Struct(order + ("QQQQ" if kind == LC_SEGMENT_64 else "IIII"))
        _, _, offset, filesize = view.unpack(layout, at + 24)
        binary.expected_size = max(binary.expected_size, binary._base + offset + filesize)
    elif kind in (LC_BUILD_VERSION, LC_VERSION_MIN):
        value = view.unpack(word, at + (12 if kind == LC_BUILD_VERSION else 8))[0]
        binary.notes["minimum_os"] = f"{value >> 16}.{value >> 8 & 0xFF}"
        binary.notes["os_platform"] = str(view.unpack(word, at + 8)[0]) if kind == LC_BUILD_VERSION else "1"
    elif kind in (LC_DYLD_INFO, LC_DYLD_INFO_ONLY, LC_EXPORTS_TRIE):
        offset, size = view.unpack(struct.Struct(order + "II"), at + (8 if kind == LC_EXPORTS_TRIE else 40))
        if size:
            binary._trie = (binary._base + offset, size)


def _read_symbols(
    binary: MachoBinary, view: View, layout: struct.Struct, where: tuple[int, int, int, int], two_level: bool
) -> None:
    offset, count, strings, end = where
    for name_at, kind, _, description, _ in view.table(layout, offset, count):
        if kind & N_STAB or not kind & N_EXT:
            continue
        shape = kind & N_TYPE
        if shape not in (N_UNDF, N_PBUD):
            if not kind & N_PEXT:
                binary._defined[view.text(strings + name_at, end)] = 1
            continue
        ordinal = description >> 8
        if two_level and ordinal == SELF_ORDINAL:
            continue  # bound to the file itself
        library = None
        if two_level and ordinal not in (FLAT_LOOKUP, EXECUTABLE_ORDINAL):
            if ordinal > len(binary.needed):
                raise Malformed(f"library ordinal {ordinal} of {len(binary.needed)}")
            library = binary.needed[ordinal - 1].name
        bond = Bond.WEAK if description & WEAK_REFERENCE else Bond.REQUIRED
        binary.imports.append(Import(view.text(strings + name_at, end), library, bond=bond))


def _trie_names(view: View, start: int, size: int) -> Iterator[str]:
    """Names of an export trie. Raises Malformed when nodes repeat or leave the trie."""
    view.check(start, size)
    stack: list[tuple[int, bytes]] = [(0, b"")]
    for _ in range(TRIE_STEPS):
        if not stack:
            return
        node, prefix = stack.pop()
        if node >= size or len(prefix) > 1 << 16:
            raise Malformed("export trie leaves its bounds")
        terminal, at = _uleb(view, start + node, start + size)
        if terminal:
            view.names.spend(len(prefix) + 1)
            yield prefix.decode("utf-8", "surrogateescape")
        at += terminal
        children = view.read(at, 1)[0]
        at += 1
        for _ in range(children):
            stop = view.data.find(b"\0", at, start + size)
            if stop < 0:
                raise Malformed("export trie leaves its bounds")
            view.names.spend(stop - at + len(prefix) + 1)
            label = prefix + view.read(at, stop - at)
            child, at = _uleb(view, stop + 1, start + size)
            view.entries.spend(1)
            stack.append((child, label))
    raise Malformed("endless export trie")


def _uleb(view: View, at: int, end: int) -> tuple[int, int]:
    """(value, next offset) of a ULEB128 number."""
    value = shift = 0
    while at < end and shift < 64:
        byte = view.read(at, 1)[0]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
    raise Malformed("number does not end")
