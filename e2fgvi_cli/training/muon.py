"""Muon: gradient descent whose every step is an orthogonal matrix (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/).

For a network that is trained in minutes: a step moves all directions of a weight equally far, not mostly the few that
the gradient is full of. Scaled to the size of Adam's steps (Liu et al. 2025, "Muon is scalable for LLM training",
section 2.2), so that both can share a schedule. torch.optim.Muon (2.9) knows two-dimensional parameters only and takes
them one by one; here matrices of one shape are orthogonalised together, which a network of many convolutions needs.

Shape legend: n matrices, r rows, c columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._model import E2FGVIHQ, FocalAttention, SecondOrderAlignment

MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd quintic that pushes singular values towards 1; five turns bring those above 0.01 to between about 0.7 and
1.2."""
ADAM_RMS = 0.2
"""Root mean square of what Adam changes a weight by, in units of its rate."""


class Matrices(NamedTuple):
    """A weight (rows, ...) seen as `parts` matrices side by side, each (rows / parts, everything else)."""

    parameter: nn.Parameter
    parts: int = 1

    def of(self, tensor: Tensor) -> Tensor:
        """A tensor of the weight's shape as (parts, r, c)."""
        return tensor.reshape(self.parts, tensor.shape[0] // self.parts, -1)


class Muon(torch.optim.Optimizer):
    """Steps of `matrices`. The rate is Adam's: a step changes a weight by `ADAM_RMS` times it on average."""

    def __init__(self, matrices: Iterable[Matrices], lr: float) -> None:
        self._matrices = list(matrices)
        super().__init__([m.parameter for m in self._matrices], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of every weight that has a gradient."""
        assert closure is None, "a closure is for optimizers that evaluate the loss themselves"
        moving = [m for m in self._matrices if m.parameter.grad is not None]
        gradients = [m.parameter.grad for m in moving if m.parameter.grad is not None]
        momentum = [self._momentum(m.parameter) for m in moving]
        torch._foreach_lerp_(momentum, gradients, 1 - MOMENTUM)
        # Nesterov's: where the momentum will be after the next step, if the gradient stays.
        ahead = torch._foreach_lerp(gradients, momentum, MOMENTUM)
        shapes: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
        for m, direction in zip(moving, ahead, strict=True):
            matrices = m.of(direction)
            shapes[matrices.shape[1], matrices.shape[2]].append((m.parameter, matrices))
        rate = self.param_groups[0]["lr"]
        for (rows, columns), alike in shapes.items():
            steps = orthogonal(torch.cat([matrices for _, matrices in alike])) * (ADAM_RMS * max(rows, columns) ** 0.5)
            own = steps.split([len(matrices) for _, matrices in alike])
            weights: list[Tensor] = [weight for weight, _ in alike]
            torch._foreach_add_(weights, [o.reshape(w.shape) for w, o in zip(weights, own, strict=True)], alpha=-rate)

    def _momentum(self, parameter: nn.Parameter) -> Tensor:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"]
        return momentum


def orthogonal(matrices: Tensor) -> Tensor:
    """(n, r, c) -> the same singular vectors with singular values near 1 (0.7 to 1.2), by Newton and Schulz's
    iteration.

    In bf16 on a GPU: what is lost is less than what the coefficients leave open.
    """
    x = matrices.to(torch.bfloat16 if matrices.device.type == "cuda" else torch.float32)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / x.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


def hidden_matrices(network: E2FGVIHQ) -> list[Matrices]:
    """The weights that are Muon's: hidden layers. The first and the last layer and everything with one dimension are
    Adam's.

    So are flow, which starts trained, and the layers that put out offsets, whose steps must stay small.
    """
    left = {id(network.encoder.layers[0].weight), id(network.decoder[-1].weight)}
    left |= {id(p) for p in network.update_spynet.parameters()}
    found: list[Matrices] = []
    # A module comes before its parts.
    for module in network.modules():
        parts = 1
        match module:
            case SecondOrderAlignment():
                left.add(id(module.conv_offset[-1].weight))
            case FocalAttention():
                module, parts = module.qkv, 3
            case nn.Conv2d():
                parts = module.groups
            case nn.Linear():
                pass
            case _:
                continue
        weight = module.get_parameter("weight")
        if id(weight) not in left and weight.shape[0] > 1:
            found.append(Matrices(weight, parts))
        left.add(id(weight))
    return found
