"""E2FGVI-HQ: the stages, each callable on its own, and their composition.

Shape legend: b batch, T all frames of a window, l local frames (first on the time axis), c = 128 channels,
H W pixels (multiples of `config.size_multiple`), h w = H/4, W/4.
"""

from __future__ import annotations

from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import FocalBlock, rolled_indices
from .autoencoder import Decoder, Encoder
from .config import ENCODER_STRIDE, E2FGVIConfig
from .deform import DeformBackend, select_backend
from .flow import IMAGENET_MEAN, IMAGENET_STD, SPyNet
from .propagation import FeaturePropagation, SecondOrderAlignment
from .tokens import FusionFeedForward, SoftComposition, SoftSplit


class E2FGVIHQ(nn.Module):
    """The network. Attribute names are the key prefixes of the published checkpoint (244 entries).

    Building it reads nothing and downloads nothing: load weights with `checkpoint.load_network` or `load_state_dict`.
    """

    def __init__(self, config: E2FGVIConfig | None = None, *, deform: DeformBackend | None = None) -> None:
        super().__init__()
        self.config = config or E2FGVIConfig()
        self.deform = deform or select_backend("auto")
        self.encoder = Encoder()
        self.decoder = Decoder(self.config.channels)
        self.feat_prop_module = FeaturePropagation(self.config, self.deform)
        self.ss = SoftSplit(self.config)
        self.sc = SoftComposition(self.config)
        self.transformer = nn.ModuleList(FocalBlock(self.config) for _ in range(self.config.num_blocks))
        self.update_spynet = SPyNet()

    def encode(self, frames: Tensor) -> Tensor:
        """(b, T, 3, H, W) in [-1, 1] with holes 0 -> features (b, T, c, h, w). Frame by frame: may be done once a
        frame."""
        self._check_size(frames)
        out: Tensor = self.encoder(frames.flatten(0, 1).to(self.encoder.dtype))
        return out.unflatten(0, frames.shape[:2])

    def shrink(self, frames: Tensor) -> Tensor:
        """(b, l, 3, H, W) in [-1, 1] -> (b, l, 3, h, w) in [0, 1]: what flow is estimated on. May be done once a
        frame."""
        frames = frames.to(self.update_spynet.mean.dtype)
        size = (frames.shape[-2] // ENCODER_STRIDE, frames.shape[-1] // ENCODER_STRIDE)
        small = F.interpolate((frames.flatten(0, 1) + 1) / 2, size=size, mode="bilinear", align_corners=True)
        return small.unflatten(0, frames.shape[:2])

    def flow_between(self, small: Tensor) -> tuple[Tensor, Tensor]:
        """Flow between neighbours of shrunken frames (b, l, 3, h, w): (flow_fwd, flow_bwd), each (b, l-1, 2, h, w).

        (dx, dy) in pixels of that grid. Pair by pair: may be done once a pair.
        """
        b, length, _, h, w = small.shape
        if length < 2:
            none = small.new_zeros(b, 0, 2, h, w)
            return none, none
        earlier, later = small[:, :-1].flatten(0, 1), small[:, 1:].flatten(0, 1)
        # Both directions in one batch.
        both = self.update_spynet(torch.cat((earlier, later)), torch.cat((later, earlier)))
        flow_fwd, flow_bwd = both.unflatten(0, (2, b, length - 1)).unbind(0)
        return flow_fwd, flow_bwd

    def flow(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """`flow_between` of the shrunken `frames` (b, l, 3, H, W) in [-1, 1] with holes 0."""
        return self.flow_between(self.shrink(frames))

    def propagate(self, features: Tensor, flow_fwd: Tensor, flow_bwd: Tensor) -> Tensor:
        """Local features (b, l, c, h, w) and their flows (b, l-1, 2, h, w) -> (b, l, c, h, w)."""
        out: Tensor = self.feat_prop_module(features, flow_fwd=flow_fwd, flow_bwd=flow_bwd)
        return out

    def transform(self, features: Tensor) -> Tensor:
        """All features of a window (b, T, c, h, w), the local ones propagated -> (b, T, c, h, w). Frames exchange
        content here."""
        b, t, _, h, w = features.shape
        tokens = self.ss(features.flatten(0, 1)).unflatten(0, (b, t))
        for block in self.transformer:
            tokens = block(tokens, (h, w))
        composed = self.sc(tokens.flatten(0, 1), (h, w)).unflatten(0, (b, t))
        out: Tensor = features + composed
        return out

    def decode(self, features: Tensor) -> Tensor:
        """(b, n, c, h, w) -> RGB (b, n, 3, H, W) in [-1, 1]. Frame by frame: only the wanted ones need it."""
        out = torch.tanh(self.decoder(features.flatten(0, 1)))
        return out.unflatten(0, features.shape[:2])

    def use_kernels(self, kernels: ModuleType | None) -> None:
        """Use the fused kernels of the module `model.kernels` where they pay, or (None) plain PyTorch again.

        Inference only, on one window at a time. Call it again after changing weights or their dtype.
        """
        for module in self.modules():
            if isinstance(module, SecondOrderAlignment | FusionFeedForward):
                module.use_kernels(kernels)

    def limit_chunks(self, max_keys: int, max_tokens: int) -> None:
        """Bound what the transformer holds at once: gathered keys an attention call, tokens a feed-forward call."""
        for block in self.transformer:
            assert isinstance(block, FocalBlock)
            block.max_tokens = max_tokens
            block.attn.max_keys = max_keys

    def forward(self, frames: Tensor, num_local: int) -> Tensor:
        """The whole network: (b, T, 3, H, W) in [-1, 1] with holes 0 -> (b, T, 3, H, W) in [-1, 1], local frames first.

        The first `num_local` frames are consecutive and are filled with flow and propagation, the others are
        references.
        """
        if not 1 <= num_local <= frames.shape[1]:
            raise ValueError(f"num_local is {num_local} but the window has {frames.shape[1]} frames")
        features = self.encode(frames)
        flow_fwd, flow_bwd = self.flow(frames[:, :num_local])
        local = self.propagate(features[:, :num_local], flow_fwd, flow_bwd)
        return self.decode(self.transform(torch.cat((local, features[:, num_local:]), dim=1)))

    def _check_size(self, frames: Tensor) -> None:
        for name, size, multiple in zip(("height", "width"), frames.shape[-2:], self.config.size_multiple, strict=True):
            if size % multiple or not size:
                raise ValueError(f"{name} {size} is not a multiple of {multiple}: pad the frames and crop the result")


def constant_buffers(config: E2FGVIConfig) -> dict[str, Tensor]:
    """The entries of the state dict that are constants of the architecture, not weights, with their values."""
    rolled = torch.tensor(rolled_indices(config.window, config.expansion))
    return {
        "update_spynet.mean": torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1),
        "update_spynet.std": torch.tensor(IMAGENET_STD).view(1, 3, 1, 1),
        **{f"transformer.{i}.attn.valid_ind_rolled": rolled for i in range(config.num_blocks)},
    }
