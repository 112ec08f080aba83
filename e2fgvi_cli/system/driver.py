"""NVIDIA's driver, woken while Python still imports torch: both take about half a second, and neither needs the other.
Standard library only."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import threading
from pathlib import Path


def wake(device: str) -> threading.Thread | None:
    """Begin to prepare the GPU that `--device` means (auto, cuda, cuda:N) for torch, which will find it prepared. None
    where there is nothing to do.

    Whatever goes wrong is left to torch, which will say so.
    """
    name, _, number = device.partition(":")
    if sys.platform != "linux" or name not in ("auto", "cuda") or "torch" in sys.modules or not _torch_has_cuda():
        return None
    thread = threading.Thread(target=_open, args=(int(number) if number.isdigit() else 0,), name="driver", daemon=True)
    thread.start()
    return thread


def _torch_has_cuda() -> bool:
    spec = importlib.util.find_spec("torch")
    return spec is not None and spec.origin is not None and (Path(spec.origin).parent / "lib/libtorch_cuda.so").exists()


def _open(number: int) -> None:
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:  # no driver
        return
    device, context = ctypes.c_int(), ctypes.c_void_p()
    if cuda.cuInit(0) == 0 and cuda.cuDeviceGet(ctypes.byref(device), number) == 0:
        # The context that all of a process share, torch too. It is given back with the process.
        cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
