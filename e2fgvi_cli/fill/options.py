"""How the windows of a shot are laid."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..propagation.options import PropagationOptions
from .crops import CropOptions


@dataclass(frozen=True)
class WindowOptions:
    """How windows are laid. `released`: exactly as the published program does, whole clip in memory, whole frames and
    all.

    propagation: what other frames show of a hole is taken from there first (None: everything is left to the network).
    """

    neighbor_stride: int = 5
    reference_stride: int = 10
    max_references: int | None = 6
    released: bool = False
    crops: CropOptions = field(default_factory=CropOptions)
    propagation: PropagationOptions | None = None
