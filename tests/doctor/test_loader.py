"""The loaders' rules and what they say about broken files: the right file, the right name, nothing else."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from e2fgvi_cli.doctor.binary.demangle import namespace, readable, stem, uses_old_strings
from e2fgvi_cli.doctor.loader.explain import Explanation, explain
from e2fgvi_cli.doctor.loader.graph import base_name
from e2fgvi_cli.doctor.loader.model import Flaw, Library, Setting
from e2fgvi_cli.doctor.loader.search_elf import read_cache

from .factory import TO_SCALAR_TYPE, ElfFactory
from .test_readers import damage

MACHINE = {"x86_64": "x86_64", "aarch64": "arm64"}.get(os.uname().machine if hasattr(os, "uname") else "", "x86_64")


def linux(**changes: object) -> Setting:
    setting = Setting("linux", MACHINE, True, Path(sys.executable).resolve())
    for name, value in changes.items():
        setattr(setting, name, value)
    return setting


def look(path: Path, setting: Setting) -> Explanation:
    with Library() as library:
        return explain(path, setting, library)


def loader_says(path: Path) -> str:
    """What the real loader says, from a throw-away process."""
    code = f"import sys; sys.path.insert(0, {str(path.parent)!r}); import _ext"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stderr if done.returncode != 0 else "loaded"


def test_a_good_extension_has_no_fault(elf: ElfFactory) -> None:
    found = look(elf.good(), linux())
    assert found.faults == []
    assert found.closure[1].name == "libc10_fake.so"
    assert loader_says(elf.good()) == "loaded"


def test_missing_symbol_names_symbol_and_who_wants_it(elf: ElfFactory) -> None:
    path = elf.undefined_symbol()
    (fault,) = look(path, linux()).faults
    assert (fault.flaw, fault.name, fault.consumer) == (Flaw.MISSING_SYMBOL, "dep_new", path)
    assert "undefined symbol: dep_new" in loader_says(path)


def test_missing_library_names_it_and_where_it_was_looked_for(elf: ElfFactory) -> None:
    path = elf.missing_library()
    (fault,) = look(path, linux()).faults
    assert (fault.flaw, fault.name) == (Flaw.MISSING_LIBRARY, "libc10_fake.so")
    assert path.parent.resolve() in fault.searched
    assert "libc10_fake.so: cannot open shared object file" in loader_says(path)


def test_missing_version_names_version_provider_and_newest_there(elf: ElfFactory) -> None:
    path = elf.missing_version()
    (fault,) = look(path, linux()).faults
    assert (fault.flaw, fault.name) == (Flaw.MISSING_VERSION, "DEP_2.0")
    assert fault.provider == path.parent.resolve() / "libc10_fake.so"
    assert fault.instead == ("DEP_1.0",)
    assert "version `DEP_2.0' not found" in loader_says(path)


def test_other_release_of_a_missing_library_is_shown(elf: ElfFactory, tmp_path: Path) -> None:
    path = elf.wants_cudart(tmp_path)
    (tmp_path / "libcudart.so.12").write_bytes(b"")
    (fault,) = look(path, linux()).faults
    assert fault.name == "libcudart.so.11.0"
    assert fault.instead == (str(tmp_path / "libcudart.so.12"),)


def test_truncated_and_foreign_machine(elf: ElfFactory) -> None:
    assert [fault.flaw for fault in look(elf.truncated(), linux()).faults] == [Flaw.TRUNCATED]
    (fault,) = look(elf.wrong_machine(), linux()).faults
    assert fault.flaw is Flaw.WRONG_MACHINE


def test_search_order_of_ld_so(elf: ElfFactory, tmp_path: Path) -> None:
    """LD_LIBRARY_PATH wins over DT_RUNPATH; a file of another machine is passed over; search folders come last."""
    path = Path(shutil.copy(elf.good(), tmp_path))
    for name in ("env", "user"):
        (tmp_path / name).mkdir()
    good = elf.good().with_name("libc10_fake.so")
    mine = Path(shutil.copy(good, tmp_path / "libc10_fake.so"))
    theirs = Path(shutil.copy(good, tmp_path / "env"))
    environ = {"LD_LIBRARY_PATH": str(theirs.parent)}
    assert look(path, linux()).closure[1] == mine
    assert look(path, linux(environ=environ)).closure[1] == theirs
    data = bytearray(theirs.read_bytes())
    data[18] = 0xB7 if MACHINE == "x86_64" else 0x3E
    theirs.write_bytes(bytes(data))
    assert look(path, linux(environ=environ)).closure[1] == mine
    mine.unlink()
    (fault,) = look(path, linux(environ=environ)).faults
    assert fault.flaw is Flaw.MISSING_LIBRARY
    assert str(theirs) in fault.instead[0]
    last = Path(shutil.copy(good, tmp_path / "user"))
    assert look(path, linux(user_dirs=[last.parent])).closure[1] == last


def test_libraries_already_loaded_are_reused_by_soname(elf: ElfFactory) -> None:
    """mmcv's extension has no run path: torch, imported first, has its libraries in the process."""
    path = elf.missing_library()
    preload = [elf.good().with_name("libc10_fake.so")]
    assert look(path, linux(preload=preload)).faults == []


def test_ld_so_cache_agrees_with_ldconfig() -> None:
    tool = shutil.which("ldconfig") or "/sbin/ldconfig"
    if not Path(tool).exists() or not Path("/etc/ld.so.cache").exists():
        pytest.skip("no ldconfig here")
    text = subprocess.run([tool, "-p"], capture_output=True, text=True, check=True).stdout
    theirs = {line.split(" => ")[1].strip() for line in text.splitlines() if " => " in line}
    assert {str(path) for paths in read_cache(Path("/etc/ld.so.cache")).values() for path in paths} == theirs


def test_windows_procedure_not_found_is_named_on_any_platform(pe: dict[str, Path]) -> None:
    """WinError 127: the original report. The DLL is there; a function and an ordinal are not."""
    found = look(pe["procedure"], Setting("win32", "x86_64", native=False))
    assert {(fault.flaw, fault.name) for fault in found.faults} == {
        (Flaw.MISSING_SYMBOL, TO_SCALAR_TYPE),
        (Flaw.MISSING_SYMBOL, "#7"),
    }
    assert {fault.provider for fault in found.faults} == {pe["procedure"].with_name("c10.dll")}
    assert found.faults[0].readable == "caffe2::TypeMeta::toScalarType"


def test_windows_module_not_found(pe: dict[str, Path]) -> None:
    (fault,) = look(pe["module"], Setting("win32", "x86_64", native=False)).faults
    assert (fault.flaw, fault.name) == (Flaw.MISSING_LIBRARY, "c10.dll")


def test_windows_does_not_search_path_but_says_what_lies_there(pe: dict[str, Path]) -> None:
    folder = pe["procedure"].parent
    setting = Setting("win32", "x86_64", native=True, environ={"PATH": str(folder)})
    (fault,) = look(pe["module"], setting).faults
    assert fault.flaw is Flaw.MISSING_LIBRARY
    assert fault.instead == (f"{folder / 'c10.dll'} (PATH is not searched)",)


def test_windows_search_order(pe: dict[str, Path], tmp_path: Path) -> None:
    """Loaded before, folder of the extension, folder of python.exe, add_dll_directory, System32."""
    path = Path(shutil.copy(pe["module"], tmp_path))
    places = {}
    for name in ("system", "user", "python", "loaded"):
        (tmp_path / name).mkdir()
        places[name] = Path(shutil.copy(pe["procedure"].with_name("c10.dll"), tmp_path / name / "C10.DLL"))
    setting = Setting("win32", "x86_64", True, system_root=tmp_path / "system")
    assert look(path, setting).closure[1] == places["system"]
    setting.user_dirs = [tmp_path / "user"]
    assert look(path, setting).closure[1] == places["user"]
    setting.executable = tmp_path / "python" / "python.exe"
    assert look(path, setting).closure[1] == places["python"]
    beside = Path(shutil.copy(places["user"], tmp_path / "c10.dll"))
    assert look(path, setting).closure[1] == beside
    setting.preload = [places["loaded"]]
    assert beside not in look(path, setting).closure


def test_forwarders_are_followed(pe: dict[str, Path]) -> None:
    """c10.dll forwards dep_old to other.dll: fine while that cannot be seen, a fault when it lacks the function."""
    setting = Setting("win32", "x86_64", native=False)
    assert "dep_old" not in {fault.name for fault in look(pe["forward"], setting).faults}
    other = pe["forward"].with_name("other.dll")
    shutil.copy(pe["procedure"].with_name("c10.dll"), other)
    try:
        assert "dep_old" in {fault.name for fault in look(pe["forward"], setting).faults}
    finally:
        other.unlink()


def test_macos_missing_symbol_and_library(macho: dict[str, Path]) -> None:
    setting = Setting("darwin", "arm64", native=False)
    assert look(macho["good"], setting).faults == []
    (fault,) = look(macho["symbol"], setting).faults
    assert (fault.flaw, fault.name) == (Flaw.MISSING_SYMBOL, "_dep_new")
    assert fault.provider == macho["symbol"].with_name("libc10.dylib")
    (fault,) = look(macho["library"], setting).faults
    assert (fault.flaw, fault.name) == (Flaw.MISSING_LIBRARY, "@rpath/libc10.dylib")


def test_macos_incompatible_architecture(macho: dict[str, Path]) -> None:
    (fault,) = look(macho["good"], Setting("darwin", "x86_64", native=False)).faults
    assert (fault.flaw, fault.name, fault.detail) == (Flaw.WRONG_MACHINE, "arm64", "x86_64")


@pytest.mark.parametrize(
    ("symbol", "text", "start"),
    [
        (TO_SCALAR_TYPE, "caffe2::TypeMeta::toScalarType", "?toScalarType@TypeMeta@caffe2@@"),
        ("_ZNK2at6Tensor7is_cudaEv", "at::Tensor::is_cuda", "_ZNK2at6Tensor7is_cudaE"),
        ("__ZN2at3mps9MPSStream6commitEb", "at::mps::MPSStream::commit", "__ZN2at3mps9MPSStream6commitE"),
        ("_ZN3c105ErrorC1ENS_14SourceLocationESs", "c10::Error::Error", "_ZN3c105ErrorC1E"),
        ("??0VariableInfo@autograd@torch@@QEAA@XZ", "torch::autograd::VariableInfo::VariableInfo", "??0VariableInfo@autograd@torch@@"),
        ("dep_new", "dep_new", ""),
    ],
)  # fmt: skip
def test_readable_names(symbol: str, text: str, start: str) -> None:
    assert readable(symbol) == text
    assert stem(symbol) == start
    assert namespace(symbol) == (text.split("::", maxsplit=1)[0] if "::" in text else "")


def test_names_agree_with_cxxfilt() -> None:
    """Our qualified names are what binutils prints before the argument list."""
    tool = shutil.which("c++filt")
    if tool is None:
        pytest.skip("c++filt is not installed")
    names = ["_ZN2at5emptyEN3c108ArrayRefIlEE", "_ZNSt6vectorD1Ev", "_ZN5torch3jit17parseSchemaOrNameERKSsb", "_Z3fooi"]
    for name in names:
        text = subprocess.run([tool, name], capture_output=True, text=True, check=True).stdout.strip()
        assert text.startswith(readable(name)), (text, readable(name))


def test_string_abi_is_seen_in_types_only() -> None:
    assert uses_old_strings("_ZN4c10d8TCPStoreC1ESsRKNS_15TCPStoreOptionsE")
    assert uses_old_strings("_ZN5torch3jit17parseSchemaOrNameERKSsb")
    assert not uses_old_strings("_ZN3foo7ClassSsEv")
    assert not uses_old_strings(
        "_ZN5torch3jit17parseSchemaOrNameERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEb"
    )


def test_base_names() -> None:
    assert base_name("libcudart.so.11.0") == base_name("libcudart.so.12") == "libcudart"
    assert base_name("cudart64_110.dll") == base_name("cudart64_12.dll")
    assert base_name("readme.txt") == ""


@pytest.mark.parametrize("kind", ["elf", "pe", "macho"])
def test_damaged_providers_are_faults_not_errors(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Whatever is wrong with the library an extension needs, the explanation comes, and blames a file."""
    fixture = request.getfixturevalue(kind)
    source = fixture.missing_version() if kind == "elf" else fixture["procedure" if kind == "pe" else "good"]
    name = {"elf": "libc10_fake.so", "pe": "c10.dll", "macho": "libc10.dylib"}[kind]
    path, provider = Path(shutil.copy(source, tmp_path)), tmp_path / name
    whole = source.with_name(name).read_bytes()
    setting = {
        "elf": linux(),
        "pe": Setting("win32", "x86_64", native=False),
        "macho": Setting("darwin", "arm64", native=False),
    }[kind]
    rng, seen = random.Random(7), set()
    for _ in range(80):
        provider.write_bytes(damage(whole, rng))
        with Library() as library:
            found = explain(path, setting, library)
            seen |= {fault.flaw for fault in found.faults}
            for fault in found.faults:
                blamed = fault.provider or fault.consumer
                assert blamed.name in (name, path.name) or fault.flaw is Flaw.MISSING_VERSION
    assert seen & {Flaw.TRUNCATED, Flaw.UNREADABLE}
