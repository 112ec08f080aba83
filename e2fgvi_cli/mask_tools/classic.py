"""The engine without a network of its own: optical flow carries the mask, GrabCut settles its outline."""

from __future__ import annotations

from ..types import HoleArray, PixelArray
from .follower import MakeFollower
from .tracking import FlowBetween, TrackOptions, step


class ClassicFollower:
    """A `Follower`. What it has lost stays lost until it is started again.

    Its confidence is the share of the mask where the flow there and back agrees, times the overlap of the mask as the
    flow carried it with the mask as colour settled it.
    """

    def __init__(self, flow_between: FlowBetween, options: TrackOptions = TrackOptions()) -> None:
        self._flow_between = flow_between
        self._options = options
        self._mask: HoleArray
        self._rgb: PixelArray

    def start(self, rgb: PixelArray, mask: HoleArray) -> None:
        self._rgb, self._mask = rgb, mask

    def step(self, rgb: PixelArray) -> tuple[HoleArray, float]:
        self._mask, confidence = step(self._mask, self._rgb, rgb, self._flow_between, self._options)
        self._rgb = rgb
        return self._mask, confidence


def classic_followers(flow_between: FlowBetween, options: TrackOptions = TrackOptions()) -> MakeFollower:
    """What makes a `ClassicFollower` over this flow."""
    return lambda: ClassicFollower(flow_between, options)
