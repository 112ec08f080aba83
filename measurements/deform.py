"""How fast the backends of the deformable convolution are, on the network's own shapes: `python -m
measurements.deform`.

Times are ratios against torchvision's operator in the same run, interleaved, so that other work on the machine hits all
alike.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time

import torch

from e2fgvi_cli.engine import choose_deform, describe_device, select_device
from e2fgvi_cli.errors import DeviceError

CHANNELS, GROUPS, TAPS = 128, 16, 9
"""Of E2FGVI-HQ: two maps of 128 channels in, one out, 16 deform groups, a 3x3 kernel."""


def time_backends(
    feature_size: tuple[int, int] = (60, 108), *, device: torch.device | None = None, repeats: int = 15
) -> dict[str, float]:
    """Median seconds of one call of every backend that works on `device`, at a feature map of `feature_size` (h, w)."""
    device = device or torch.device("cpu")
    backends = {}
    for name in ("torchvision", "torch", "mmcv", "approximate"):
        try:
            backends[name] = choose_deform(name, device).function
        except DeviceError:
            continue
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    x, weight, bias = normal(1, 2 * CHANNELS, *feature_size), normal(CHANNELS, 2 * CHANNELS, 3, 3), normal(CHANNELS)
    offset, modulation = normal(1, 2 * GROUPS * TAPS, *feature_size), normal(1, GROUPS * TAPS, *feature_size).sigmoid()
    seconds: dict[str, list[float]] = {name: [] for name in backends}
    with torch.inference_mode():
        for _ in range(repeats + 1):  # the first round warms up
            for name, function in backends.items():
                _synchronise(device)
                started = time.perf_counter()
                function(x, offset, modulation, weight, bias, padding=1)
                _synchronise(device)
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def report(device: torch.device) -> str:
    """A Markdown table of `time_backends`, with the machine it was measured on."""
    times = time_backends(device=device)
    base = times["torchvision"] if "torchvision" in times else next(iter(times.values()))
    rows = [f"| {name} | {value * 1000:.2f} ms | {value / base:.2f} |" for name, value in times.items()]
    head = (
        f"{describe_device(device)}, torch {torch.__version__}, {platform.machine()}; feature map 60x108, median of 15"
    )
    return "\n".join([head, "", "| backend | one call | relative to torchvision |", "|---|---|---|", *rows, ""])


if __name__ == "__main__":
    sys.stdout.write(report(select_device(sys.argv[1] if len(sys.argv) > 1 else "auto")))
