"""ELF shared objects (Linux), 32 and 64 bit, either byte order.

Source: System V gABI chapter 5, the GNU symbol hash and symbol versioning as implemented by glibc's elf/dl-lookup.c.
Reads the dynamic segment, which is what the loader reads; section headers are used only for `.comment` and
`.nv_fatbin`.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .common import Binary, Import, Need
from .view import LONGEST_NAME, Malformed, View

MACHINES = {
    3: "x86",
    40: "arm",
    62: "x86_64",
    183: "arm64",
    243: "riscv64",
    21: "ppc64",
    22: "s390x",
    8: "mips",
    258: "loongarch64",
}
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SONAME, DT_RPATH, DT_RUNPATH = 1, 4, 5, 6, 10, 14, 15, 29
DT_GNU_HASH, DT_VERSYM, DT_VERDEF, DT_VERNEED = 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFE
SHT_NOBITS = 8
STB_WEAK = 2
GLOBAL_BINDINGS = (1, STB_WEAK, 10)  # STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE
HIDDEN_VISIBILITIES = (1, 2)  # STV_INTERNAL, STV_HIDDEN
VER_FLG_WEAK = 2
MOST_VERSIONS = 1 << 14


@dataclass(frozen=True)
class _Layout:
    """Record layouts of one class and byte order; symbols are unpacked as (name, info, other, shndx)."""

    wide: bool
    header: struct.Struct
    program: struct.Struct
    section: struct.Struct
    dynamic: struct.Struct
    symbol: struct.Struct
    word: struct.Struct
    half: struct.Struct
    order: str


def _layout(wide: bool, order: str) -> _Layout:
    def s(text: str) -> struct.Struct:
        return struct.Struct(order + text)

    if wide:
        shapes = ("16sHHIQQQIHHHHHH", "IIQQQQQQ", "IIQQQQIIQQ", "qQ", "IBBH16x")
    else:
        shapes = ("16sHHIIIIIHHHHHH", "IIIIIIII", "IIIIIIIIII", "iI", "I8xBBH")
    head, program, section, dynamic, symbol = (s(shape) for shape in shapes)
    return _Layout(wide, head, program, section, dynamic, symbol, s("I"), s("H"), order)


@dataclass
class ElfBinary(Binary):
    """A parsed shared object; see `read_elf`."""

    _view: View | None = None
    _layout: _Layout | None = None
    _symbols: tuple[int, int, int, int] = (0, 0, 0, 0)  # symtab offset, count, strtab offset, strtab size
    _verdef: int = 0
    _exports: set[str] | None = None
    _versions: set[str] | None = None

    def _table(self) -> set[str]:
        if self._exports is None:
            self._exports = {name for name, defined, _, _ in _walk_symbols(self) if defined}
        return self._exports

    def defines(self, name: str, ordinal: int | None = None) -> bool:
        """True if `.dynsym` defines the name with global, weak or unique binding."""
        return name in self._table()

    def export_names(self) -> Collection[str]:
        """All names `.dynsym` defines."""
        return self._table()

    def version_names(self) -> set[str] | None:
        """Names of DT_VERDEF, None without one."""
        if not self._verdef:
            return None
        if self._versions is None:
            self._versions = _read_verdef(self)
        return self._versions

    def close(self) -> None:
        """Release the file."""
        if self._view is not None:
            self._view.close()


def read_elf(view: View, path: Path) -> ElfBinary:
    """Parse one ELF file. Raises Malformed when its headers or tables do not hold together.

    A file that ends early still yields its headers with `truncated` set when at least those are there.
    """
    ident = view.read(0, 16)
    if ident[:4] != b"\x7fELF" or ident[4] not in (1, 2) or ident[5] not in (1, 2):
        raise Malformed("not an ELF file")
    layout = _layout(ident[4] == 2, "<" if ident[5] == 1 else ">")
    head = view.unpack(layout.header, 0)
    machine, phoff, shoff, phentsize, phnum, shentsize, shnum = (
        head[2],
        head[5],
        head[6],
        head[9],
        head[10],
        head[11],
        head[12],
    )
    binary = ElfBinary(
        path, "elf", MACHINES.get(machine, f"elf-machine-{machine}"), 64 if layout.wide else 32, view.size, 0
    )
    binary._view, binary._layout = view, layout
    if phnum and phentsize != layout.program.size:
        raise Malformed(f"program headers of {phentsize} bytes")
    segments = [_segment(layout, row) for row in view.table(layout.program, phoff, phnum)]
    ends = [offset + filesz for kind, offset, _, filesz in segments if kind in (PT_LOAD, PT_DYNAMIC)]
    if shoff and shnum:
        ends.append(shoff + shnum * shentsize)
    binary.expected_size = max(ends, default=0)
    if binary.truncated:
        return binary
    dynamic = next(((offset, filesz) for kind, offset, _, filesz in segments if kind == PT_DYNAMIC), None)
    if dynamic is not None:
        loads = [(vaddr, offset, filesz) for kind, offset, vaddr, filesz in segments if kind == PT_LOAD]
        _read_dynamic(binary, view, layout, dynamic, loads)
    if shoff and shnum and shentsize == layout.section.size:
        _read_sections(binary, view, layout, (shoff, shnum, head[13]))
    return binary


def _segment(layout: _Layout, row: tuple[Any, ...]) -> tuple[int, int, int, int]:
    """(type, offset, vaddr, filesz) of a program header."""
    return (row[0], row[2], row[3], row[5]) if layout.wide else (row[0], row[1], row[2], row[4])


def _read_dynamic(
    binary: ElfBinary, view: View, layout: _Layout, dynamic: tuple[int, int], loads: list[tuple[int, int, int]]
) -> None:
    def place(address: int) -> int:
        for vaddr, offset, filesz in loads:
            if vaddr <= address < vaddr + filesz:
                return offset + address - vaddr
        raise Malformed(f"address {address:#x} is in no segment")

    tags: dict[int, int] = {}
    names: list[tuple[int, int]] = []
    for tag, value in view.table(layout.dynamic, dynamic[0], dynamic[1] // layout.dynamic.size):
        if tag == 0:
            break
        if tag in (DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME):
            names.append((tag, value))
        tags.setdefault(tag, value)
    if DT_STRTAB not in tags:
        return
    strings = place(tags[DT_STRTAB])
    strings_end = strings + min(tags.get(DT_STRSZ, view.size), view.size - strings)
    for tag, value in names:
        text = view.text(strings + value, strings_end)
        if tag == DT_NEEDED:
            binary.needed.append(Need(text))
        elif tag == DT_SONAME:
            binary.identity = text
        else:
            (binary.rpath if tag == DT_RPATH else binary.runpath).extend(part for part in text.split(":") if part)
    if DT_SYMTAB not in tags:
        return
    symtab = place(tags[DT_SYMTAB])
    count = _symbol_count(view, layout, tags, place)
    view.check(symtab, count * layout.symbol.size)
    binary._symbols = (symtab, count, strings, strings_end)
    binary._verdef = place(tags[DT_VERDEF]) if DT_VERDEF in tags else 0
    wanted = _read_verneed(view, layout, place(tags[DT_VERNEED]), strings, strings_end) if DT_VERNEED in tags else {}
    versym = place(tags[DT_VERSYM]) if DT_VERSYM in tags else 0
    _read_imports(binary, view, layout, versym, wanted)


def _symbol_count(view: View, layout: _Layout, tags: dict[int, int], place: Any) -> int:
    """Entries of `.dynsym`: DT_HASH says it, DT_GNU_HASH implies it (the last chain of the last bucket)."""
    if DT_HASH in tags:
        return int(view.unpack(layout.word, place(tags[DT_HASH]) + 4)[0])
    if DT_GNU_HASH not in tags:
        raise Malformed("no symbol hash table")
    start = place(tags[DT_GNU_HASH])
    buckets, first, bloom, _ = view.unpack(struct.Struct(layout.order + "IIII"), start)
    bucket_at = start + 16 + bloom * (8 if layout.wide else 4)
    last = max((row[0] for row in view.table(layout.word, bucket_at, buckets)), default=0)
    if last < first:
        return int(first)
    chain_at = bucket_at + 4 * buckets
    while not view.unpack(layout.word, chain_at + 4 * (last - first))[0] & 1:
        last += 1
    return int(last) + 1


def _read_verneed(view: View, layout: _Layout, at: int, strings: int, end: int) -> dict[int, tuple[str, str, bool]]:
    """Version index -> (library, version, weak) from DT_VERNEED."""
    need = struct.Struct(layout.order + "HHIII")
    aux = struct.Struct(layout.order + "IHHII")
    found: dict[int, tuple[str, str, bool]] = {}
    for _ in range(MOST_VERSIONS):
        _, count, file, first, following = view.unpack(need, at)
        library = view.text(strings + file, end)
        entry = at + first
        for _ in range(min(count, MOST_VERSIONS)):
            _, flags, index, name, step = view.unpack(aux, entry)
            view.entries.spend(1)
            found[index & 0x7FFF] = (library, view.text(strings + name, end), bool(flags & VER_FLG_WEAK))
            if not step:
                break
            entry += step
        if not following:
            return found
        at += following
    raise Malformed("endless version table")


def _read_verdef(binary: ElfBinary) -> set[str]:
    view, layout = binary._view, binary._layout
    assert view is not None
    assert layout is not None
    record = struct.Struct(layout.order + "HHHHIII")
    _, _, strings, end = binary._symbols
    at, found = binary._verdef, set()
    for _ in range(MOST_VERSIONS):
        _, _, _, count, _, first, following = view.unpack(record, at)
        if count:
            found.add(view.text(strings + view.unpack(layout.word, at + first)[0], end))
        if not following:
            return found
        at += following
    raise Malformed("endless version table")


def _walk_symbols(binary: ElfBinary) -> Iterator[tuple[str, bool, bool, int]]:
    """(name, defined, weak, index) of every symbol other objects can see or that this one wants.

    The string table is copied once and searched directly: libtorch has 75 000 symbols and the static part has a second.
    """
    view, layout = binary._view, binary._layout
    assert view is not None
    assert layout is not None
    symtab, count, strings, end = binary._symbols
    table = view.read(strings, end - strings)
    find, spent, budget = table.find, 0, view.names.left
    for index, (name, info, other, shndx) in enumerate(view.table(layout.symbol, symtab, count)):
        bind = info >> 4
        if not name or bind not in GLOBAL_BINDINGS or (shndx and (other & 3) in HIDDEN_VISIBILITIES):
            continue
        stop = find(b"\0", name, name + LONGEST_NAME)
        if stop < 0:
            raise Malformed(f"name of symbol {index} does not end")
        spent += stop - name + 1
        if spent > budget:
            raise Malformed("tables refer to far more data than the file holds")
        yield table[name:stop].decode("utf-8", "surrogateescape"), shndx != 0, bind == STB_WEAK, index


def _read_imports(
    binary: ElfBinary, view: View, layout: _Layout, versym: int, wanted: dict[int, tuple[str, str, bool]]
) -> None:
    exports: set[str] = set()
    for name, defined, weak, index in _walk_symbols(binary):
        if defined:
            exports.add(name)
            continue
        if weak:
            continue
        version = wanted.get(view.unpack(layout.half, versym + 2 * index)[0] & 0x7FFF) if versym else None
        binary.imports.append(
            Import(name, version=version[1] if version else None, version_file=version[0] if version else None)
        )
    binary._exports = exports
    binary.version_needs = [(library, name) for library, name, weak in wanted.values() if not weak]


def _read_sections(binary: ElfBinary, view: View, layout: _Layout, where: tuple[int, int, int]) -> None:
    """Names and places of sections, and the compilers of `.comment`. A stripped or odd table is no fault: ignored."""
    offset, count, names_index = where
    try:
        rows = list(view.table(layout.section, offset, count))
        names_at, names_size = rows[names_index][4], rows[names_index][5]
        for row in rows:
            if row[1] != SHT_NOBITS and row[4] + row[5] <= view.size:
                binary.sections[view.text(names_at + row[0], names_at + names_size)] = (row[4], row[5])
    except (Malformed, IndexError):
        return
    if ".comment" in binary.sections:
        start, size = binary.sections[".comment"]
        parts = {part.decode("ascii", "replace") for part in view.read(start, min(size, 4096)).split(b"\0") if part}
        binary.notes["compilers"] = "; ".join(sorted(parts))
