"""One forward and backward pass over a batch: what is computed in which precision, and as a captured CUDA graph.

Shape legend: b batch, T frames of a window, l local frames, H W pixels, h w = H/4 W/4.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from .._model import E2FGVIHQ, ENCODER_STRIDE, SecondOrderAlignment, SPyNet, tables_used
from ..errors import UsageError
from .batches import Batch
from .config import LossConfig, PhaseConfig, SpeedConfig
from .losses import (
    flow_l1,
    flow_l1_in_holes,
    hinge_discriminator,
    hinge_generator,
    masked_change,
    masked_l1,
    masked_squared,
)

Autocast = Callable[[], AbstractContextManager[object]]
GRAPH_WARMUP = 3
MOST_DIFFERENCE = 0.02
"""Between a captured and a plain step, relative. Chosen, not measured: above what bf16 sums in another order should
give."""
LEAST_VALUE = 0.01
"""Smaller ones are compared as this: the verdict of a new discriminator is 1e-5, and each call moves it by a quarter,
since spectral normalisation iterates."""


@dataclass(frozen=True)
class StepResult:
    """parts: the losses by name, unweighted, detached scalars. filled: (b, l, 3, H, W), the hole's pixels predicted,
    the others true."""

    parts: dict[str, Tensor]
    filled: Tensor


def autocast_for(speed: SpeedConfig, device: torch.device) -> Autocast:
    """A factory of the context that convolutions and matrix products run in."""
    wanted = speed.precision
    if wanted == "auto":
        wanted = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    if wanted == "float32":
        return nullcontext
    return lambda: torch.autocast(device.type, torch.bfloat16)


def compile_parts(network: E2FGVIHQ, parts: tuple[str, ...]) -> None:
    """Compile the named parts in place (keys of the state dict stay). Raises UsageError for an unknown one.

    Left out on purpose: attention (its index tables are made by cached Python) and the deformable operator (a compiled
    one already).
    """
    propagation = network.feat_prop_module
    modules: dict[str, list[nn.Module]] = {
        "encoder": [network.encoder],
        "decoder": [network.decoder],
        "flow": list(network.update_spynet.basic_module),
        "propagation": [*propagation.backbone.values(), *(a.conv_offset for a in _alignments(network))],
        "feedforward": [block.get_submodule("mlp") for block in network.transformer],
    }
    for part in parts:
        if part not in modules:
            raise UsageError(f"speed.compile: {part!r} is unknown, use {', '.join(modules)}")
        for module in modules[part]:
            module.compile(dynamic=False)


def _alignments(network: E2FGVIHQ) -> list[SecondOrderAlignment]:
    return [cast(SecondOrderAlignment, module) for module in network.feat_prop_module.deform_align.values()]


def fill_window(
    network: E2FGVIHQ, masked: Tensor, num_local: int, autocast: Autocast
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Prediction (b, l, 3, H, W) of the local frames and their flows (each (b, l-1, 2, h, w)) from frames with holes 0.

    Flow is always computed in float32: a bf16 coordinate is wrong by up to half a pixel beyond 128.
    """
    with torch.autocast(masked.device.type, enabled=False):
        flows = network.flow(masked[:, :num_local])
    with autocast():
        features = network.encode(masked)
        local = network.propagate(features[:, :num_local], *flows)
        mixed = network.transform(torch.cat((local, features[:, num_local:]), dim=1))
        return network.decode(mixed[:, :num_local]), flows


class Step:
    """The generator's losses of a batch, and their gradients. `adversarial_weight` is a tensor, so that a graph sees it
    change."""

    def __init__(
        self,
        network: E2FGVIHQ,
        teacher: SPyNet,
        discriminator: nn.Module | None,
        phase: PhaseConfig,
        loss: LossConfig,
        autocast: Autocast,
    ) -> None:
        self.network, self.teacher, self.discriminator = network, teacher, discriminator
        self.phase, self.loss, self.autocast = phase, loss, autocast
        device = next(network.parameters()).device
        self.adversarial_weight = torch.zeros((), device=device)

    def parameters(self) -> list[nn.Parameter]:
        """What this phase trains."""
        if self.phase.mode == "autoencoder":
            return [*self.network.encoder.parameters(), *self.network.decoder.parameters()]
        return [p for p in self.network.parameters() if p.requires_grad]

    def __call__(self, batch: Batch) -> StepResult:
        """Losses of `batch`; their weighted sum is differentiated into the parameters' `.grad`."""
        total, result = self.losses(batch)
        total.backward()
        return result

    def losses(self, batch: Batch) -> tuple[Tensor, StepResult]:
        """The weighted sum, and what it is made of."""
        if self.phase.mode == "autoencoder":
            return self._reconstruct(batch)
        local = self.phase.local
        truth, hole = batch.frames[:, :local], batch.holes[:, :local]
        prediction, flows = fill_window(self.network, batch.masked, local, self.autocast)
        prediction = prediction.float()
        filled = prediction * hole + truth * (1 - hole)
        hole, visible = batch.marked(local)
        parts = {
            "hole": masked_l1(prediction, truth, hole),
            "valid": masked_l1(prediction, truth, visible),
        }
        total = self.loss.hole * parts["hole"] + self.loss.valid * parts["valid"]
        if self.loss.squared > 0:
            parts["squared"] = masked_squared(prediction, truth, hole)
            total = total + self.loss.squared * parts["squared"]
        if self.loss.steady > 0:
            parts["steady"] = masked_change(prediction, truth, hole)
            total = total + self.loss.steady * parts["steady"]
        if self.loss.flow > 0 or self.loss.flow_in_hole > 0:
            true_flow = self.true_flow(truth)
            parts["flow"] = flow_l1(flows, true_flow)
            total = total + self.loss.flow * parts["flow"]
            if self.loss.flow_in_hole > 0:
                parts["flow_in_hole"] = flow_l1_in_holes(flows, true_flow, hole, ENCODER_STRIDE)
                total = total + self.loss.flow_in_hole * parts["flow_in_hole"]
        if self.discriminator is not None:
            with self.autocast():
                verdict = self.discriminator(filled)
            parts["adversarial"] = hinge_generator(verdict)
            total = total + self.adversarial_weight * parts["adversarial"]
        return total, StepResult({name: value.detach() for name, value in parts.items()}, filled.detach())

    def discriminate(self, batch: Batch, filled: Tensor) -> Tensor:
        """The discriminator's loss on true and filled clips; its gradients are left in its parameters."""
        assert self.discriminator is not None
        with self.autocast():
            real = self.discriminator(batch.frames[:, : self.phase.local])
            fake = self.discriminator(filled)
        loss = hinge_discriminator(real, fake)
        loss.backward()
        return loss.detach()

    @torch.no_grad()
    def true_flow(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's flow on whole frames (b, l, 3, H, W), both directions, as `E2FGVIHQ.flow` gives it."""
        b, length, _, height, width = frames.shape
        size = (height // ENCODER_STRIDE, width // ENCODER_STRIDE)
        with torch.autocast(frames.device.type, enabled=False):
            small = nn.functional.interpolate(
                (frames.flatten(0, 1) + 1) / 2, size=size, mode="bilinear", align_corners=True
            ).unflatten(0, (b, length))
            earlier, later = small[:, :-1].flatten(0, 1), small[:, 1:].flatten(0, 1)
            both = self.teacher(torch.cat((earlier, later)), torch.cat((later, earlier)))
        flow_fwd, flow_bwd = both.unflatten(0, (2, b, length - 1)).unbind(0)
        return flow_fwd, flow_bwd

    def _reconstruct(self, batch: Batch) -> tuple[Tensor, StepResult]:
        truth = batch.frames[:, : self.phase.local]
        with self.autocast():
            restored = self.network.decode(self.network.encode(truth))
        loss = (restored.float() - truth).abs().mean()
        return loss, StepResult({"frames": loss.detach()}, restored.float().detach())


class GraphedStep:
    """A `Step` captured once as a CUDA graph: one launch instead of several thousand.

    Batches are copied into fixed memory; losses, the filled clip and the gradients lie in fixed memory too and are
    overwritten by the next call. Gradients must not be set to None between calls.
    """

    def __init__(self, step: Step, example: Batch) -> None:
        self.step = step
        self._batch = Batch(example.frames.clone(), example.holes.clone())
        device = example.frames.device
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(GRAPH_WARMUP):
                step(self._batch)
                _forget_gradients(step)
        torch.cuda.current_stream(device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        # Gradients that do not exist yet are created by the capture, so each replay overwrites them instead of adding.
        with tables_used() as self._tables, torch.cuda.graph(self._graph):
            self._result = step(self._batch)
        self._check()

    def _check(self) -> None:
        """Compare a replay with the step itself, on noise: losses and the gradients' norm.

        An operator that launches on the legacy stream, as torchvision's deformable convolution does, is left out of a
        capture without a word; run 1 of release_model/TRAINING.md was most likely spoilt by that.
        """
        self._batch.frames.uniform_(-1, 1)
        self._batch.holes.copy_(self._batch.frames[:, :, :1] > 0.5)
        self._graph.replay()
        replayed = [float(v) for v in self._result.parts.values()] + [_gradient_norm(self.step)]
        kept = [p.grad for p in self.step.parameters()]
        _forget_gradients(self.step)
        plain = [float(v) for v in self.step(self._batch).parts.values()] + [_gradient_norm(self.step)]
        # Back to the memory that replays write.
        for parameter, gradient in zip(self.step.parameters(), kept, strict=True):
            parameter.grad = gradient
        for a, b in zip(replayed, plain, strict=True):
            if not agree(a, b):
                raise UsageError(
                    f"the captured step computes {replayed}, the plain one {plain}: an operator escapes the CUDA "
                    "graph; "
                    'set speed.deform = "torch", or speed.cuda_graph = false'
                )

    def __call__(self, batch: Batch) -> StepResult:
        """As `Step.__call__`."""
        assert batch.counted is None, "a graph was captured of batches that count whole"
        self._batch.frames.copy_(batch.frames)
        self._batch.holes.copy_(batch.holes)
        self._graph.replay()
        return self._result


def agree(replayed: float, plain: float) -> bool:
    """Whether a captured step's value may be the plain one's. Never if it is not finite."""
    return abs(replayed - plain) <= MOST_DIFFERENCE * max(abs(plain), LEAST_VALUE)


def _gradient_norm(step: Step) -> float:
    return (
        float(sum(float(p.grad.detach().float().square().sum()) for p in step.parameters() if p.grad is not None))
        ** 0.5
    )


def _forget_gradients(step: Step) -> None:
    for parameter in step.parameters():
        parameter.grad = None
