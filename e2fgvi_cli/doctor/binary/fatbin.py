"""GPU architectures inside a library, from the CUDA "fat binary" containers of `.nv_fatbin` (ELF) or `.nv_fatb` (PE).

The format is not documented by NVIDIA; layout as observed in toolkits 10 to 13: a container starts with
50 ED 55 BA 01 00 10 00 and a u64 payload size; entries are u16 kind (1 PTX, 2 machine code), u16 version, u32 header
size, u64 payload size, and the architecture as u32 at byte 28. Anything unexpected means "unknown", never a fault.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .common import Binary
from .view import Malformed, View

MAGIC = bytes.fromhex("50ed55ba01001000")
ENTRY = struct.Struct("<HHIQ")
PTX, SASS = 1, 2
MOST_ENTRIES = 1 << 17
SECTIONS = (".nv_fatbin", ".nv_fatb")


@dataclass(frozen=True)
class GpuCode:
    """Architectures as 10 * compute capability: 86 is sm_86. Machine code (`sass`) and portable code (`ptx`)."""

    sass: tuple[int, ...]
    ptx: tuple[int, ...]

    def label(self) -> str:
        """`sm_70 sm_86 ptx_90`, or an empty string."""
        return " ".join([*(f"sm_{arch}" for arch in self.sass), *(f"ptx_{arch}" for arch in self.ptx)])


def has_gpu_section(binary: Binary) -> bool:
    """True if the file carries a CUDA code section at all."""
    return any(name in binary.sections for name in SECTIONS)


def read_gpu_code(binary: Binary) -> GpuCode | None:
    """What the file's CUDA containers hold; None when there is no section or nothing understood."""
    found: dict[int, set[int]] = {PTX: set(), SASS: set()}
    try:
        with View(binary.path) as view:
            for name in SECTIONS:
                start, size = binary.sections.get(name, (0, 0))
                _scan(view, start, min(start + size, view.size), found)
    except (Malformed, OSError):
        return None
    if not (found[PTX] or found[SASS]):
        return None
    return GpuCode(tuple(sorted(found[SASS])), tuple(sorted(found[PTX])))


def _scan(view: View, start: int, end: int, found: dict[int, set[int]]) -> None:
    """Containers between two file offsets; damaged ones are passed over."""
    budget = MOST_ENTRIES
    at = view.data.find(MAGIC, start, end)
    while at >= 0 and budget > 0:
        length = int.from_bytes(view.read(at + 8, 8), "little")
        entry, stop = at + 16, min(at + 16 + length, end)
        while entry + 32 <= stop and budget > 0:
            budget -= 1
            kind, _, header, payload = view.unpack(ENTRY, entry)
            if kind not in found or not 32 <= header <= 4096:
                break
            architecture = int.from_bytes(view.read(entry + 28, 4), "little")
            if 20 <= architecture <= 999:
                found[kind].add(architecture)
            entry += header + payload
        at = view.data.find(MAGIC, max(min(entry, stop), at + len(MAGIC)), end)
