"""What an extension was built for, read from the file: Python, CUDA, torch's era, C++ ABI, GPU architectures,
compiler."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..binary import Binary
from ..binary.demangle import uses_old_strings
from ..binary.fatbin import GpuCode, has_gpu_section, read_gpu_code
from ..facts import load_facts

PYTHON_TAG = re.compile(r"\.(?:cpython-|cp)(\d)(\d+)(t?)")
PYTHON_LIBRARY = re.compile(r"(?:libpython|python)(\d)\.?(\d+)(t?)(?:m?\.so|\.dll|m?\.dylib)", re.IGNORECASE)
CUDA_LIBRARY = re.compile(r"(?:libcudart\.so\.(\d+)(?:\.(\d+))?|cudart64_(\d+)\.dll)", re.IGNORECASE)
CUDA_USERS = ("torch_cuda", "c10_cuda", "cudart")


@dataclass(frozen=True)
class BuiltFor:
    """Facts of one file; empty strings where it does not tell.

    `python`: `3.11`, `abi3` or "". `cuda`: `12`, `11.0`. `torch`: `torch<2.8`. `abi`: `old` or `cxx11`. `gpu`: as
    listed by `GpuCode.label`. `cpu_only` is True for an extension of torch that holds no CUDA code and asks for no CUDA
    library.
    """

    format: str
    machine: str
    python: str = ""
    cuda: str = ""
    torch: str = ""
    abi: str = ""
    gpu: GpuCode | None = None
    cpu_only: bool = False
    toolchain: str = ""
    minimum_os: str = ""


def built_for(binary: Binary) -> BuiltFor:
    """Collect the facts; never fails."""
    names = [symbol.name for symbol in binary.imports]
    libraries = [need.name for need in binary.needed]
    uses_torch = any("torch" in name.lower() or "c10" in name.lower() for name in libraries)
    uses_cuda = any(user in name.lower() for name in libraries for user in CUDA_USERS)
    gpu = read_gpu_code(binary) if has_gpu_section(binary) else None
    linker = binary.notes.get("linker", "")
    return BuiltFor(
        format=binary.format,
        machine=binary.machine,
        python=python_tag(binary.path) or _python_of(libraries),
        cuda=_cuda_of(libraries),
        torch=_era(names),
        abi=_abi(names) if binary.format == "elf" else "",
        gpu=gpu,
        cpu_only=uses_torch and not uses_cuda and not has_gpu_section(binary),
        toolchain=binary.notes.get("compilers", "") or (f"MSVC linker {linker}" if linker else ""),
        minimum_os=binary.notes.get("minimum_os", ""),
    )


def python_tag(path: Path) -> str:
    """`3.11`, `3.13t` or `abi3` from a file name's tag, "" without one."""
    if ".abi3." in path.name:
        return "abi3"
    found = PYTHON_TAG.search(path.name)
    return f"{found[1]}.{found[2]}{found[3]}" if found else ""


def _python_of(libraries: list[str]) -> str:
    found = next((hit for name in libraries if (hit := PYTHON_LIBRARY.search(name))), None)
    return f"{found[1]}.{found[2]}{found[3]}" if found else ""


def _cuda_of(libraries: list[str]) -> str:
    for name in libraries:
        found = CUDA_LIBRARY.search(name)
        if found and found[3]:  # cudart64_110.dll is 11.0, cudart64_12.dll is 12
            return found[3] if len(found[3]) <= 2 else f"{found[3][:-1]}.{found[3][-1]}"
        if found:
            return found[1] + (f".{found[2]}" if found[2] else "")
    return ""


def _era(names: list[str]) -> str:
    """Bounds on torch's version from marker symbols, such as `torch>2.5, torch<2.8`."""
    bare = {name.removeprefix("_") for name in names} | set(names)
    hits = []
    for marker in load_facts()["eras"]:
        match = marker["match"]
        if match in bare or (match.endswith("_") and any(name.startswith(match) for name in bare)):
            hits.append(marker["meaning"])
    return ", ".join(dict.fromkeys(hits))


def _abi(names: list[str]) -> str:
    """The C++ string ABI of the imported names: `cxx11`, `old`, or "" when no name tells."""
    if any("__cxx11" in name for name in names):
        return "cxx11"
    return "old" if any(uses_old_strings(name) for name in names) else ""
