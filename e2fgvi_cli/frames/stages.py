"""A frame on its way through a run: read and holed, with what others show of its hole, finished.

Shape legend: H W the frame, y x a box.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..masks import feather_alpha
from ..threads.later import Later
from ..types import AlphaArray, Box, Frame, HoleArray, PixelArray
from .boxes import bounding_box, hole_boxes
from .paste import insert, paste

Found = tuple[PixelArray, NDArray[np.bool_]]
"""A frame (H, W, 3) with what was found of its hole, and where that is (H, W)."""


@dataclass(frozen=True)
class HoledFrame:
    """A frame with its hole (H, W) in {0, 1} and the alpha map (H, W) to paste with.

    box: bounds alpha, None without a hole (or where the frame is context only). regions: bound its separate parts.
    """

    frame: Frame
    hole: HoleArray
    alpha: AlphaArray
    box: Box | None
    regions: tuple[Box, ...] = ()

    @classmethod
    def of(cls, frame: Frame, hole: HoleArray, alpha: AlphaArray) -> HoledFrame:
        """With the boxes computed."""
        return cls(frame, hole, alpha, bounding_box(alpha), hole_boxes(alpha))

    @classmethod
    def masked(cls, frame: Frame, hole: HoleArray, feather: float) -> HoledFrame:
        """With an alpha map that fades over `feather` pixels around the hole."""
        return cls.of(frame, hole, feather_alpha(hole, feather))

    @property
    def held_bytes(self) -> int:
        """What holding it takes. An alpha map without feathering is the hole itself."""
        return self.frame.rgb.nbytes + self.hole.nbytes + (0 if self.alpha is self.hole else self.alpha.nbytes)

    def without(self, found: Found | None) -> HoledFrame:
        """The frame as the network gets it: what was found elsewhere is in the picture, the hole is what is left."""
        if found is None:
            return self
        rgb, where = found
        hole = np.where(where, np.uint8(0), self.hole)
        alpha = hole if self.alpha is self.hole else np.where(where, self.alpha.dtype.type(0), self.alpha)
        return HoledFrame.of(replace(self.frame, rgb=rgb), hole, alpha)


@dataclass(frozen=True)
class FinishedFrame:
    """A frame that no later window changes. `inside` gives the prediction (y, x, 3) for `source.box`; None if there was
    no hole.

    A device may still be at work on it: the thread that asks for pixels first waits. found (H, W): what of the hole
    image propagation took from other frames; None: nothing, or it is not known.
    """

    source: HoledFrame
    inside: Later[PixelArray] | None
    found: NDArray[np.bool_] | None = None

    @property
    def filled(self) -> PixelArray | None:
        """(H, W, 3): the prediction where alpha > 0, the source elsewhere; None if there was no hole."""
        if self.inside is None:
            return None
        assert self.source.box is not None, "what was filled has a box"
        return insert(self.source.frame.rgb, self.inside.get(), self.source.box, self.source.alpha)

    @property
    def rgb(self) -> PixelArray:
        """The finished picture (H, W, 3)."""
        filled = self.filled
        return self.source.frame.rgb if filled is None else paste(self.source.frame.rgb, filled, self.source.alpha)
