"""Probe: the network itself. Arguments: deform|window, devices (comma-separated, or "auto"), package root, weights or
"", answer.

`deform` runs the modulated deformable convolution of every available backend on every device, against plain PyTorch on
the CPU; `window` runs one window of the whole network likewise. Differences are relative to the largest expected value.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

KIND, DEVICES, ROOT, WEIGHTS, ANSWER = sys.argv[1:6]
sys.path.append(ROOT)  # after everything installed: a checkout must not hide what the user installed

import torch  # noqa: E402

from e2fgvi_cli._model import E2FGVIHQ, available_backends, load_network, read_checkpoint, select_backend  # noqa: E402


def devices() -> list[str]:
    """The devices to try, the CPU first: it gives the expected values."""
    if DEVICES != "auto":
        return ["cpu", *(name for name in DEVICES.split(",") if name != "cpu")]
    found = ["cpu"]
    if torch.cuda.is_available():
        found += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def deform(backend: str, device: str) -> torch.Tensor:
    """One convolution of the network's own shape: 128 channels, 16 deform groups, 3x3."""
    generator = torch.Generator().manual_seed(1)
    x, offset = torch.rand(1, 128, 15, 27, generator=generator), torch.randn(1, 288, 15, 27, generator=generator)
    modulation, weight = (
        torch.rand(1, 144, 15, 27, generator=generator),
        torch.randn(64, 128, 3, 3, generator=generator),
    )
    function = select_backend(backend, device).function
    return function(x.to(device), offset.to(device), modulation.to(device), weight.to(device), None, padding=1).cpu()


def window(backend: str, device: str) -> torch.Tensor:
    """Three local frames and one reference at the smallest size, with a hole; the weights are the user's, else
    seeded."""
    chosen = select_backend(backend, device)
    if WEIGHTS:
        network = load_network(read_checkpoint(Path(WEIGHTS)), deform=chosen)
    else:
        torch.manual_seed(2)
        network = E2FGVIHQ(deform=chosen)
    network = network.to(device).eval()
    height, width = network.config.size_multiple
    frames = torch.rand(1, 4, 3, height, width, generator=torch.Generator().manual_seed(3)) * 2 - 1
    frames[..., height // 3 : height // 2, width // 3 : width // 2] = 0
    with torch.inference_mode():
        return network(frames.to(device), 3).cpu()


def measure(
    work: Any, backend: str, device: str, expected: torch.Tensor | None
) -> tuple[dict[str, Any], torch.Tensor | None]:
    """One run: its time, its distance from `expected`, or its error."""
    entry: dict[str, Any] = {"device": device, "backend": backend}
    start = time.monotonic()
    try:
        result = work(backend, device)
    except Exception as error:
        entry["error"] = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        return entry, None
    entry["seconds"] = round(time.monotonic() - start, 2)
    entry["finite"] = bool(torch.isfinite(result).all())
    if expected is not None:
        entry["difference"] = float((result - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    return entry, result


def main() -> None:
    """Every device with every backend it has; the expectation is plain PyTorch on the CPU."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    work = deform if KIND == "deform" else window
    expected: torch.Tensor | None = None
    answer: dict[str, Any] = {"runs": [], "unavailable": {}, "cuda": torch.version.cuda, "weights": bool(WEIGHTS)}
    for device in devices():
        backends = available_backends(device)
        answer["unavailable"][device] = {name: reason for name, reason in backends.items() if reason}
        exact = [name for name, reason in backends.items() if not reason and name != "approximate"]
        for backend in sorted(exact, key=lambda name: name != "torch"):
            entry, result = measure(work, backend, device, expected)
            expected = result if expected is None else expected
            answer["runs"].append(entry)
            with open(ANSWER, "w", encoding="utf-8") as handle:  # after each: the time limit may come before the next
                json.dump(answer, handle)


main()
