"""Weights to begin with when there are none: Kaiming initialisation.

The published initialisation (normal, 0.02) and torch's default both leave the nine-layer encoder nearly silent: each
layer shrinks its input, and after nine there is nothing left to learn from. Measured in shared/weights: encoder +
decoder reach an L1 of 0.127 after 65 steps with Kaiming against 0.140 after 260 with normal(0.02).
"""

from __future__ import annotations

import torch
from torch import nn

from .._model import E2FGVIHQ

ENCODER_LEAK = 0.2
PROPAGATION_LEAK = 0.1


@torch.no_grad()
def initialise(network: E2FGVIHQ) -> None:
    """Kaiming weights and zero biases for the convolutions of encoder, decoder and propagation; everything else keeps
    its own.

    The last convolution of `conv_offset` stays zero: alignment starts as "follow the flow".
    """
    for module in (*network.encoder.modules(), *network.decoder.modules()):
        if isinstance(module, nn.Conv2d):
            _kaiming(module, ENCODER_LEAK)
    # The last layer feeds a tanh: full gain would saturate it.
    last = [m for m in network.decoder.modules() if isinstance(m, nn.Conv2d)][-1]
    last.weight.mul_(0.5)
    for name, module in network.feat_prop_module.named_modules():
        if isinstance(module, nn.Conv2d) and "conv_offset.6" not in name:
            _kaiming(module, PROPAGATION_LEAK)
    # A propagated feature is the sum of what was carried here and a correction: the correction starts small,
    # or the recurrence grows with every frame.
    for backbone in network.feat_prop_module.backbone.values():
        for module in backbone.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.mul_(0.5)
    network.feat_prop_module.fusion.weight.mul_(0.5)


def _kaiming(module: nn.Conv2d, leak: float) -> None:
    nn.init.kaiming_normal_(module.weight, a=leak, nonlinearity="leaky_relu")
    if module.bias is not None:
        nn.init.zeros_(module.bias)
