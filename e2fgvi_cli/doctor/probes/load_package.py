"""Probe: import one package and make its compiled part work once. Arguments: package, answer file."""

from __future__ import annotations

import importlib
import json
import sys
import traceback
import warnings
from typing import Any


def use(name: str, module: Any) -> None:
    """The smallest call that needs the compiled part (a module may import well and fail at the first call)."""
    if name == "torch":
        import numpy

        module.from_numpy(numpy.zeros(2, dtype="float32")).add(1).numpy()
    elif name == "torchvision":
        import torch

        module.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    elif name == "numpy":
        module.linalg.inv(module.eye(2))
    elif name == "cv2":
        import numpy

        module.dilate(numpy.zeros((4, 4), dtype="uint8"), numpy.ones((3, 3), dtype="uint8"))
    elif name == "av":
        module.codec.Codec("rawvideo", "w")


def windows_error(path: str) -> int:
    """GetLastError of loading a file the way CPython does: its ImportError keeps the sentence, not the number."""
    import ctypes

    windows: Any = ctypes  # WinDLL exists on Windows only
    kernel = windows.WinDLL("kernel32", use_last_error=True)
    kernel.LoadLibraryExW.restype = ctypes.c_void_p
    return 0 if kernel.LoadLibraryExW(ctypes.c_wchar_p(path), None, 0x1100) else windows.get_last_error()


def describe(error: BaseException) -> dict[str, Any]:
    """Everything an exception knows that does not depend on the language of the system."""
    path = getattr(error, "path", None)
    number = getattr(error, "winerror", None)
    if number is None and path and sys.platform == "win32":
        number = windows_error(path)
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "type": type(error).__name__,
        "message": str(error)[:4000],
        "path": path,
        "name": getattr(error, "name", None),
        "winerror": number,
        "file": frames[-1].filename if frames else "",
    }


def note(target: str, answer: dict[str, Any]) -> None:
    """Write the answer so far: a crash leaves the step it happened in."""
    with open(target, "w", encoding="utf-8") as handle:
        json.dump(answer, handle)


def main() -> None:
    """Write what happened; an exception is an answer, not a failure of the probe."""
    name, target = sys.argv[1], sys.argv[2]
    answer: dict[str, Any] = {"ok": False}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            note(target, {"step": f"import {name}"})
            module = importlib.import_module(name)
            answer["file"] = str(getattr(module, "__file__", ""))
            answer["version"] = str(getattr(module, "__version__", ""))
            if name == "mmcv":  # mmcv itself is plain Python; its operators are in _ext
                note(target, {"step": "import mmcv._ext"})
                importlib.import_module("mmcv._ext")
            note(target, {"step": f"a first call into {name}"})
            use(name, module)
            answer["ok"] = True
        except BaseException as error:
            answer["error"] = describe(error)
    answer["warnings"] = [f"{item.category.__name__}: {item.message}"[:500] for item in caught][:10]
    note(target, answer)


main()
