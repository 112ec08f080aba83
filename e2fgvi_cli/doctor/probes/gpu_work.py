"""Probe: one matrix product and one convolution on each CUDA device. Arguments: kernel|conv, answer file."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch


def work(kind: str, device: str) -> torch.Tensor:
    """The result of a small, deterministic piece of work; the same numbers on every device."""
    generator = torch.Generator().manual_seed(0)
    if kind == "kernel":
        a, b = torch.rand(64, 64, generator=generator), torch.rand(64, 64, generator=generator)
        return torch.matmul(a.to(device), b.to(device))
    x, weight = torch.rand(1, 8, 32, 32, generator=generator), torch.rand(8, 8, 3, 3, generator=generator)
    return torch.nn.functional.conv2d(x.to(device), weight.to(device), padding=1)


def main() -> None:
    """Compare every CUDA device with the CPU."""
    kind, target = sys.argv[1], sys.argv[2]
    answer: dict[str, Any] = {
        "available": torch.cuda.is_available(),
        "archs": torch.cuda.get_arch_list(),
        "cudnn": torch.backends.cudnn.version(),
        "devices": [],
    }
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    expected = work(kind, "cpu")
    for index in range(torch.cuda.device_count() if answer["available"] else 0):
        start = time.monotonic()
        entry: dict[str, Any] = {"device": f"cuda:{index}", "name": torch.cuda.get_device_name(index)}
        try:
            result = work(kind, f"cuda:{index}").cpu()
            entry["error_max"] = float((result - expected).abs().max() / expected.abs().max())
            entry["finite"] = bool(torch.isfinite(result).all())
        except (RuntimeError, AssertionError) as error:
            entry["error"] = str(error)[:1000]
        entry["seconds"] = round(time.monotonic() - start, 2)
        answer["devices"].append(entry)
    with open(target, "w", encoding="utf-8") as handle:
        json.dump(answer, handle)


main()
