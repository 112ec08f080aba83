"""torchvision of one torch release beside another torch: exactly its missing functions are named.

The fast test links DLLs with mingw from committed name lists; the slow one downloads the wheels themselves (310 MB).
"""

from __future__ import annotations

import subprocess
import sys
import time
import zipfile
from collections import defaultdict
from pathlib import Path

import pytest

from e2fgvi_cli.doctor.loader.built_for import built_for
from e2fgvi_cli.doctor.loader.explain import Explanation, explain
from e2fgvi_cli.doctor.loader.model import Flaw, Library, Setting

from .factory import need, run

DATA = Path(__file__).with_name("data")
MISSING_WINDOWS = {
    ("c10.dll", "caffe2::TypeMeta::toScalarType"),
    ("c10.dll", "c10::impl::device_guard_impl_registry"),
    ("torch_cpu.dll", "torch::autograd::Node::tensor_post_acc_grad_hooks"),
    ("torch_cpu.dll", "torch::autograd::VariableInfo::VariableInfo"),
}
MISSING_MACOS = {
    ("libtorch_cpu.dylib", "at::Context::alertNotDeterministic"),
    ("libtorch_cpu.dylib", "torch::autograd::VariableInfo::VariableInfo"),
}


def names(explanation: Explanation) -> set[tuple[str, str]]:
    assert {fault.flaw for fault in explanation.faults} <= {Flaw.MISSING_SYMBOL}
    return {(fault.provider.name if fault.provider else "", fault.readable) for fault in explanation.faults}


def rows(name: str) -> dict[str, list[str]]:
    """DLL -> symbols of a committed list."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in (DATA / name).read_text().splitlines():
        if not line.startswith("#"):
            library, symbol = line.split("\t")
            found[library].append(symbol)
    return found


def link(folder: Path, imports: dict[str, list[str]], exports: dict[str, list[str]]) -> Path:
    """A _C.pyd with these imports beside DLLs with these exports. Returns the pyd."""
    gcc, dlltool = need("x86_64-w64-mingw32-gcc|x86_64-w64-mingw32-gcc-win32", "x86_64-w64-mingw32-dlltool")
    folder.mkdir(parents=True)
    (folder / "dummy.c").write_text("int dummy(void){return 0;}\n")
    archives, lines = [], ["\t.globl PyInit__C", "PyInit__C:"]
    for library, symbols in imports.items():
        text = "".join(f'  "{symbol}"\n' for symbol in symbols)
        (folder / "i.def").write_text(f"LIBRARY {library}\nEXPORTS\n{text}")
        run(dlltool, "-d", "i.def", "-l", f"{library}.a", "-m", "i386:x86-64", cwd=folder)
        archives.append(f"{library}.a")
        lines += [f'\tmovq "__imp_{symbol}"(%rip), %rax' for symbol in symbols]
        text = "".join(f'  "{symbol}" = dummy\n' for symbol in exports[library])
        (folder / "e.def").write_text(f"LIBRARY {library}\nEXPORTS\n{text}")
        run(gcc, "-shared", "-nostdlib", "-Wl,-e,0", "dummy.c", "e.def", "-o", library, cwd=folder)
    (folder / "ext.s").write_text(
        "\n".join([*lines, "\tret", "\t.section .drectve", '\t.ascii " -export:PyInit__C"', ""])
    )
    run(gcc, "-shared", "-nostdlib", "-Wl,-e,0", "ext.s", *archives, "-o", "_C.pyd", cwd=folder)
    return folder / "_C.pyd"


def test_windows_pair_from_name_lists(tmp_path: Path) -> None:
    """The real names of torchvision 0.20.1 and torch 2.8.0: four functions are missing, no more, no fewer."""
    imports, exports = rows("torchvision-0.20.1-windows-imports.txt"), rows("torch-2.8.0-windows-exports.txt")
    setting = Setting("win32", "x86_64", native=False)
    with Library() as library:
        found = explain(link(tmp_path / "mixed", imports, exports), setting, library)
        assert names(found) == MISSING_WINDOWS
        assert found.binary is not None
        assert built_for(found.binary).torch == "torch<2.8"
        assert all(
            fault.instead for fault in found.faults
        )  # each has a namesake with other arguments in the newer torch
        assert explain(link(tmp_path / "same", imports, imports), setting, library).faults == []


def fetch(folder: Path, requirement: str, *platforms: str) -> Path:
    """A wheel for another platform, unpacked. Skips where the registry does not give it."""
    options = [f"--platform={name}" for name in platforms]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", *options]
    command += ["--python-version=3.11", "--implementation=cp", "-d", str(folder / "wheels"), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{requirement} cannot be downloaded here: {done.stderr.strip().splitlines()[-1:]}")
    name = requirement.replace("==", "-")
    (wheel,) = (folder / "wheels").glob(f"{name}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(
            folder / name, [entry for entry in archive.namelist() if entry.endswith((".dll", ".pyd", ".so", ".dylib"))]
        )
    wheel.unlink()
    return folder / name


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("platform", "machine", "tags", "missing"),
    [
        ("win32", "x86_64", ("win_amd64",), MISSING_WINDOWS),
        ("darwin", "arm64", ("macosx_14_0_arm64", "macosx_11_0_arm64"), MISSING_MACOS),
    ],
)
def test_real_pairs(
    platform: str, machine: str, tags: tuple[str, ...], missing: set[tuple[str, str]], tmp_path: Path
) -> None:
    """The wheels as published: the fitting pair is sound, the mixed one lacks exactly these functions."""
    lib = fetch(tmp_path, "torch==2.8.0", *tags) / "torch" / "lib"
    setting = Setting(
        platform, machine, native=False, user_dirs=[lib], preload=sorted([*lib.glob("*.dll"), *lib.glob("*.dylib")])
    )
    for version, expected in (("0.20.1", missing), ("0.23.0", set())):
        (extension,) = (fetch(tmp_path, f"torchvision=={version}", *tags) / "torchvision").glob("_C*")
        start = time.monotonic()
        with Library() as library:
            assert names(explain(extension, setting, library)) == expected
        assert time.monotonic() - start < 5
