"""Builds small good and broken extension files for the tests: ELF with gcc, PE with mingw, Mach-O with clang and
lld."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

DEP = "int dep_old(void){return 1;}\n#ifdef V2\nint dep_new(void){return 2;}\n#endif\n"
MODULE = """#include <Python.h>
#ifdef USES_DEP
int dep_new(void); int dep_old(void);
#endif
#ifdef BOOM
__attribute__((constructor)) static void boom(void){ *(volatile int*)0 = 1; }
#endif
static struct PyModuleDef m = {PyModuleDef_HEAD_INIT, "_ext", 0, -1, 0};
PyMODINIT_FUNC PyInit__ext(void){
#ifdef USES_DEP
  if (dep_new() + dep_old() < 0) return 0;
#endif
  return PyModule_Create(&m);
}
"""
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX") or ".so"
TO_SCALAR_TYPE = "?toScalarType@TypeMeta@caffe2@@QEAA?AW4ScalarType@c10@@XZ"
PE_MODULE = f"""	.globl PyInit__ext
PyInit__ext:
	movq "__imp_{TO_SCALAR_TYPE}"(%rip), %rax
	movq __imp_byord(%rip), %rax
	movq __imp_dep_old(%rip), %rax
	ret
	.section .drectve
	.ascii " -export:PyInit__ext"
"""


def run(*command: object, cwd: Path | None = None) -> None:
    """Run a compiler; its message becomes the test's failure."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def need(*names: str) -> list[str]:
    """Paths of the first tool of each alternative `a|b`; skips the test with the reason when one is absent."""
    found = []
    for name in names:
        path = next((hit for option in name.split("|") if (hit := shutil.which(option))), None)
        if path is None:
            pytest.skip(f"{name.split('|')[0]} is not installed")
        found.append(path)
    return found


class ElfFactory:
    """ELF extensions of the running Python, in one folder each."""

    def __init__(self, root: Path) -> None:
        if not sys.platform.startswith("linux"):
            pytest.skip("ELF fixtures are built and loaded on Linux")
        (self.gcc,) = need("gcc|cc")
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        (root / "dep.c").write_text(DEP)
        (root / "module.c").write_text(MODULE)

    def library(self, path: Path, *options: str) -> Path:
        """A dependency with soname libc10_fake.so; `-DV2` gives it `dep_new`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        run(self.gcc, "-shared", "-fPIC", "-Wl,-soname,libc10_fake.so", *options, self.root / "dep.c", "-o", path)
        return path

    def module(self, folder: Path, *options: object, name: str = f"_ext{SUFFIX}") -> Path:
        """An extension module `_ext` with run path $ORIGIN."""
        folder.mkdir(parents=True, exist_ok=True)
        include = sysconfig.get_paths()["include"]
        path = folder / name
        run(
            *(self.gcc, "-shared", "-fPIC", f"-I{include}", self.root / "module.c", "-Wl,--no-as-needed"),
            *(*options, "-Wl,-rpath,$ORIGIN", "-o", path),
        )
        return path

    def good(self) -> Path:
        """A module that loads, beside the library it needs."""
        folder = self.root / "good"
        dep = self.library(folder / "libc10_fake.so", "-DV2")
        return self.module(folder, "-DUSES_DEP", dep)

    def undefined_symbol(self) -> Path:
        """`undefined symbol: dep_new`: the library is there, in an older release."""
        good, folder = self.good(), self.root / "undefined"
        self.library(folder / "libc10_fake.so")
        return Path(shutil.copy(good, folder))

    def missing_library(self) -> Path:
        """`libc10_fake.so: cannot open shared object file`."""
        good, folder = self.good(), self.root / "missing"
        folder.mkdir(exist_ok=True)
        return Path(shutil.copy(good, folder))

    def missing_version(self) -> Path:
        """``version `DEP_2.0' not found``, as with GLIBCXX."""
        folder = self.root / "version"
        folder.mkdir(exist_ok=True)
        new, old = self.root / "new.map", self.root / "old.map"
        new.write_text("DEP_1.0 { global: dep_old; };\nDEP_2.0 { global: dep_new; } DEP_1.0;\n")
        old.write_text("DEP_1.0 { global: dep_old; local: *; };\n")
        dep = self.library(folder / "libc10_fake.so", "-DV2", f"-Wl,--version-script,{new}")
        module = self.module(folder, "-DUSES_DEP", dep)
        self.library(dep, f"-Wl,--version-script,{old}")
        return module

    def wants_cudart(self, folder: Path, soname: str = "libcudart.so.11.0", name: str = f"_ext{SUFFIX}") -> Path:
        """`libcudart.so.11.0: cannot open shared object file`."""
        stub = self.root / "libcudart_stub.so"
        run(self.gcc, "-shared", "-fPIC", f"-Wl,-soname,{soname}", self.root / "dep.c", "-o", stub)
        return self.module(folder, stub, name=name)

    def segfault(self, folder: Path) -> Path:
        """Dies with SIGSEGV in a constructor, before Python can report anything."""
        return self.module(folder, "-DBOOM")

    def truncated(self) -> Path:
        """The first 3000 bytes of a good module: SIGBUS when loaded."""
        path = self.root / "truncated" / f"_ext{SUFFIX}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(self.good().read_bytes()[:3000])
        return path

    def wrong_machine(self) -> Path:
        """A good module whose header says AArch64."""
        path = self.root / "machine" / f"_ext{SUFFIX}"
        path.parent.mkdir(exist_ok=True)
        data = bytearray(self.good().read_bytes())
        data[18] = 0xB7
        path.write_bytes(bytes(data))
        return path


def build_pe(root: Path) -> dict[str, Path]:
    """`_ext.pyd` beside a c10.dll without its symbols ("procedure") and alone ("module"); `full`: with all of them."""
    gcc, dlltool = need(
        "x86_64-w64-mingw32-gcc|x86_64-w64-mingw32-gcc-win32", "x86_64-w64-mingw32-dlltool"
    )  # Debian: gcc-mingw-w64-x86-64-win32, binutils-mingw-w64-x86-64
    root.mkdir(parents=True, exist_ok=True)
    (root / "c10.def").write_text(f'LIBRARY c10.dll\nEXPORTS\n  "{TO_SCALAR_TYPE}"\n  dep_old\n  byord @7 NONAME\n')
    run(dlltool, "-d", "c10.def", "-l", "libc10.a", "-m", "i386:x86-64", cwd=root)
    (root / "ext.s").write_text(PE_MODULE)
    (root / "c10.c").write_text("__declspec(dllexport) int dep_old(void){return 1;}\n")
    (root / "forward.def").write_text("LIBRARY c10.dll\nEXPORTS\n  dep_old = other.dep_moved\n")
    link = (gcc, "-shared", "-nostdlib", "-Wl,-e,0")
    name = "_ext.cp311-win_amd64.pyd"
    found = {}
    for case in ("procedure", "module", "forward"):
        (root / case).mkdir(exist_ok=True)
        run(*link, "ext.s", "libc10.a", "-o", f"{case}/{name}", cwd=root)
        found[case] = root / case / name
    run(*link, "c10.c", "-o", "procedure/c10.dll", cwd=root)
    (root / "none.c").write_text("int unrelated(void){return 1;}\n")
    run(*link, "none.c", "forward.def", "-o", "forward/c10.dll", cwd=root)
    return found


def build_macho(root: Path) -> dict[str, Path]:
    """`_ext` for arm64 beside its library ("good"), an older one ("symbol") or none ("library"); "fat" holds two
    slices."""
    versions = "|".join(f"ld64.lld-{version}" for version in range(25, 12, -1))  # Debian names only these
    clang, lld = need("clang", f"ld64.lld|{versions}")
    root.mkdir(parents=True, exist_ok=True)
    (root / "dep.c").write_text(DEP)
    (root / "ext.c").write_text(
        "int dep_new(void); int dep_old(void);\nint PyInit__ext(void){return dep_new()+dep_old();}\n"
    )
    (root / "sys.c").write_text('void b(void) __asm__("dyld_stub_binder"); void b(void){}\n')
    compile_ = (clang, "-target", "arm64-apple-macos11", "-c")
    run(*compile_, "-DV2", "dep.c", "-o", "new.o", cwd=root)
    for source in ("dep", "ext", "sys"):
        run(*compile_, f"{source}.c", "-o", f"{source}.o", cwd=root)
    link = (lld, "-arch", "arm64", "-platform_version", "macos", "11.0", "11.0", "-dylib")
    run(*link, "sys.o", "-o", "libSystem.B.dylib", "-install_name", "/usr/lib/libSystem.B.dylib", cwd=root)
    name = "_ext.cpython-311-darwin.so"
    for case in ("good", "symbol", "library"):
        (root / case).mkdir(exist_ok=True)
    run(*link, "new.o", "-o", "good/libc10.dylib", "-install_name", "@rpath/libc10.dylib", cwd=root)
    run(*link, "dep.o", "-o", "symbol/libc10.dylib", "-install_name", "@rpath/libc10.dylib", cwd=root)
    module = ("ext.o", "good/libc10.dylib", "libSystem.B.dylib", "-rpath", "@loader_path")
    run(*link, *module, "-o", f"good/{name}", cwd=root)
    for case in ("symbol", "library"):
        shutil.copy(root / "good" / name, root / case / name)
    return {case: root / case / name for case in ("good", "symbol", "library")}


def fat(slices: list[tuple[int, bytes]]) -> bytes:
    """A fat Mach-O file of (cpu type, thin file) slices, each aligned to 16 KiB as Apple's lipo does."""
    page = 1 << 14
    header = bytearray((0xCAFEBABE).to_bytes(4, "big") + len(slices).to_bytes(4, "big"))
    body, offset = bytearray(), page
    for cpu, data in slices:
        header += b"".join(value.to_bytes(4, "big") for value in (cpu, 0, offset, len(data), 14))
        padded = data + bytes(-len(data) % page)
        body += padded
        offset += len(padded)
    return bytes(header) + bytes(page - len(header)) + bytes(body)
