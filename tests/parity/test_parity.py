"""The network against what the published code computes: every stage, whole tensors, and controls that must fail."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from e2fgvi_cli._model.config import E2FGVIConfig
from e2fgvi_cli._model.deform import select_backend
from e2fgvi_cli._model.network import E2FGVIHQ, constant_buffers

from ..conftest import SHARED, shared

TOLERANCE = 1e-4
CASES = sorted(p.name for p in (SHARED / "parity").glob("case_*.npz")) or ["absent"]


def parity_weights() -> dict[str, torch.Tensor]:
    path = shared("parity", "weights.py")
    spec = importlib.util.spec_from_file_location("parity_weights", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {k: torch.from_numpy(np.array(v)) for k, v in module.state_dict().items()}


def build(order: str = "released", **changes: Any) -> E2FGVIHQ:
    network = E2FGVIHQ(E2FGVIConfig(backward_flow_order=order, **changes))  # type: ignore[arg-type]
    network.load_state_dict(parity_weights(), strict=True)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def network() -> E2FGVIHQ:
    return build()


def load(name: str) -> tuple[Any, torch.Tensor, int]:
    data = np.load(shared("parity", name))
    frames = torch.from_numpy(data["frames"] * (1 - data["masks"].astype(np.float32)))[None]
    return data, frames, int(data["num_local"])


def difference(actual: torch.Tensor, data: Any, key: str) -> float:
    expected = torch.from_numpy(data[key]).reshape(actual.shape)
    return float((actual - expected).abs().max())


@pytest.mark.parametrize("case", CASES)
def test_every_stage_equals_the_published_code(network: E2FGVIHQ, case: str) -> None:
    data, frames, num_local = load(case)
    with torch.inference_mode():
        features = network.encode(frames)
        assert difference(features[0, :, ::8], data, "encoded_ch8") <= TOLERANCE
        flow_fwd, flow_bwd = network.flow(frames[:, :num_local])
        assert difference(flow_fwd, data, "flows_forward") <= TOLERANCE
        assert difference(flow_bwd, data, "flows_backward") <= TOLERANCE
        local = network.propagate(features[:, :num_local], flow_fwd, flow_bwd)
        # Met with AVX2 kernels, which conftest asks for: docs/decisions/0003-parity-and-rounding.md.
        assert difference(local[:, :, ::8], data, "propagated_ch8") <= TOLERANCE
        window = torch.cat((local, features[:, num_local:]), dim=1)
        tokens = network.ss(window[0])
        assert difference(tokens[..., ::32], data, "tokens_ch32") <= TOLERANCE
        size = (window.shape[-2], window.shape[-1])
        tokens = network.transformer[0](tokens[None], size)
        assert difference(tokens[0, ..., ::32], data, "block0_ch32") <= TOLERANCE
        for block in list(network.transformer)[1:]:
            tokens = block(tokens, size)
        assert difference(tokens[0, ..., ::32], data, "transformed_ch32") <= TOLERANCE
        transformed = network.transform(window)
        assert difference((transformed - window)[0, :, ::8], data, "composed_ch8") <= TOLERANCE
        assert difference(network.decode(transformed)[0], data, "output") <= TOLERANCE
        assert difference(network(frames, num_local)[0], data, "output") <= TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_swapped_flows_are_noticed(network: E2FGVIHQ, case: str) -> None:
    data, frames, num_local = load(case)
    with torch.inference_mode():
        features = network.encode(frames)
        flow_fwd, flow_bwd = network.flow(frames[:, :num_local])
        swapped = network.propagate(features[:, :num_local], flow_bwd, flow_fwd)
    assert difference(swapped[:, :, ::8], data, "propagated_ch8") > 100 * TOLERANCE


def test_the_other_flow_order_is_noticed() -> None:
    data, frames, num_local = load("case_120x216_t6_l4.npz")
    with torch.inference_mode():
        output = build("aligned")(frames, num_local)[0]
    assert difference(output, data, "output") > 10 * TOLERANCE


def test_plain_pytorch_deformable_convolution_is_the_same_network() -> None:
    data, frames, num_local = load("case_60x108_t4_l3.npz")
    network = E2FGVIHQ(E2FGVIConfig(), deform=select_backend("torch"))
    network.load_state_dict(parity_weights())
    with torch.inference_mode():
        assert difference(network.eval()(frames, num_local)[0], data, "output") <= TOLERANCE


def test_keys_shapes_and_constants_are_the_published_ones() -> None:
    weights, own = parity_weights(), E2FGVIHQ(E2FGVIConfig()).state_dict()
    assert list(own) != []
    assert {k: (tuple(v.shape), v.dtype) for k, v in own.items()} == {
        k: (tuple(v.shape), v.dtype) for k, v in weights.items()
    }
    for key, value in constant_buffers(E2FGVIConfig()).items():
        assert torch.equal(value, weights[key]), key


@pytest.mark.slow
def test_released_mode_reproduces_the_published_program(e2fgvi: Any, tmp_path: Path) -> None:
    """Files in, files out: at most one level, in at most 0.1 % of all values."""
    from ..factories import read_folder, write_folder

    data = np.load(shared("parity", "pipeline_100x130_t13.npz"))
    torch.save(parity_weights(), tmp_path / "parity.pth")
    write_folder(tmp_path / "frames", data["frames"])
    write_folder(tmp_path / "masks", data["masks"])
    done = e2fgvi(
        "inpaint", "-v", "frames", "-m", "masks", "-o", "out", "--weights", "parity.pth", "--compat", "released", "--device", "cpu",
        "--neighbor_stride", int(data["neighbor_stride"]), "--step", int(data["ref_step"]), "--num_ref", -1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    off = np.abs(read_folder(tmp_path / "out").astype(int) - data["result"].astype(int))
    assert off.max() <= 1
    assert (off > 0).mean() <= 0.001
