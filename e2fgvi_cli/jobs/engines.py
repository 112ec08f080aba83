"""The engine as workers see it: two functions, `arithmetic` and `build`, found by the module's name in `BatchSettings`.

That name is the seam for tests: a module with the same two functions and a make-believe engine. This module is the real
one. torch is imported inside, so that the driver never pays for it.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass

from ..fill.stream import WindowEngine
from ..options import InpaintOptions


@dataclass(frozen=True)
class BuiltEngine:
    """An engine and what to report of it. `peak_memory` in bytes, asked at the end of a part."""

    engine: WindowEngine
    device: str
    deform: str
    weights: str
    peak_memory: Callable[[], int]
    peak_memory_of: str
    precision: str = ""


def arithmetic(device: str, threads: int | None) -> str:
    """Everything that decides the last bits of a result besides the job: device model, threads, vector width, torch.

    Two workers with the same text compute the same clip bit for bit. Sets torch's CPU threads.
    """
    import torch

    from ..engine import cpu_multiplies_bf16, select_device

    if threads is not None:
        torch.set_num_threads(threads)
    chosen = select_device(device)
    if chosen.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(chosen)}, torch {torch.__version__}"
    if chosen.type == "mps":
        return f"mps {platform.machine()}, torch {torch.__version__}"
    width = torch.backends.cpu.get_cpu_capability() + (" bf16" if cpu_multiplies_bf16() else "")
    return f"cpu {platform.machine()} {width}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def build(options: InpaintOptions, device: str, bit_depth: int) -> BuiltEngine:
    """The network on `device` ("auto": the best here) for frames of `bit_depth`. Raises `WeightsError`, `DeviceError`,
    `UsageError`."""
    from ..engine import assemble, peak_memory, select_device, settle

    settle(options, select_device(device))
    made = assemble(options, device, bit_depth=bit_depth)
    return BuiltEngine(
        engine=made.engine,
        device=made.description,
        deform=made.deform,
        weights=str(made.weights),
        peak_memory=lambda: peak_memory(made.device),
        peak_memory_of="GPU" if made.device.type == "cuda" else "process",
        precision=made.precision,
    )


def devices_here() -> tuple[str, ...]:
    """Names for `--devices auto`: every CUDA device, else mps, else cpu. Imports torch: call it in a process of its
    own."""
    import torch

    if torch.cuda.is_available():
        return tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))
    return ("mps",) if torch.backends.mps.is_available() else ("cpu",)
