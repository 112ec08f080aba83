"""The PE, ELF and Mach-O readers against other people's parsers, and against damaged files."""

from __future__ import annotations

import importlib
import random
import resource
import struct
import sys
import time
from pathlib import Path

import pytest

from e2fgvi_cli.doctor.binary import Bond, Malformed, read_binary
from e2fgvi_cli.doctor.binary.fatbin import MAGIC, read_gpu_code
from e2fgvi_cli.doctor.binary.view import View

from .factory import TO_SCALAR_TYPE, ElfFactory, fat

ARM64, X86_64 = 0x0100000C, 0x01000007


def oracle(name: str):  # type: ignore[no-untyped-def]
    return pytest.importorskip(name, reason=f"the oracle {name} is a development dependency")


def elf_files(elf: ElfFactory) -> list[Path]:
    found = [elf.good(), elf.missing_version(), Path(sys.executable).resolve()]
    for package in ("numpy", "cv2", "av"):
        spec = importlib.util.find_spec(package)
        if spec and spec.origin:
            found += sorted(Path(spec.origin).parent.rglob("*.so*"))[:4]
    return found


def test_elf_agrees_with_pyelftools(elf: ElfFactory) -> None:
    oracle("elftools")
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile

    for path in elf_files(elf):
        ours = read_binary(path)
        with open(path, "rb") as handle:
            theirs = ELFFile(handle)
            dynamic = next(s for s in theirs.iter_sections() if isinstance(s, DynamicSection))
            needed = [tag.needed for tag in dynamic.iter_tags("DT_NEEDED")]
            runpath = [tag.runpath for tag in dynamic.iter_tags("DT_RUNPATH")]
            symbols = list(theirs.get_section_by_name(".dynsym").iter_symbols())
            visible = ("STB_GLOBAL", "STB_WEAK", "STB_LOOS")
            defined = {
                s.name
                for s in symbols
                if s.name
                and s["st_shndx"] != "SHN_UNDEF"
                and s["st_info"]["bind"] in visible
                and s["st_other"]["visibility"] in ("STV_DEFAULT", "STV_PROTECTED")
            }
            wanted = {s.name for s in symbols if s["st_shndx"] == "SHN_UNDEF" and s["st_info"]["bind"] == "STB_GLOBAL"}
            verneed = theirs.get_section_by_name(".gnu.version_r")
            versions = (
                {(v.name, aux.name) for v, auxes in verneed.iter_versions() for aux in auxes} if verneed else set()
            )
        assert [need.name for need in ours.needed] == needed, path
        assert ours.runpath == [part for text in runpath for part in text.split(":") if part], path
        assert set(ours.export_names()) == defined, path
        assert {symbol.name for symbol in ours.imports} == wanted, path
        assert set(ours.version_needs) <= versions, path
        assert len(versions) - len(ours.version_needs) <= 2, path  # only weak ones may be left out
        ours.close()


def test_pe_agrees_with_pefile(pe: dict[str, Path]) -> None:
    pefile = oracle("pefile")
    forwarders = 0
    for path in [*pe.values(), pe["procedure"].with_name("c10.dll"), pe["forward"].with_name("c10.dll")]:
        ours, theirs = read_binary(path), pefile.PE(str(path), max_symbol_exports=10**6)
        imports = [
            (entry.dll.decode(), item.name.decode() if item.name else "", item.ordinal if not item.name else None)
            for entry in getattr(theirs, "DIRECTORY_ENTRY_IMPORT", [])
            for item in entry.imports
        ]
        exports = getattr(theirs, "DIRECTORY_ENTRY_EXPORT", None)
        assert [(s.library, s.name, s.ordinal) for s in ours.imports] == imports, path
        assert {s.name.decode() for s in (exports.symbols if exports else []) if s.name} == set(ours.export_names())
        for symbol in exports.symbols if exports else []:
            assert ours.defines("", symbol.ordinal)
            if symbol.forwarder:
                forwarders += 1
                library, name = symbol.forwarder.decode().rsplit(".", 1)
                assert ours.forwards(symbol.name.decode()) == (f"{library}.dll", name)
        assert ours.machine == "x86_64"
    assert forwarders == 1


def test_pe_names_the_mangled_symbol_and_the_ordinal(pe: dict[str, Path]) -> None:
    labels = {symbol.label for symbol in read_binary(pe["module"]).imports}
    assert labels == {TO_SCALAR_TYPE, "#7", "dep_old"}


def test_macho_agrees_with_lief(macho: dict[str, Path]) -> None:
    lief = oracle("lief")
    for path in [macho["good"], macho["good"].with_name("libc10.dylib")]:
        ours, theirs = read_binary(path), lief.MachO.parse(str(path)).at(0)
        loads = lief.MachO.LoadCommand.TYPE
        needed = [lib.name for lib in theirs.libraries if lib.command != loads.ID_DYLIB]
        assert [need.name for need in ours.needed] == needed
        assert {symbol.name for symbol in ours.imports} == {symbol.name for symbol in theirs.imported_symbols}
        assert set(ours.export_names()) >= {symbol.name for symbol in theirs.exported_symbols}
        assert ours.rpath == [path_.path for path_ in theirs.rpaths]
        assert ours.notes["minimum_os"] == "11.0"


def test_macho_agrees_with_macholib(macho: dict[str, Path]) -> None:
    oracle("macholib")
    from macholib.MachO import MachO
    from macholib.SymbolTable import SymbolTable

    ours, theirs = read_binary(macho["good"]), MachO(str(macho["good"]))
    assert [need.name for need in ours.needed] == [name for _, _, name in theirs.headers[0].walkRelocatables()]
    undefined = {name.decode() for _, name in SymbolTable(theirs).undefsyms}
    assert {symbol.name for symbol in ours.imports} == undefined


def test_macho_two_level_imports_name_their_library(macho: dict[str, Path]) -> None:
    providers = {symbol.name: symbol.library for symbol in read_binary(macho["good"]).imports}
    assert providers["_dep_new"] == "@rpath/libc10.dylib"


def test_fat_file_gives_the_slice_of_the_machine(macho: dict[str, Path], tmp_path: Path) -> None:
    thin = macho["good"].read_bytes()
    intel = bytearray(thin)
    intel[4:8] = struct.pack("<I", X86_64)
    path = tmp_path / "_ext.so"
    path.write_bytes(fat([(X86_64, bytes(intel)), (ARM64, thin)]))
    for machine in ("arm64", "x86_64"):
        binary = read_binary(path, machine)
        assert binary.machine == machine
        assert "_PyInit__ext" in binary.export_names()
        assert not binary.truncated
    path.write_bytes(path.read_bytes()[:-20000])
    assert read_binary(path, "x86_64").truncated


def test_truncated_files_say_so(elf: ElfFactory, pe: dict[str, Path], macho: dict[str, Path], tmp_path: Path) -> None:
    for path, length in ((elf.good(), 3000), (pe["module"], 1100), (macho["good"], 9000)):
        whole = path.read_bytes()
        assert not read_binary(path).truncated
        cut = tmp_path / path.name
        cut.write_bytes(whole[:length])
        assert read_binary(cut).truncated, path


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"version https://git-lfs.github.com/spec/v1\n", "neither"), (b"\x7fELF\x02\x01", "outside")],
)
def test_what_is_no_library_is_malformed(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "_ext.so"
    path.write_bytes(content)
    with pytest.raises(Malformed, match=message):
        read_binary(path)


def test_gpu_architectures_of_a_crafted_container(tmp_path: Path) -> None:
    entries = b"".join(
        struct.pack("<HHIQ", kind, 0x101, 64, 16) + bytes(12) + struct.pack("<I", arch) + bytes(32 + 16)
        for kind, arch in ((2, 70), (2, 86), (1, 86))
    )
    blob = b"\0" * 24 + MAGIC + struct.pack("<Q", len(entries)) + entries
    path = tmp_path / "blob"
    path.write_bytes(blob)

    class Fake:
        sections = {".nv_fatbin": (0, len(blob))}  # noqa: RUF012

    Fake.path = path  # type: ignore[attr-defined]
    code = read_gpu_code(Fake())  # type: ignore[arg-type]
    assert code is not None
    assert (code.sass, code.ptx) == ((70, 86), (86,))
    assert code.label() == "sm_70 sm_86 ptx_86"


def damage(data: bytes, rng: random.Random) -> bytes:
    """One random hurt: cut, noise in the head, noise anywhere, a huge number somewhere in the tables."""
    hurt = bytearray(data)
    kind = rng.randrange(4)
    if kind == 0:
        return bytes(hurt[: rng.randrange(len(hurt))])
    for _ in range(rng.randrange(1, 12)):
        limit = min(len(hurt), 1024) if kind == 1 else len(hurt)
        at = rng.randrange(limit)
        if kind == 3:
            value = rng.choice([0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0, len(hurt), len(hurt) - 1])
            hurt[at & ~3 : (at & ~3) + 4] = struct.pack("<I", value)
        else:
            hurt[at] = rng.randrange(256)
    return bytes(hurt)


@pytest.mark.parametrize("kind", ["elf", "pe", "macho"])
def test_damaged_files_never_crash_or_hang(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Every outcome is a parsed file or Malformed, in milliseconds."""
    fixture = request.getfixturevalue(kind)
    source = fixture.missing_version() if kind == "elf" else fixture["forward" if kind == "pe" else "good"]
    seeds = [source.read_bytes()]
    if kind == "pe":
        seeds.append(source.with_name("c10.dll").read_bytes())
    rng = random.Random(5)
    path, outcomes, slowest = tmp_path / "hurt", {"parsed": 0, "malformed": 0}, 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(800):
        path.write_bytes(damage(rng.choice(seeds), rng))
        start = time.process_time()
        try:
            binary = read_binary(path)
            binary.export_names()
            binary.version_names()
            binary.defines("x", None)
            binary.forwards("dep_old")
            binary.close()
            outcomes["parsed"] += 1
        except Malformed:
            outcomes["malformed"] += 1
        slowest = max(slowest, time.process_time() - start)
    assert min(outcomes.values()) > 25, outcomes  # the damage reaches both outcomes
    assert slowest < 2.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_names_that_overlap_without_end_are_refused() -> None:
    """A quadratic blow-up in a small file: refused by the budget, not worked through."""
    with View(b"a" * 60_000 + b"\0") as view:
        reads = 0
        with pytest.raises(Malformed, match="far more data"):  # noqa: PT012
            while True:
                view.text(0)
                reads += 1
        assert reads < 12


def test_delay_imports_of_a_crafted_pe() -> None:
    """A hand-made PE with one delay-loaded DLL: importing works without it, so its bond is DELAY."""
    from e2fgvi_cli.doctor.binary.pe import read_pe

    binary = read_pe(View(delay_pe()), Path("x.dll"))
    assert [(need.name, need.bond) for need in binary.needed] == [("late.dll", Bond.DELAY)]
    assert [(s.name, s.library, s.bond) for s in binary.imports] == [("later", "late.dll", Bond.DELAY)]


def delay_pe() -> bytes:
    """The smallest PE32+ with a delay import directory."""
    section = bytearray(0x200)
    section[0:32] = struct.pack("<IIIIIIII", 1, 0x1040, 0, 0, 0x1060, 0, 0, 0)
    section[0x40:0x49] = b"late.dll\0"
    section[0x60:0x68] = struct.pack("<Q", 0x1080)
    section[0x80:0x88] = b"\0\0later\0"
    directories = [(0, 0)] * 16
    directories[13] = (0x1000, 64)
    optional = struct.pack("<HBB", 0x20B, 14, 38) + bytes(20) + struct.pack("<Q", 0x180000000) + bytes(28)
    optional += struct.pack("<I", 0x200) + bytes(108 - len(optional) - 4) + struct.pack("<I", 16)
    optional += b"".join(struct.pack("<II", *entry) for entry in directories)
    head = bytearray(b"MZ" + bytes(0x3A) + struct.pack("<I", 0x40) + b"PE\0\0")
    head += struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, len(optional), 0x2022) + optional
    head += struct.pack("<8sIIIIIIHHI", b".rdata", 0x200, 0x1000, 0x200, 0x200, 0, 0, 0, 0, 0)
    return bytes(head) + bytes(0x200 - len(head)) + bytes(section)
