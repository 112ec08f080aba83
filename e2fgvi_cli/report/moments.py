"""Which seconds to look at: stretches where a measure stands out from the rest of the clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DEVIATIONS = 3.0
"""A frame stands out that is so many (robust) standard deviations above the median."""
MOST = 6


@dataclass(frozen=True)
class Moment:
    """Frames first..last, the worst of them and its value."""

    first: int
    last: int
    worst: int
    value: float
    why: str

    @property
    def frames(self) -> tuple[int, int]:
        return self.first, self.last


def outstanding(values: Sequence[float | None], why: str, *, least: float, gap: int = 5) -> list[Moment]:
    """Stretches above the median by `DEVIATIONS` and by `least`, those closer than `gap` frames joined, worst first.

    The spread is 1.4826 times the median absolute deviation. At most `MOST`.
    """
    known = np.array([value for value in values if value is not None], np.float64)
    if not known.size:
        return []
    middle = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - middle)))
    limit = max(middle + DEVIATIONS * spread, middle + least)
    above = [i for i, value in enumerate(values) if value is not None and value > limit]
    groups: list[list[int]] = []
    for frame in above:
        if groups and frame - groups[-1][-1] <= gap:
            groups[-1].append(frame)
        else:
            groups.append([frame])
    found = []
    for group in groups:
        worst = max(group, key=lambda i: float(values[i] or 0.0))
        found.append(Moment(group[0], group[-1], worst, float(values[worst] or 0.0), why))
    return sorted(found, key=lambda moment: -moment.value)[:MOST]
