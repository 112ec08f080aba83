"""What is known of the frames of one crop, so that every feature and flow is computed once. This is what holds memory
on the device."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class FeatureStore:
    """By frame number: features (1, c, h, w), small pictures (3, h, w), and flows[i]: i -> i+1 (on i) and back (on
    i+1)."""

    def __init__(self) -> None:
        self.features: dict[int, Tensor] = {}
        self.small: dict[int, Tensor] = {}
        self.flows: dict[int, tuple[Tensor, Tensor]] = {}

    def forget(self, before: int, keep: Callable[[int], bool]) -> None:
        """Drop frames below `before`, but for the features of those that `keep(i)` wants."""
        for i in [i for i in self.features if i < before and not keep(i)]:
            del self.features[i]
        # Pictures and flows are for local frames only, and those never go back.
        for known in (self.small, self.flows):
            for i in [i for i in known if i < before]:
                del known[i]
