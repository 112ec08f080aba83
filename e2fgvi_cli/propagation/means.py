"""Means near each pixel, and of channels: OpenCV and numpy where these are fastest.

Shape legend: y x a picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DISTANT = 0.02
"""Weight of the mean over the whole ring against what is near, for pixels that no ring is near to."""


def mean_near(error: NDArray[np.float32], weight: NDArray[np.float32], nearness: int) -> NDArray[np.float32]:
    """(y, x): mean near each pixel of an `error` that is 0 where `weight` is, and a little of the mean over all
    (`DISTANT`)."""
    import cv2

    near = {"ksize": (nearness, nearness), "borderType": cv2.BORDER_CONSTANT}
    mean = float(error.sum()) / max(float(weight.sum()), 1.0)
    return np.asarray((cv2.blur(error, **near) + DISTANT * mean) / (cv2.blur(weight, **near) + DISTANT))  # type: ignore[call-overload]


def mean_of_channels(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(a, b, 3) -> (a, b): three times as fast as `values.mean(axis=2)`."""
    return (values[:, :, 0] + values[:, :, 1] + values[:, :, 2]) * np.float32(1 / 3)
