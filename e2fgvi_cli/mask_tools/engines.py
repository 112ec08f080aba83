"""Which engine follows: our network, SAM 2, or flow and colour."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

from ..errors import UsageError, WeightsError
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
    if name in ("auto", "own"):
        own = _own_followers()
        if own is not None:
            return Engine("own", own)
        if name == "own":
            raise WeightsError(
                "--engine own needs the tracking network, which this installation does not have; use --engine classic"
            )
    if name == "sam2" or (name == "auto" and _has_sam2()):
        from .sam2 import sam2_followers

        return Engine("sam2", sam2_followers(device))
    from .classic import classic_followers
    from .flow import flow_estimator

    return Engine("classic", classic_followers(flow_estimator(weights, device)))


def _own_followers() -> MakeFollower | None:
    """What makes followers of our network; None where the program came without it or without its file."""
    try:
        make: MakeFollower = importlib.import_module(".learned", __package__).learned_follower
        make()
    except (ModuleNotFoundError, WeightsError):
        return None
    return make


def _has_sam2() -> bool:
    return trackers.place("sam2-tiny").is_file() and importlib.util.find_spec("transformers") is not None
