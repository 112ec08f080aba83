"""Measures that need networks of others: LPIPS if its package is installed, VFID if the user gives I3D's weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..quality.metrics import composite
from ..types import HoleArray

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Perceptual:
    """lpips: of two pictures, None where it cannot be had. network: an `i3d.I3D` or None."""

    lpips: Callable[[Picture, Picture], float] | None = None
    network: Any = None
    notices: tuple[str, ...] = ()

    @classmethod
    def of(cls, i3d: Path | None, device: str) -> Perceptual:
        """What this machine has. Raises `WeightsError` for a file that is no I3D."""
        network = None
        if i3d is not None:
            from .i3d import load_i3d

            network = load_i3d(i3d)
        lpips, why = _lpips()
        return cls(lpips, network, (why,) if why else ())

    def start_clip(self) -> ClipFeatures:
        """For one clip."""
        return ClipFeatures(self.network)


class ClipFeatures:
    """Collects a clip's pictures at I3D's size and makes features of them. Holds 0.3 MB a frame, nothing without the
    network."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._results: list[Picture] = []
        self._truths: list[Picture] = []

    def add(self, result: Picture, truth: Picture, hole: HoleArray) -> None:
        """The next frame."""
        if self._network is None:
            return
        from .i3d import SIDE

        for pictures, one in ((self._results, composite(result, truth, hole)), (self._truths, truth)):
            pictures.append(np.asarray(cv2.resize(one, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), np.uint8))

    def record(self) -> dict[str, Any]:
        """For the case's JSON."""
        if self._network is None:
            return {}
        from .i3d import features

        return {
            "i3d": {"result": features(self._network, self._results), "truth": features(self._network, self._truths)}
        }


def _lpips() -> tuple[Callable[[Picture, Picture], float] | None, str]:
    """LPIPS with AlexNet, or why there is none."""
    try:
        import lpips  # type: ignore[import-not-found,unused-ignore]
        import torch

        network = lpips.LPIPS(net="alex", verbose=False).eval()
    except ImportError:
        return None, "LPIPS was left out: the package lpips is not installed (pip install lpips)"
    except Exception as error:  # it fetches AlexNet's weights, which may fail in any way
        return None, f"LPIPS was left out: its network could not be made ({type(error).__name__})"

    def distance(result: Picture, truth: Picture) -> float:
        with torch.inference_mode():
            pair = [torch.from_numpy(one).permute(2, 0, 1)[None].float() / 127.5 - 1 for one in (result, truth)]
            return float(network(*pair))

    return distance, ""
