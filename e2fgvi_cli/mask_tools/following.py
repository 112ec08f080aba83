"""The network that follows an object: it finds the object's mask in a picture by pictures whose masks are known.

Memory matching as in STM (Oh et al. 2019) and STCN (Cheng et al. 2021), in small: every place of the new picture is
compared with every place of the remembered ones, and takes over what was known there. Two memories are read: what a
person has marked, and what was found lately. Where the object was in the picture before is a hint of its own, and a box
in place of a memory is how an object starts from a box.

Shape legend: b batch, H W pixels (multiples of 16), h w places of 8x8 pixels, m places of a memory, c channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 16
"""Height and width of the pictures are multiples of it."""
_GROUP = 8  # channels that are normalised together


@dataclass(frozen=True)
class FollowingSizes:
    """Channels at strides 2, 4, 8 and 16, of keys, of values, and of the decoder at stride 8."""

    half: int = 24
    quarter: int = 48
    eighth: int = 80
    sixteenth: int = 96
    key: int = 64
    value: int = 80
    decoder: int = 80


@dataclass(frozen=True)
class Seen:
    """What the network sees in pictures: features (b, c, H / s, W / s) at strides s of 2, 4 and 8, and the keys."""

    half: Tensor
    quarter: Tensor
    eighth: Tensor
    key: Tensor

    def pick(self, index: Tensor | slice) -> Seen:
        """Those of some pictures."""
        return Seen(self.half[index], self.quarter[index], self.eighth[index], self.key[index])


@dataclass(frozen=True)
class Memory:
    """Remembered places: keys (b, m, c) of length 1 and values (b, m, c)."""

    key: Tensor
    value: Tensor


def joined(memories: list[Memory]) -> Memory:
    """All places of several memories."""
    return Memory(torch.cat([one.key for one in memories], 1), torch.cat([one.value for one in memories], 1))


def _normal(channels: int) -> nn.Module:
    return nn.GroupNorm(max(channels // _GROUP, 1), channels)


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.normal_first, self.normal_second = _normal(outside), _normal(outside)
        plain = inside == outside and stride == 1
        self.shortcut = nn.Identity() if plain else nn.Conv2d(inside, outside, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.normal_first(self.first(x)))
        return F.relu(self.normal_second(self.second(y)) + self.shortcut(x))


class MaskStem(nn.Module):
    """Masks (b, n, H, W) -> features at strides 4 and 8."""

    def __init__(self, masks: int, quarter: int, eighth: int) -> None:
        super().__init__()
        self.to_quarter = nn.Conv2d(masks, quarter, 7, 4, 3)
        self.to_eighth = nn.Conv2d(quarter, eighth, 3, 2, 1)

    def forward(self, masks: Tensor) -> tuple[Tensor, Tensor]:
        quarter = F.relu(self.to_quarter(masks))
        return quarter, F.relu(self.to_eighth(quarter))


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class Following(nn.Module):
    """`see` the pictures, `remember` those whose mask is known, `find` the object in another."""

    def __init__(self, sizes: FollowingSizes = FollowingSizes()) -> None:
        super().__init__()
        s = sizes
        self.stem = nn.Sequential(nn.Conv2d(3, s.half, 3, 2, 1, bias=False), _normal(s.half), nn.ReLU())
        self.quarter = nn.Sequential(Residual(s.half, s.quarter, 2), Residual(s.quarter, s.quarter))
        self.eighth = nn.Sequential(Residual(s.quarter, s.eighth, 2), Residual(s.eighth, s.eighth))
        self.sixteenth = nn.Sequential(Residual(s.eighth, s.sixteenth, 2), Residual(s.sixteenth, s.sixteenth))
        self.down = nn.Conv2d(s.sixteenth, s.eighth, 1)
        self.fused = Residual(s.eighth, s.eighth)
        self.key = nn.Conv2d(s.eighth, s.key, 3, 1, 1)
        self.sharpness = nn.Parameter(torch.tensor(2.5))  # logarithm
        self.mask_stem = MaskStem(1, 16, 32)
        self.value = Residual(s.eighth + 32, s.value)
        self.hint_stem = MaskStem(2, 16, 32)
        self.enter = nn.Conv2d(2 * s.value + s.eighth + 32, s.decoder, 1)
        self.local = Residual(s.decoder, s.decoder)
        self.wide = nn.Sequential(nn.Conv2d(s.decoder, s.decoder, 3, 2, 1), nn.ReLU(), Residual(s.decoder, s.decoder))
        self.to_quarter = nn.Conv2d(s.decoder, s.quarter, 1)
        self.skip_quarter = nn.Conv2d(s.quarter + 16, s.quarter, 1)
        self.at_quarter = Residual(s.quarter, s.quarter)
        self.to_half = nn.Conv2d(s.quarter, s.half, 1)
        self.at_half = Residual(s.half, s.half)
        self.out = nn.Conv2d(s.half, 1, 3, 1, 1)
        self.value_size = s.value

    def see(self, pictures: Tensor) -> Seen:
        """(b, 3, H, W) RGB in 0..1."""
        half = self.stem((pictures - 0.45) / 0.25)
        quarter = self.quarter(half)
        eighth = self.eighth(quarter)
        sixteenth = self.sixteenth(eighth)
        fused = self.fused(eighth + _enlarged(self.down(sixteenth), eighth))
        return Seen(half, quarter, fused, self.key(fused))

    def remember(self, seen: Seen, masks: Tensor) -> Memory:
        """The places of pictures whose `masks` (b, 1, H, W) are known, 0..1."""
        _, of_mask = self.mask_stem(masks)
        value = self.value(torch.cat((seen.eighth, of_mask), 1))
        return Memory(F.normalize(_places(seen.key).float(), dim=2), _places(value))

    def find(self, seen: Seen, marked: Memory | None, lately: Memory | None, hint: Tensor) -> Tensor:
        """Logits (b, 1, H, W) of the object in the pictures `seen`.

        hint: (b, 2, H, W), the mask of the picture before as it lies in this one, 0..1, and the box that holds the
        object, filled with 1. Either is 0 where it is not known. The memories are None where there is only a box.
        """
        read = [self._read(seen.key, memory) for memory in (marked, lately)]
        hint_quarter, hint_eighth = self.hint_stem(hint)
        x = F.relu(self.enter(torch.cat((*read, seen.eighth, hint_eighth), 1)))
        x = self.local(x)
        x = x + _enlarged(self.wide(x), x)
        skip = self.skip_quarter(torch.cat((seen.quarter, hint_quarter), 1))
        x = self.at_quarter(_enlarged(self.to_quarter(x), skip) + skip)
        x = self.at_half(_enlarged(self.to_half(x), seen.half) + seen.half)
        return F.interpolate(self.out(x), scale_factor=2, mode="bilinear", align_corners=False)

    def _read(self, key: Tensor, memory: Memory | None) -> Tensor:
        """(b, c, h, w): at each place the values of the memory whose keys are like its own."""
        height, width = key.shape[-2:]
        if memory is None:
            return key.new_zeros(len(key), self.value_size, height, width)
        query = F.normalize(_places(key).float(), dim=2) * self.sharpness.exp()
        value = memory.value
        found = F.scaled_dot_product_attention(
            query[:, None].to(value.dtype), memory.key[:, None].to(value.dtype), value[:, None], scale=1.0
        )
        return found[:, 0].transpose(1, 2).unflatten(2, (height, width))


def _places(x: Tensor) -> Tensor:
    """(b, c, h, w) -> (b, h w, c)."""
    return x.flatten(2).transpose(1, 2)
