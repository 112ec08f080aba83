"""What the device can do at best, measured in the same run (`results.shares`: what share of it a piece of work
reaches).

Two ceilings: a large matrix product in the dtype of the work, and a large copy within the device's memory. A stage that
does F operations and moves B bytes cannot be done in less than max(F / peak, B / bandwidth) seconds, as far as it
really moves B.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from ..engine.precision import Precision, products
from .results import Peaks

MATRIX_SIDE = {"cuda": 8192, "cpu": 1536}
COPY_BYTES = {"cuda": 1 << 30, "cpu": 1 << 28}


def measure_peaks(device: torch.device, precision: Precision, *, seconds: float = 1.0) -> Peaks:
    """Matrix product and copy on `device`, for about `seconds` each."""
    side, copied = MATRIX_SIDE.get(device.type, 4096), COPY_BYTES.get(device.type, 1 << 28)
    if device.type == "cuda":
        # A small or busy GPU must not run out of memory for this.
        free = torch.cuda.mem_get_info(device)[0]
        while copied > free // 8:
            copied //= 2
        while 12 * side * side > free // 4:
            side //= 2
    matmul = _matmul(device, precision, side, seconds)
    source = torch.ones(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    least = least_seconds(lambda: target.copy_(source), device, seconds=seconds)
    return Peaks({precision.name: matmul}, 2 * copied / least, side, copied)


def _matmul(device: torch.device, precision: Precision, side: int, seconds: float) -> float:
    a, b = (torch.randn(side, side, device=device).to(precision.dtype) for _ in range(2))
    with torch.inference_mode(), products(precision, device):
        return 2 * side**3 / least_seconds(lambda: a @ b, device, seconds=seconds)


def least_seconds(call: Callable[[], object], device: torch.device, *, seconds: float = 1.0) -> float:
    """The fastest of the calls that fit into `seconds`, after two that do not count."""
    return min(call_seconds(call, device, seconds=seconds, warm_up=2))


def median_seconds(call: Callable[[], object], device: torch.device, *, seconds: float = 1.0) -> float:
    """The median of the calls that fit into `seconds`: at least one, after one that does not count (on a CPU: the first
    counts if it takes longer than `seconds`)."""
    return statistics.median(call_seconds(call, device, seconds=seconds, warm_up=1))


def call_seconds(
    call: Callable[[], object], device: torch.device, *, seconds: float, warm_up: int, at_most: int = 100
) -> list[float]:
    """Wall clock of single calls, the device synchronised before and after each."""
    times: list[float] = []
    began = time.perf_counter()
    for number in range(warm_up + at_most):
        started = time.perf_counter()
        call()
        synchronise(device)
        ended = time.perf_counter()
        slow = device.type == "cpu" and ended - started > seconds
        if number >= warm_up or slow:
            times.append(ended - started)
        if times and (slow or ended - began > seconds):
            break
    return times


def synchronise(device: torch.device) -> None:
    """Wait until the device has done everything it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
