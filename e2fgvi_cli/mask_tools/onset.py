"""The step by which a caption comes into the picture: what it changes there is the caption, what lies beside it does
not change. numpy and OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .strokes import Strength

_GAPS = (1, 4)
"""Frames between the two that are compared: hard cuts to a caption, and ones that are faded in."""
_CLEAR = 2.0
"""How many times more has to change in the strokes than beside them. Of the clips that `measurements.text_masks` burns
captions into it is 2.1 to 30 where one comes (0.0 once, for letters over the letters before) and at most 0.5
elsewhere."""
_NEARLY = 0.4
"""Of the clearest step: others as clear are taken, too, for the ground moves differently in each."""
_MOST = 4
_NOISE = 1.5
"""Levels by which pictures differ anyway."""
_STRONG, _WEAK = 92, 50
"""Percentiles of a strength over a box: its surest strokes, and what is surely none."""
_LEAST = 25
"""Percentile of the change in the surest strokes that counts: nearly all of them have to come."""
UNKNOWN = 255.0


@dataclass(frozen=True)
class Onset:
    """step: (h, w, 2), by how many levels pixels became lighter, and darker, as the caption came. since: the place of a
    picture from which on it stands."""

    step: Strength
    since: int


def onset(recent: Sequence[NDArray[np.uint8]], strength: Strength, known: NDArray[np.bool_]) -> Onset | None:
    """How a caption came; None where that is not clear, as at a cut to another picture.

    recent: the caption's box (h, w, 3) in the frames up to one in which it stands, in order. strength: of its strokes
    there. known: where no other caption stood before; elsewhere the step is `UNKNOWN`.
    """
    steps = []
    for gap in _GAPS:
        for since in range(gap, len(recent)):
            found = _step(recent[since - gap], recent[since])
            steps.append((_contrast(found, strength, known), since, found))
    clear = sorted((one for one in steps if one[0] >= _CLEAR), key=lambda one: -one[0])[:_MOST]
    if not clear:
        return None
    least = np.min([step for contrast, _, step in clear if contrast >= _NEARLY * clear[0][0]], axis=0)
    return Onset(np.where(known[..., None], least, np.float32(UNKNOWN)).astype(np.float32), clear[0][1])


def _step(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Strength:
    import cv2

    change = after.astype(np.float32) - before.astype(np.float32)
    both = np.stack([np.maximum(change, 0).max(axis=2), np.maximum(-change, 0).max(axis=2)], axis=2)
    return np.asarray(cv2.GaussianBlur(both, (0, 0), 0.7), np.float32)


def _contrast(step: Strength, strength: Strength, known: NDArray[np.bool_]) -> float:
    """Least change of nearly all the surest strokes, in units of the mean beside them; of light and dark the clearer.
    0 where there is nothing to compare."""
    beside = known & (strength.max(axis=2) <= np.percentile(strength.max(axis=2), _WEAK))
    found = 0.0
    for channel in (0, 1):
        levels = strength[..., channel]
        strong = known & (levels > max(float(np.percentile(levels, _STRONG)), 1.0))
        if strong.sum() >= 8 and beside.sum() >= 8:
            changed = float(np.percentile(step[..., channel][strong], _LEAST))
            found = max(found, changed / (float(step.max(axis=2)[beside].mean()) + _NOISE))
    return found
