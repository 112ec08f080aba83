"""Stage 3: bidirectional feature propagation with flow-guided second-order deformable alignment (BasicVSR++, CVPR 2022;
E2FGVI, section 3.2).

Shape legend: b batch, l local frames, c channels, h w feature grid. flow_fwd[i] lives on frame i and points to i+1,
flow_bwd[i] lives on frame i+1 and points to i; both (b, l-1, 2, h, w), (dx, dy) in feature pixels.
"""

from __future__ import annotations

import math
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import E2FGVIConfig
from .deform import DeformBackend
from .flow import warp

KERNEL = 3
ORDER = 2
"""The current frame is aligned with the two frames before it (in the order of the pass)."""


class SecondOrderAlignment(nn.Module):
    """Modulated deformable convolution over the two previous features, its offsets learned around the flow."""

    def __init__(self, config: E2FGVIConfig, deform: DeformBackend) -> None:
        super().__init__()
        c, self.groups, self.max_offset = config.channels, config.deform_groups, config.max_offset
        self.deform = deform
        self._fused: tuple[ModuleType, Tensor, Tensor] | None = None
        self.weight = nn.Parameter(torch.empty(c, ORDER * c, KERNEL, KERNEL))
        self.bias = nn.Parameter(torch.zeros(c))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        # Two offsets and one modulation for every tap of every group.
        outputs = 3 * KERNEL**2 * self.groups
        last = nn.Conv2d(c, outputs, 3, padding=1)
        # Starts as "follow the flow": no learned displacement, every tap at half weight.
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.conv_offset = nn.Sequential(
            nn.Conv2d(3 * c + 2 * ORDER, c, 3, padding=1),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(c, c, 3, padding=1),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(c, c, 3, padding=1),
            nn.LeakyReLU(0.1, inplace=True),
            last,
        )

    def forward(
        self,
        before_1: Tensor,
        before_2: Tensor | None,
        current: Tensor,
        flow_1: Tensor,
        earlier_flow: Tensor | None,
    ) -> Tensor:
        """The two previous features aligned with `current`; all (b, c, h, w).

        flow_1: (b, 2, h, w), from the current frame to the one before; earlier_flow: from that one to the one before
        it. At the second step of a pass there is no such frame: `before_2` and `earlier_flow` are None, which counts as
        zeros.
        """
        if self._fused is not None and current.shape[0] == 1:
            return self._fused_forward(self._fused, before_1, before_2, current, flow_1, earlier_flow)
        if before_2 is None or earlier_flow is None:
            before_2 = warped_2 = torch.zeros_like(before_1)
            flow_2 = torch.zeros_like(flow_1)
        else:
            flow_2 = flow_1 + warp(earlier_flow, flow_1)
            warped_2 = warp(before_2, flow_2)
        kind = current.dtype
        condition = torch.cat((warp(before_1, flow_1), current, warped_2, flow_1.to(kind), flow_2.to(kind)), dim=1)
        y, x, modulation = self.conv_offset(condition).chunk(3, dim=1)
        # Half precision is for what is sampled, never for where: positions keep the dtype of the flow (float32).
        offset = self.max_offset * torch.tanh(torch.cat((y, x), dim=1).to(flow_1.dtype))
        pairs = offset.shape[1] // (2 * ORDER)
        # The deformable convolution counts (dy, dx), the flow (dx, dy); half of the groups follows each flow.
        guide = torch.cat([f.flip(1).repeat(1, pairs, 1, 1) for f in (flow_1, flow_2)], dim=1)
        previous = torch.cat((before_1, before_2), dim=1)
        return self.deform.function(
            previous, offset + guide, torch.sigmoid(modulation), self.weight, self.bias, padding=KERNEL // 2
        )

    def use_kernels(self, kernels: ModuleType | None) -> None:
        """Run on the fused `kernels` (the module `model.kernels`) from now on, with today's weights; None: not any
        more."""
        self._fused = None
        if kernels is not None:
            with torch.no_grad():
                first = kernels.pad_condition_weight(self.conv_offset.get_parameter("0.weight"))
                self._fused = (kernels, first, kernels.column_weight(self.weight, self.groups))

    def _fused_forward(
        self,
        fused: tuple[ModuleType, Tensor, Tensor],
        before_1: Tensor,
        before_2: Tensor | None,
        current: Tensor,
        flow_1: Tensor,
        earlier_flow: Tensor | None,
    ) -> Tensor:
        kernels, first, columns = fused
        condition, flow_2 = kernels.condition(before_1, before_2, current, flow_1, earlier_flow)
        bias = self.conv_offset.get_parameter("0.bias")
        learned = self.conv_offset[1:](F.conv2d(condition, first, bias, padding=1))
        out: Tensor = kernels.align(before_1, before_2, learned, flow_1, flow_2, columns, self.bias, self.max_offset)
        return out


class FeaturePropagation(nn.Module):
    """A backward pass, then a forward pass that also sees the backward result, then their fusion."""

    def __init__(self, config: E2FGVIConfig, deform: DeformBackend) -> None:
        super().__init__()
        c = config.channels
        self.backward_flow_order = config.backward_flow_order
        # The trailing underscore is the published key: `backward` and `forward` are methods of a Module.
        self.deform_align = nn.ModuleDict(
            {name: SecondOrderAlignment(config, deform) for name in ("backward_", "forward_")}
        )
        self.backbone = nn.ModuleDict(
            {name: self._backbone(inputs * c, c) for name, inputs in (("backward_", 2), ("forward_", 3))}
        )
        self.fusion = nn.Conv2d(2 * c, c, 1)

    @staticmethod
    def _backbone(in_channels: int, out_channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )

    def forward(self, features: Tensor, *, flow_fwd: Tensor, flow_bwd: Tensor) -> Tensor:
        """features: (b, l, c, h, w) -> the same shape."""
        b, length, _, h, w = features.shape
        expected = (b, length - 1, 2, h, w)
        for name, flow in (("flow_fwd", flow_fwd), ("flow_bwd", flow_bwd)):
            if tuple(flow.shape) != expected:
                raise ValueError(f"{name} is {tuple(flow.shape)}: {length} local frames need {expected}")
        frames = list(features.unbind(1))
        # Flows in the order of the backward pass: step i (frame l-1-i) follows the flow from that frame to the next
        # one.
        aligned = self.backward_flow_order == "aligned"
        to_next = list((flow_fwd.flip(1) if aligned else flow_fwd).unbind(1))
        backward = self._run_pass("backward_", [[x] for x in reversed(frames)], to_next)[::-1]
        inputs = [[x, y] for x, y in zip(frames, backward, strict=True)]
        forward = self._run_pass("forward_", inputs, list(flow_bwd.unbind(1)))
        # Frame by frame in the batch dimension: torch.cat keeps channels last, where the steps made it.
        both = torch.cat([torch.cat(pair, dim=1) for pair in zip(backward, forward, strict=True)])
        fused = self.fusion(both).unflatten(0, (length, b)).transpose(0, 1)
        out: Tensor = fused + features
        return out

    def _run_pass(self, name: str, inputs: list[list[Tensor]], flows: list[Tensor]) -> list[Tensor]:
        """One recurrent pass. `inputs[i]`: the maps the backbone sees at step i, the current feature first.
        `flows[i]`: from step i+1's frame to step i's."""
        align, backbone = self.deform_align[name], self.backbone[name]
        outputs: list[Tensor] = []
        zeros = torch.zeros_like(inputs[0][0])
        for i, maps in enumerate(inputs):
            aligned = zeros
            if i:
                before_2, earlier_flow = (outputs[i - 2], flows[i - 2]) if i > 1 else (None, None)
                aligned = align(outputs[i - 1], before_2, maps[0], flows[i - 1], earlier_flow)
            outputs.append(aligned + backbone(torch.cat((*maps, aligned), dim=1)))
        return outputs
