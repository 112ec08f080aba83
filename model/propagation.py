"""Stage 3: bidirectional feature propagation with flow-guided second-order deformable alignment (BasicVSR++, CVPR 2022; E2FGVI, section 3.2).

Shape legend: b batch, l local frames, c channels, h w feature grid. flow_fwd[i] lives on frame i and points to i+1,
flow_bwd[i] lives on frame i+1 and points to i; both (b, l-1, 2, h, w), (dx, dy) in feature pixels.
"""

from __future__ import annotations

import math

import torch
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

    def forward(self, previous: Tensor, condition: Tensor, flow_1: Tensor, flow_2: Tensor) -> Tensor:
        """previous: (b, 2c, h, w); condition: (b, 3c, h, w); flow_1, flow_2: (b, 2, h, w) to the one and the two before."""
        y, x, modulation = self.conv_offset(torch.cat((condition, flow_1, flow_2), dim=1)).chunk(3, dim=1)
        offset = self.max_offset * torch.tanh(torch.cat((y, x), dim=1))
        pairs = offset.shape[1] // (2 * ORDER)
        # The deformable convolution counts (dy, dx), the flow (dx, dy); half of the groups follows each flow.
        guide = torch.cat([f.flip(1).repeat(1, pairs, 1, 1) for f in (flow_1, flow_2)], dim=1)
        return self.deform.function(
            previous, offset + guide, torch.sigmoid(modulation), self.weight, self.bias, padding=KERNEL // 2
        )


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
        b, length, c, h, w = features.shape
        expected = (b, length - 1, 2, h, w)
        for name, flow in (("flow_fwd", flow_fwd), ("flow_bwd", flow_bwd)):
            if tuple(flow.shape) != expected:
                raise ValueError(f"{name} is {tuple(flow.shape)}: {length} local frames need {expected}")
        frames = list(features.unbind(1))
        # Flows in the order of the backward pass: step i (frame l-1-i) follows the flow from that frame to the next one.
        aligned = self.backward_flow_order == "aligned"
        to_next = list((flow_fwd.flip(1) if aligned else flow_fwd).unbind(1))
        backward = self._run_pass("backward_", [[x] for x in reversed(frames)], to_next)[::-1]
        inputs = [[x, y] for x, y in zip(frames, backward, strict=True)]
        forward = self._run_pass("forward_", inputs, list(flow_bwd.unbind(1)))
        both = torch.cat((torch.stack(backward, 1), torch.stack(forward, 1)), dim=2)
        fused = self.fusion(both.view(b * length, 2 * c, h, w)).view(b, length, c, h, w)
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
                before_1, flow_1 = outputs[i - 1], flows[i - 1]
                if i > 1:
                    before_2 = outputs[i - 2]
                    flow_2 = flow_1 + warp(flows[i - 2], flow_1)
                    warped_2 = warp(before_2, flow_2)
                else:
                    before_2, flow_2, warped_2 = zeros, torch.zeros_like(flow_1), zeros
                condition = torch.cat((warp(before_1, flow_1), maps[0], warped_2), dim=1)
                aligned = align(torch.cat((before_1, before_2), dim=1), condition, flow_1, flow_2)
            outputs.append(aligned + backbone(torch.cat((*maps, aligned), dim=1)))
        return outputs
