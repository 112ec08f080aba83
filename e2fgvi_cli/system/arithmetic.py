"""What makes a CPU compute as the published figures were computed. Standard library only: it counts before torch is
imported."""

from __future__ import annotations

import platform


def published_environment() -> dict[str, str]:
    """Variables that make torch use AVX2 kernels on every x86 CPU, as the reference figures did; empty on others.

    Recurrent propagation amplifies float32 rounding (1.8x a frame with random weights), so results of wider vector
    units
    differ by whole levels after ten frames: docs/decisions/0003-parity-and-rounding.md.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return {}
    return {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
