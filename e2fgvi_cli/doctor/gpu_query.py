"""Asks NVIDIA's driver, without torch: run as a script in a process of its own (a broken driver can hang or abort).

Prints one JSON object: driver version, CUDA version the driver allows (11060 = 11.6), devices with compute capability
and memory in bytes, and NVML's error number where it fails (18: the kernel module and the library are of different
versions).
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any

NVML = {"win32": ["nvml.dll", r"C:\Program Files\NVIDIA Corporation\NVSMI\nvml.dll"]}.get(
    sys.platform, ["libnvidia-ml.so.1"]
)
CUDA = {"win32": ["nvcuda.dll"]}.get(sys.platform, ["libcuda.so.1"])


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def _open(names: list[str]) -> Any:
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def _devices(nvml: Any) -> list[dict[str, Any]]:
    count, found = ctypes.c_uint(), []
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    for index in range(count.value):
        handle = ctypes.c_void_p()
        if nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)):
            continue
        name = ctypes.create_string_buffer(96)
        memory, major, minor = _Memory(), ctypes.c_int(), ctypes.c_int()
        nvml.nvmlDeviceGetName(handle, name, 96)
        nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
        nvml.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor))
        found.append(
            {
                "name": name.value.decode("utf-8", "replace"),
                "capability": [major.value, minor.value],
                "total": int(memory.total),
                "free": int(memory.free),
            }
        )
    return found


def query() -> dict[str, Any]:
    """Everything the driver says; keys are absent where it does not answer."""
    answer: dict[str, Any] = {"device_files": os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/dxg")}
    nvml = _open(NVML)
    if nvml is not None:
        error = nvml.nvmlInit_v2()
        answer["nvml_error"] = int(error)
        if error == 0:
            text = ctypes.create_string_buffer(96)
            if nvml.nvmlSystemGetDriverVersion(text, 96) == 0:
                answer["driver"] = text.value.decode("ascii", "replace")
            answer["devices"] = _devices(nvml)
    cuda = _open(CUDA)
    if cuda is not None:
        version = ctypes.c_int()
        if cuda.cuDriverGetVersion(ctypes.byref(version)) == 0:
            answer["cuda"] = version.value
    return answer


if __name__ == "__main__":
    sys.stdout.write(json.dumps(query()))
