"""The strokes of letters and signs: what is thin, and lighter or darker than what lies around it. numpy and OpenCV."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..types import HoleArray

_SUREST, _FEWEST, _OF_BOTH = 92, 8, 0.3
"""Percentile from which strokes are sure, how many pixels of them tell something, and which share a channel has to have
of both."""

Strength = NDArray[np.float32]
"""(h, w, 2): by how many levels a pixel is lighter, and darker, than what lies around it."""

LEAST_STRENGTH = 6.0
"""Levels below which nothing is called a stroke: noise of a camera and of codecs."""
_BROAD = 0.45
"""Of the letters' height: strokes may be this broad."""
_FAINT = 0.5
"""Of Otsu's threshold: the soft edge of a stroke belongs to it, too."""


def stroke_strength(rgb: NDArray[np.uint8], height: int) -> Strength:
    """How much each pixel of (h, w, 3) stands out, in levels: the white and the black top hat, each the largest of the
    three channels, for letters `height` pixels high."""
    import cv2

    side = max(round(height * _BROAD), 3) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    light = cv2.morphologyEx(rgb, cv2.MORPH_TOPHAT, kernel).max(axis=2)
    dark = cv2.morphologyEx(rgb, cv2.MORPH_BLACKHAT, kernel).max(axis=2)
    return np.stack([light, dark], axis=2).astype(np.float32)


def strokes(strength: Strength, height: int, grow: int = 2) -> HoleArray:
    """0 and 1 (h, w): where a strength, smoothed over time, is that of strokes of letters `height` pixels high.

    Of light and dark the stronger is the fill; the other counts where it lies around it, as outlines and shadows do.
    Grown by `grow` pixels. Nothing where nothing stands out.
    """
    light, dark = (_standing_out(strength[..., channel]) for channel in (0, 1))
    fill, outline = (light, dark) if light[1] >= dark[1] else (dark, light)
    around = _dilated(fill[0], max(round(height * 0.15), 2))
    found = _without_specks(cast(HoleArray, fill[0] | (outline[0] & around)))
    return _dilated(found, grow) if grow else found


def _standing_out(levels: NDArray[np.float32]) -> tuple[HoleArray, float]:
    """Where one channel stands out, faint pixels only beside strong ones; and how strongly the strong ones do."""
    import cv2

    threshold, _ = cv2.threshold(np.clip(levels, 0, 255).astype(np.uint8), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    strong = (levels > max(threshold, LEAST_STRENGTH)).astype(np.uint8)
    faint = (levels > max(threshold * _FAINT, LEAST_STRENGTH)).astype(np.uint8)
    return cast(HoleArray, faint & _dilated(strong, 2)), float(levels[strong > 0].sum())


def _dilated(mask: HoleArray, by: int) -> HoleArray:
    import cv2

    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
    return cast(HoleArray, cv2.dilate(mask, disc))


def _without_specks(found: HoleArray, least: int = 4) -> HoleArray:
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(found, connectivity=8)
    kept = np.zeros(count, np.uint8)
    kept[1:] = stats[1:, cv2.CC_STAT_AREA] >= least
    return cast(HoleArray, kept[labels])


def likeness(one: Strength, other: Strength) -> float:
    """Correlation of two strengths of one size, -1 to 1; 0 where one is even. It does not mind how opaque they are."""
    a, b = one - one.mean(axis=(0, 1)), other - other.mean(axis=(0, 1))
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 1e-6 else 0.0


def presence(here: Strength, template: Strength) -> float:
    """How much (1: as much as known) of the surest strokes of `template`, all but a quarter of them, stands out `here`,
    whatever stands beside them; 0 where it has none."""
    found = 0.0
    for channel in (0, 1):
        levels = template[..., channel]
        surest = levels > max(float(np.percentile(levels, _SUREST)), LEAST_STRENGTH)
        if surest.sum() >= _FEWEST and levels.sum() >= _OF_BOTH * template.sum():
            found = max(found, float(np.percentile(here[..., channel][surest] / levels[surest], 25)))
    return found
