"""What the options of a run ask of the whole process: CPU threads, TF32, limits of GPU memory. Set once, by the run
that lasts longest.

(OpenCV's threads are `threads.opencv`.)
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch

from ..options import InpaintOptions
from ..planner import parse_memory
from ..threads.setting import ProcessSetting
from .precision import precision_for, products

THREADS = ProcessSetting[int]("--threads", torch.get_num_threads, torch.set_num_threads)


@contextmanager
def run_settings(options: InpaintOptions, devices: Sequence[torch.device], bit_depth: int = 8) -> Iterator[None]:
    """The process as `options` want it while a run on `devices` lasts, and as it was afterwards. bit_depth: of the
    frames.

    Raises `UsageError` while a run in another thread wants it otherwise.
    """
    with ExitStack() as stack:
        if options.threads is not None:
            stack.enter_context(THREADS.held(options.threads))
        for device in devices:
            stack.enter_context(products(precision_for(options, device, bit_depth), device))
            share = memory_share(options, device)
            if share is not None:
                stack.enter_context(_memory(device).held(share))
        yield


def settle(options: InpaintOptions, device: torch.device) -> None:
    """The process as `options` want it, from now on: for one that does nothing but such runs, one after the other."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    if device.type == "cuda":
        _limit(device, memory_share(options, device) or 1.0)


def memory_share(options: InpaintOptions, device: torch.device) -> float | None:
    """The part of the device's memory that `--max-memory` allows; None without a limit, and where torch enforces
    none."""
    asked = parse_memory(options.max_memory)
    if asked is None or device.type != "cuda":
        return None
    return min(1.0, asked / torch.cuda.get_device_properties(device).total_memory)


@functools.cache
def _memory(device: torch.device) -> ProcessSetting[float]:
    return ProcessSetting("--max-memory", lambda: 1.0, lambda share: _limit(device, share))


def _limit(device: torch.device, share: float) -> None:
    torch.cuda.set_per_process_memory_fraction(share, device)
