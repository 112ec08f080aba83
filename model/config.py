"""Every architectural number of E2FGVI-HQ, and the switches of its behaviour, in one frozen dataclass.

Source: Li et al., "Towards An End-to-End Framework for Flow-Guided Video Inpainting", CVPR 2022, and the shapes of the
published checkpoint. The configuration travels inside our own checkpoints (see `checkpoint.py`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

BackwardFlowOrder = Literal["released", "aligned"]

ENCODER_STRIDE = 4
"""Two stride-2 convolutions."""

MOST = {
    "channels": 1024,
    "deform_groups": 256,
    "split_kernel": 31,
    "split_stride": 31,
    "split_padding": 31,
    "embed_dim": 8192,
    "num_heads": 64,
    "num_blocks": 64,
    "mlp_dim": 65536,
}
"""The largest number of each: a configuration may come from a file of a stranger, and a network is built from it."""
WIDEST_WINDOW = 32
LARGEST_OFFSET = 1000.0


@dataclass(frozen=True)
class E2FGVIConfig:
    """Architecture and behaviour of one E2FGVI-HQ network.

    `backward_flow_order` decides which forward flow the backward propagation pass uses at frame i. "aligned" uses
    flow_fwd[i], the flow that lives on frame i. "released" uses flow_fwd[l-2-i], which is what the published program
    does and what its checkpoint was trained with (the two agree for clips of up to two local frames).
    """

    channels: int = 128
    """Channels of the feature maps that are propagated and tokenised."""
    deform_groups: int = 16
    max_offset: float = 10.0
    """Largest learned displacement, in feature pixels, added to the flow by the deformable alignment."""
    split_kernel: int = 7
    split_stride: int = 3
    split_padding: int = 3
    embed_dim: int = 512
    num_heads: int = 4
    num_blocks: int = 8
    window: tuple[int, int] = (5, 9)
    """Attention window (height, width) in tokens; also the neighbourhood of windows whose pooled tokens are attended
    to."""
    mlp_dim: int = 1960
    """Hidden size of the fusion feed-forward network: a multiple of split_kernel squared."""
    backward_flow_order: BackwardFlowOrder = "released"

    def __post_init__(self) -> None:
        if self.backward_flow_order not in ("released", "aligned"):
            raise ValueError(f"backward_flow_order is {self.backward_flow_order!r}: use 'released' or 'aligned'")
        for name, most in MOST.items():
            _check_whole(name, getattr(self, name), most, least=0 if name == "split_padding" else 1)
        if not isinstance(self.window, list | tuple) or len(self.window) != 2:
            raise ValueError(f"window is {self.window!r}: use two whole numbers, height and width in tokens")
        for side in self.window:
            _check_whole("window", side, WIDEST_WINDOW)
        offset = self.max_offset
        if not isinstance(offset, int | float) or not math.isfinite(offset) or not 0 < offset <= LARGEST_OFFSET:
            raise ValueError(f"max_offset is {offset!r}: use a number above 0, up to {LARGEST_OFFSET:g}")
        if self.channels % self.deform_groups:
            raise ValueError(f"channels {self.channels} is not a multiple of deform_groups {self.deform_groups}")
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}")
        if self.mlp_dim % self.split_kernel**2:
            raise ValueError(
                f"mlp_dim {self.mlp_dim} is not a multiple of split_kernel squared ({self.split_kernel**2})"
            )
        object.__setattr__(self, "window", tuple(self.window))  # JSON gives a list

    @property
    def size_multiple(self) -> tuple[int, int]:
        """(height, width) in pixels that an input must be a multiple of: (60, 108) for the published numbers."""
        per_token = ENCODER_STRIDE * self.split_stride
        return per_token * self.window[0], per_token * self.window[1]

    @property
    def expansion(self) -> tuple[int, int]:
        """How far (rows, columns) attention reaches beyond its window with full-resolution tokens: half a window."""
        return self.window[0] // 2, self.window[1] // 2

    def token_grid(self, feature_size: tuple[int, int]) -> tuple[int, int]:
        """Tokens (rows, columns) that a feature map of `feature_size` (h, w) is split into."""
        reach = 2 * self.split_padding - self.split_kernel
        h, w = feature_size
        return (h + reach) // self.split_stride + 1, (w + reach) // self.split_stride + 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> E2FGVIConfig:
        """The inverse of `to_dict`. Raises ValueError for a key this version does not know."""
        if not isinstance(values, dict):
            raise ValueError(f"the configuration is {type(values).__name__}, not a table of names and values")
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown configuration {sorted(unknown)}: the file was written by a newer version")
        return cls(**values)


def _check_whole(name: str, value: object, most: int, least: int = 1) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}: use a whole number from {least} to {most}")
