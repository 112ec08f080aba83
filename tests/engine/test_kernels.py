"""The fused Triton kernels against plain PyTorch: interpreted on the CPU, compiled on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from ..conftest import ROOT

CODE = """
import sys, torch
from e2fgvi_cli._model import kernels
from e2fgvi_cli._model.config import E2FGVIConfig
from e2fgvi_cli._model.deform import select_backend
from e2fgvi_cli._model.network import E2FGVIHQ

device = torch.device(sys.argv[1])
size = (15, 27) if device.type == "cpu" else (60, 108)
torch.manual_seed(0)
# The interpreter is slow: one dtype, the fewest frames that have a second neighbour, and a quarter of the groups.
frames = 3 if device.type == "cpu" else 6
cases = ((torch.float32, 2e-5),) if device.type == "cpu" else ((torch.float32, 2e-3), (torch.float16, 4e-3))
for dtype, most in cases:
    groups = 4 if device.type == "cpu" else 16
    config = E2FGVIConfig(backward_flow_order="aligned", num_blocks=1, deform_groups=groups)
    net = E2FGVIHQ(config, deform=select_backend("torch")).to(device).eval()
    for align in net.feat_prop_module.deform_align.values():
        torch.nn.init.normal_(align.conv_offset[-1].weight, std=0.05)
        torch.nn.init.normal_(align.conv_offset[-1].bias, std=0.5)
    # Noise, and flow that leads out of the picture.
    grid = (12, 14) if device.type == "cpu" else size
    features = torch.randn(1, frames, 128, *grid, device=device)
    flows = [torch.randn(1, frames - 1, 2, *grid, device=device) * 8 for _ in range(2)]
    tokens = torch.randn(1, size[0] // 3, size[1] // 3, 512, device=device)
    with torch.inference_mode():
        expected = net.propagate(features, *flows) - features, net.transformer[0].mlp(tokens, size)
        net.feat_prop_module.to(dtype), net.transformer.to(dtype)
        net.use_kernels(kernels)
        half = features.to(dtype)
        got = net.propagate(half, *flows) - half, net.transformer[0].mlp(tokens.to(dtype), size)
        net.use_kernels(None)
        assert torch.isfinite(net.propagate(half, *flows)).all()
    for name, a, b in zip(("propagation", "feed-forward"), got, expected):
        error = float((a.float() - b).norm() / b.norm())
        print(name, dtype, error)
        assert error < most, (name, dtype, error)
"""


def run(device: str) -> None:
    """In a process of its own: whether Triton interprets is decided when it is imported."""
    environment = {**os.environ, **({"TRITON_INTERPRET": "1"} if device == "cpu" else {})}
    done = subprocess.run(
        [sys.executable, "-c", CODE, device], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Triton is for Linux")
def test_interpreted() -> None:
    pytest.importorskip("triton")
    run("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_compiled() -> None:
    # The last of several is not the current one, on which Triton would launch.
    run(f"cuda:{torch.cuda.device_count() - 1}")
