"""Devices: choosing one by name, saying what it is, what it has used, and which operators work on it."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from threading import Thread

import torch

from .._model import BackendUnavailableError, DeformBackend, select_backend
from ..errors import DeviceError, UsageError


def select_device(name: str) -> torch.device:
    """The device for `--device`: auto (cuda, else mps, else cpu), cpu, cuda, cuda:N or mps.

    Raises `UsageError` for a name that is none of these, `DeviceError` for one this machine does not have.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"device {name!r} is unknown: use auto, cpu, cuda, cuda:N or mps")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            built = "has no CUDA support" if torch.version.cuda is None else "finds no usable NVIDIA GPU"
            raise DeviceError(
                f"device {name!r} cannot be used: torch {torch.__version__} {built}; run `e2fgvi check-env`"
            )
        if (device.index or 0) >= torch.cuda.device_count():
            raise DeviceError(
                f"device {name!r} does not exist: this machine has {torch.cuda.device_count()} GPU(s), from cuda:0"
            )
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"device {name!r} cannot be used: this torch or machine has no Metal support")
    return torch.device(device.type)


def describe_device(device: torch.device) -> str:
    """A device in words, for the report."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "mps":
        return f"mps ({platform.processor() or platform.machine()})"
    return f"cpu ({torch.get_num_threads()} threads)"


def begin_with_triton(devices: Iterable[torch.device]) -> None:
    """Where one is a GPU, let a thread import Triton and hash all of it, which is a part of the names of its compiled
    kernels: the first kernel would wait for that, half a second."""

    def hash_triton() -> None:
        # Where it is not, or is somewhere else in another version, the first kernel says so or does it.
        with contextlib.suppress(ImportError):
            from triton.runtime.cache import triton_key

            triton_key()

    if any(device.type == "cuda" for device in devices):
        Thread(target=hash_triton, name="triton", daemon=True).start()


def use_compiled_attention() -> None:
    """Let torch's attention on GPUs be one of the kernels that come compiled.

    cuDNN compiles one for each shape, a tenth of a second each, and half of one for the first: for a clip of usual
    length that is more than they gain. For the whole process.
    """
    if hasattr(torch.backends.cuda, "enable_cudnn_sdp"):  # since torch 2.5
        torch.backends.cuda.enable_cudnn_sdp(False)


def choose_deform(name: str, device: torch.device, *, prefer_torch: bool = False) -> DeformBackend:
    """The deformable convolution's backend. Raises `UsageError` (unknown) or `DeviceError` (does not work here).

    prefer_torch: on a CPU "auto" takes the plain PyTorch one, which is no slower there (docs/deform-backends.md).
    """
    if name == "auto" and prefer_torch and device.type == "cpu":
        return replace(select_backend("torch", device), reason="the default")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # `exact` says the same, and the caller reports it
            return select_backend(name, device)
    except ValueError as error:
        raise UsageError(str(error)) from error
    except BackendUnavailableError as error:
        raise DeviceError(
            f"deformable convolution backend {name!r} does not work: {error}; use --deform auto"
        ) from error


def peak_memory(device: torch.device) -> int:
    """Most memory used so far, in bytes: allocated by torch on a GPU, resident in this process elsewhere."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return _windows_peak_working_set()
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def _windows_peak_working_set() -> int:
    """PeakWorkingSetSize of this process (psapi). Written from its documentation; not run on Windows here."""
    import ctypes

    fields = ("cb", "faults", "peak", "working", "ppp", "pp", "ppnp", "pnp", "pagefile", "peak_pagefile")
    types = [ctypes.c_uint32, ctypes.c_uint32, *[ctypes.c_size_t] * 8]
    counters = type("Counters", (ctypes.Structure,), {"_fields_": list(zip(fields, types, strict=True))})()
    counters.cb = ctypes.sizeof(counters)
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 (absent from the type stubs of other platforms)
    kernel.K32GetProcessMemoryInfo.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]
    kernel.K32GetProcessMemoryInfo(ctypes.c_void_p(-1), ctypes.byref(counters), counters.cb)
    return int(counters.peak)


def total_memory(device: torch.device) -> int:
    """Bytes that this process may hope for: free on a GPU right now plus what torch holds there; a machine's whole
    memory elsewhere."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if sys.platform == "win32":
        return _windows_memory()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [pages]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        # A container's limit is what kills the process, not the machine's memory.
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def _windows_memory() -> int:
    """ullTotalPhys of GlobalMemoryStatusEx. Written from its documentation; not run on Windows here."""
    import ctypes

    names = ("total", "available", "total_page", "available_page", "total_virtual", "available_virtual", "extended")
    fields = [("length", ctypes.c_uint32), ("load", ctypes.c_uint32), *((n, ctypes.c_uint64) for n in names)]
    status = type("Status", (ctypes.Structure,), {"_fields_": fields})()
    status.length = ctypes.sizeof(status)
    getattr(ctypes, "windll").kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # noqa: B009
    return int(status.total)
