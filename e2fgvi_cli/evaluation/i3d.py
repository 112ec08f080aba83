"""Features of clips by I3D (Carreira and Zisserman, CVPR 2017: Inception-v1 inflated to three dimensions), for VFID.

The weights are the user's: a state dictionary with the names of the common PyTorch conversion of the Kinetics model
(`Conv3d_1a_7x7.conv3d.weight`, `Mixed_3b.b0.bn.weight`, ..., `logits.conv3d.bias`). Padding is TensorFlow's "same".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import WeightsError

CLASSES = 400
SHORTEST = 10
"""Frames that the average over 2x7x7 at an eighth of the frame rate needs."""
SIDE = 224
"""Pixels: frames are scaled to this square, which is what the network was trained with."""
MIXED = {
    "3b": (192, (64, 96, 128, 16, 32, 32)),
    "3c": (256, (128, 128, 192, 32, 96, 64)),
    "4b": (480, (192, 96, 208, 16, 48, 64)),
    "4c": (512, (160, 112, 224, 24, 64, 64)),
    "4d": (512, (128, 128, 256, 24, 64, 64)),
    "4e": (512, (112, 144, 288, 32, 64, 64)),
    "4f": (528, (256, 160, 320, 32, 128, 128)),
    "5b": (832, (256, 160, 320, 32, 128, 128)),
    "5c": (832, (384, 192, 384, 48, 128, 128)),
}


def _padded(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """(b, c, t, h, w) padded with zeros as TensorFlow's "same": the odd one at the end."""
    pads: list[int] = []
    for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max(k - (s if size % s == 0 else size % s), 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


class _Unit(nn.Module):
    def __init__(self, ins: int, outs: int, kernel: int = 1, stride: int = 1, *, plain: bool = False) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(ins, outs, kernel, stride, bias=plain)
        self.bn = None if plain else nn.BatchNorm3d(outs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3d(_padded(x, self.kernel, self.stride))
        return x if self.bn is None else F.relu(self.bn(x))


class _Mixed(nn.Module):
    def __init__(self, ins: int, outs: tuple[int, ...]) -> None:
        super().__init__()
        self.b0 = _Unit(ins, outs[0])
        self.b1a, self.b1b = _Unit(ins, outs[1]), _Unit(outs[1], outs[2], 3)
        self.b2a, self.b2b = _Unit(ins, outs[3]), _Unit(outs[3], outs[4], 3)
        self.b3b = _Unit(ins, outs[5])

    def forward(self, x: Tensor) -> Tensor:
        pooled = _pool(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], dim=1)


def _pool(x: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
    return F.max_pool3d(_padded(x, kernel, stride), kernel, stride)


class I3D(nn.Module):
    """(b, 3, t, 224, 224) in [-1, 1] -> (b, 400): logits, mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = _Unit(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = _Unit(64, 64)
        self.Conv3d_2c_3x3 = _Unit(64, 192, 3)
        for name, (ins, outs) in MIXED.items():
            self.add_module(f"Mixed_{name}", _Mixed(ins, outs))
        self.logits = _Unit(1024, CLASSES, plain=True)

    def forward(self, x: Tensor) -> Tensor:
        x = _pool(self.Conv3d_1a_7x7(x), (1, 3, 3), (1, 2, 2))
        x = _pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
        for name in MIXED:
            if name == "4b":
                x = _pool(x, (3, 3, 3), (2, 2, 2))
            if name == "5b":
                x = _pool(x, (2, 2, 2), (2, 2, 2))
            x = self.get_submodule(f"Mixed_{name}")(x)
        x = self.logits(F.avg_pool3d(x, (2, 7, 7), 1))
        return x.squeeze(4).squeeze(3).mean(dim=2)


def load_i3d(path: Path) -> I3D:
    """The network with the weights of a file (.pt, .pth: a state dictionary). Raises `WeightsError`."""
    network = I3D().eval()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state)
    except (OSError, RuntimeError, ValueError, TypeError, AttributeError, EOFError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"--i3d {path} holds no I3D of {CLASSES} classes: {first}") from error
    except Exception as error:  # pickle has errors of its own
        raise WeightsError(f"--i3d {path} cannot be read as weights: {type(error).__name__}") from error
    return network


@torch.inference_mode()
def features(network: I3D, frames: list[NDArray[np.uint8]]) -> list[float]:
    """The clip's 400 numbers; frames are (224, 224, 3) RGB. A clip shorter than `SHORTEST` repeats its last frame."""
    longer = frames + [frames[-1]] * max(0, SHORTEST - len(frames))
    clip = torch.from_numpy(np.stack(longer)).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    return [round(float(value), 6) for value in network(clip)[0]]
