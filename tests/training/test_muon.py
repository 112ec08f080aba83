"""Muon: its steps are orthogonal, as large as Adam's, and every weight of the network is moved by one optimizer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from e2fgvi_cli._model.network import E2FGVIHQ
from torch import nn

from e2fgvi_cli.training.config import OptimizerConfig
from e2fgvi_cli.training.muon import ADAM_RMS, Matrices, Muon, hidden_matrices, orthogonal
from e2fgvi_cli.training.setup import build_optimizers

from .conftest import SMALL


@pytest.mark.parametrize("shape", [(3, 20, 20), (2, 12, 60), (2, 60, 12)])
def test_all_directions_come_out_equally_long_and_none_is_turned(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    within = u.mT @ orthogonal(matrices) @ vh.mT
    lengths = within.diagonal(dim1=1, dim2=2)
    # The smallest of a square matrix's singular values are too small for five turns.
    assert float(lengths.max()) < 1.25
    assert float(lengths.sort(dim=1).values[:, 2:].min()) > 0.5
    assert float((within - torch.diag_embed(lengths)).abs().max()) < 1e-3


def test_a_zero_gradient_moves_nothing() -> None:
    assert not orthogonal(torch.zeros(1, 4, 6)).any()


def test_a_step_is_as_large_as_adams_and_goes_against_the_gradient() -> None:
    weight = nn.Parameter(torch.zeros(32, 4, 3, 3))
    gradient = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    weight.grad = gradient.clone()
    Muon([Matrices(weight)], lr=0.01).step()
    assert float(weight.detach().square().mean().sqrt()) == pytest.approx(0.01 * ADAM_RMS, rel=0.2)
    assert float((weight.detach() * gradient).sum()) < 0


def test_groups_of_a_convolution_are_matrices_of_their_own() -> None:
    generator = torch.Generator().manual_seed(2)
    gradient = torch.randn(12, 5, 3, 3, generator=generator)
    whole = nn.Parameter(torch.zeros_like(gradient))
    whole.grad = gradient.clone()
    halves = [nn.Parameter(torch.zeros(6, 5, 3, 3)) for _ in range(2)]
    for half, part in zip(halves, gradient.chunk(2), strict=True):
        half.grad = part.clone()
    Muon([Matrices(whole, 2)], lr=1.0).step()
    Muon([Matrices(half) for half in halves], lr=1.0).step()
    assert torch.allclose(whole.detach(), torch.cat([half.detach() for half in halves]), atol=1e-6)


def test_the_memory_format_does_not_matter() -> None:
    gradient = torch.randn(12, 5, 3, 3, generator=torch.Generator().manual_seed(3))
    moved = []
    for layout in (torch.contiguous_format, torch.channels_last):
        weight = nn.Parameter(torch.zeros(12, 5, 3, 3).to(memory_format=layout))
        weight.grad = gradient.to(memory_format=layout)
        Muon([Matrices(weight, 2)], lr=1.0).step()
        moved.append(weight.detach())
    assert torch.allclose(*moved, atol=1e-6)
    assert moved[0].any()


def test_every_weight_has_one_optimizer() -> None:
    network = E2FGVIHQ(SMALL)
    adam, muon = build_optimizers(network, replace(OptimizerConfig(), kind="muon", matrix_factor=2.0), fused=False)
    moved = [id(p) for optimizer in (adam, muon) for group in optimizer.param_groups for p in group["params"]]
    assert len(moved) == len(set(moved))
    assert set(moved) == {id(p) for p in network.parameters()}
    names = {id(p): name for name, p in network.named_parameters()}
    muons = {names[id(p)] for p in muon.param_groups[0]["params"]}
    assert {"transformer.0.attn.qkv.weight", "encoder.layers.12.weight", "ss.embedding.weight"} <= muons
    adams = set(names.values()) - muons
    assert {"encoder.layers.0.weight", "decoder.6.weight", "transformer.0.pool_layers.0.weight"} <= adams
    assert {f"feat_prop_module.deform_align.{way}_.conv_offset.6.weight" for way in ("backward", "forward")} <= adams
    assert all(name in adams for name in names.values() if name.startswith("update_spynet") or name.endswith("bias"))
    assert {m.parts for m in hidden_matrices(network)} == {1, 2, 3, 4, 8}
    assert muon.param_groups[0]["factor"] == 2.0
