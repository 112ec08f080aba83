"""How the windows of a shot are laid."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..propagation.options import PropagationOptions
from .crops import CropOptions


@dataclass(frozen=True)
class SmoothingOptions:
    """How fills are smoothed along time (`fill.smoothing`). reach: frames on either side. tolerance: levels of 8 bits,
    how far an aligned frame is apart where it counts 1/e. The defaults are from docs/smoothing.md."""

    reach: int = 3
    tolerance: float = 18.0


@dataclass(frozen=True)
class WindowOptions:
    """How windows are laid. `released`: exactly as the published program does, whole clip in memory, whole frames and
    all.

    propagation: what other frames show of a hole is taken from there first (None: everything is left to the network).
    smoothing: fills become means of what nearby frames have there (None: they stay as the network makes them).
    """

    neighbor_stride: int = 5
    reference_stride: int = 10
    max_references: int | None = 6
    released: bool = False
    crops: CropOptions = field(default_factory=CropOptions)
    propagation: PropagationOptions | None = None
    smoothing: SmoothingOptions | None = None

    @classmethod
    def usual(cls) -> WindowOptions:
        """As `e2fgvi inpaint` has them by default."""
        return cls(propagation=PropagationOptions(), smoothing=SmoothingOptions())
