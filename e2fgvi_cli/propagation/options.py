"""What image propagation counts as seen elsewhere."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PropagationOptions:
    """What counts as seen elsewhere; levels are of 8 bits. The defaults are from docs/image-propagation.md.

    reach: frames looked at on either side, at most. candidates: frames whose pixels are compared, nearest first. One
    counts near a pixel if it fits the frame around the hole there to `fit` levels on average, and to `noise` and
    `better` times what an even patch would be off by. Of the median of those that count, `propagation.reliability`
    says whether it is better than what the network would make up; sure: by how much, as log-odds.
    """

    reach: int = 60
    candidates: int = 5
    fit: float = 20.0
    noise: float = 3.0
    better: float = 0.7
    sure: float = 0.0
