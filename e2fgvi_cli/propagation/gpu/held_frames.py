"""Frames on a device, and their pixels between pixels: what lookups there work with (`gpu.lookup`, `gpu.kernels`).

Shape legend: F frames that are held, H W a frame, h w its coarse picture, m pairs of a pixel and a frame.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...types import PixelArray
from ..query import View

CUBIC = -0.75
"""The parameter of cubic interpolation, as OpenCV and torch have it."""
FAR = 1e5
"""Where positions that are none are put, in pixels: outside of every picture."""


class HeldFrames:
    """Frames of one size on the device, by number; of those that a query does not name, any may give way.

    fine (F, H, W, 3). coarse (F, h, w, 3): coarse pictures, the frames themselves where these are small. visible (F, h,
    w). Pictures of 16 bits lie in int16, which all devices can store: `values` makes them what they are.
    """

    def __init__(self, view: View, capacity: int, device: torch.device) -> None:
        self.peak = int(np.iinfo(view.rgb.dtype).max)
        self._deep, self._device = view.rgb.dtype == np.uint16, device
        kind = torch.int16 if self._deep else torch.uint8
        self.fine = torch.empty((capacity, *view.rgb.shape), dtype=kind, device=device)
        same = view.coarse is view.rgb
        self.coarse = self.fine if same else torch.empty((capacity, *view.coarse.shape), dtype=kind, device=device)
        self.visible = torch.empty((capacity, *view.visible.shape), dtype=torch.uint8, device=device)
        self._slots: dict[int, int] = {}

    def hold(self, views: dict[int, View]) -> dict[int, int]:
        """The places of `views`, uploaded where they are not there yet."""
        missing = [number for number in views if number not in self._slots]
        free = [slot for slot in range(len(self.fine)) if slot not in self._slots.values()]
        spare = (number for number in list(self._slots) if number not in views)
        for number in missing:
            slot = free.pop() if free else self._slots.pop(next(spare))
            self._upload(self.fine, slot, views[number].rgb)
            if self.coarse is not self.fine:
                self._upload(self.coarse, slot, views[number].coarse)
            self._upload(self.visible, slot, views[number].visible)
            self._slots[number] = slot
        return {number: self._slots[number] for number in views}

    def values(self, stored: Tensor) -> Tensor:
        """Stored pixels as float32 levels."""
        return (stored.int() & 0xFFFF).float() if self._deep else stored.float()

    def pixels_at(self, slots: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """(m, 3): of each of `slots` the pixel at (x, y), between pixels interpolated cubically, whole levels; 0
        outside."""
        height, width = self.fine.shape[1:3]
        columns, across = _taps(x, width)
        rows, down = _taps(y, height)
        starts = (slots[:, None] * height + rows) * width
        square = self.values(self.fine.view(-1, 3)[starts[:, :, None] + columns[:, None]])  # (m, 4, 4, 3)
        lines = (across[:, None, :, None] * square).sum(dim=2)
        return (down[:, :, None] * lines).sum(dim=1).round_().clamp_(0, self.peak)

    def _upload(self, there: Tensor, slot: int, array: PixelArray | NDArray[np.uint8]) -> None:
        """Through pinned memory on a GPU: the copy goes on when this returns."""
        staged = torch.empty(there.shape[1:], dtype=there.dtype, pin_memory=self._device.type == "cuda")
        staged.numpy()[...] = array.view(np.int16) if self._deep and there is not self.visible else array
        there[slot].copy_(staged, non_blocking=True)


def moved(homographies: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Where homographies (..., 3, 3) take pixels (x, y). Written out: a product of matrices might be rounded to
    TF32."""
    rows = [homographies[..., i, 0] * x + homographies[..., i, 1] * y + homographies[..., i, 2] for i in range(3)]
    across, down = ((rows[i] / rows[2]).nan_to_num(-FAR, FAR, -FAR).clamp(-FAR, FAR) for i in range(2))
    return across, down


def _taps(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Of positions (m,) the four whole ones around each, those outside of 0..size-1 moved to its ends, and their cubic
    weights, both (m, 4)."""
    below = position.floor()
    places = below.long()[:, None] + torch.arange(-1, 3, device=position.device)
    return places.clamp(0, size - 1), _cubic(position - below)


def _cubic(fraction: Tensor) -> Tensor:
    """(m,) -> (m, 4): weights of the pixels at -1, 0, 1 and 2."""
    distance = torch.stack((fraction + 1, fraction, 1 - fraction, 2 - fraction), dim=-1)
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance * distance + 1
    far = ((CUBIC * distance - 5 * CUBIC) * distance + 8 * CUBIC) * distance - 4 * CUBIC
    return torch.where(distance <= 1, near, far)
