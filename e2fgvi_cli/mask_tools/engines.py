"""Which engine follows: our network, SAM 2, or flow and colour."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from ..errors import UsageError
from ..weights import trackers
from .follower import MakeFollower

ENGINES = ("auto", "own", "sam2", "classic")


@dataclass(frozen=True)
class Engine:
    """`name` of the engine and what makes its followers."""

    name: str
    make: MakeFollower


def build_engine(name: str = "auto", *, weights: str = "open", device: str = "auto") -> Engine:
    """The engine called `name`; "auto" is our network where it is installed, else SAM 2 where its weights
    and its extra are, else "classic".

    weights: whose SPyNet "classic" uses, a known name or a file. device: as for --device. Raises `UsageError`,
    `WeightsError`, `DeviceError`.
    """
    if name not in ENGINES:
        raise UsageError(f"--engine {name!r} is no engine; use {', '.join(ENGINES)}")
    if name == "own" or (name == "auto" and trackers.find("following") is not None):
        from .learned import learned_followers

        return Engine("own", learned_followers(device))
    if name == "sam2" or (name == "auto" and _has_sam2()):
        from .sam2 import sam2_followers

        return Engine("sam2", sam2_followers(device))
    from .classic import classic_followers
    from .flow import flow_estimator

    return Engine("classic", classic_followers(flow_estimator(weights, device)))


def _has_sam2() -> bool:
    return trackers.find("sam2-tiny") is not None and importlib.util.find_spec("transformers") is not None
