"""What is evaluated, and by which rules. Cheap to import."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, UsageError

OWN, PUBLISHED = "own", "e2fgvi-432"
PROTOCOLS = (OWN, PUBLISHED)
SCHEMA = "e2fgvi-evaluation-1"
RECORD = "evaluation.json"
"""What --resume and `e2fgvi compare` read."""
RULES = (
    "what is scored is the fill pasted into the true frame",
    "a frame that equals the truth has no finite PSNR: it is left out of the mean and counted in exact_frames",
    "hole PSNR is that of a clip's mean squared error, each frame with a hole counting the same",
    "a clip without a figure is left out of the mean over clips, which says of how many clips it is",
)


@dataclass(frozen=True)
class Settings:
    """One evaluation. size: (height, width) that frames are scaled to, None as they are. limit: frames of each clip.

    methods: of `methods.METHODS`, and the name of `results` where that is given. reference_stride and the rest of the
    network's windows follow from the protocol.
    """

    dataset: Path
    protocol: str = OWN
    masks: tuple[str, ...] = ("seed:2026",)
    mask_dilation: str = "0px"
    methods: tuple[str, ...] = ()
    results: Path | None = None
    results_name: str = ""
    clips: tuple[str, ...] = ()
    limit: int | None = None
    size: tuple[int, int] | None = None
    weights: str = "open"
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    i3d: Path | None = None

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UsageError(f"--protocol {self.protocol!r} is unknown: use {' or '.join(PROTOCOLS)}")
        if self.protocol == PUBLISHED and self.size not in (None, (240, 432)):
            raise UsageError(f"--protocol {PUBLISHED} scales frames to 432x240: drop --size")

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """What the protocol makes of `size`."""
        return (240, 432) if self.protocol == PUBLISHED else self.size

    @property
    def _holes(self) -> str:
        grown = self.mask_dilation != "0px"
        return f"masks of folders are grown by {self.mask_dilation}" if grown else "masks are as they are"

    def rules(self) -> tuple[str, ...]:
        """In sentences, for the report."""
        if self.protocol == PUBLISHED:
            return (
                f"frames are scaled to 432x240; {self._holes}",
                "the network runs as `inpaint --compat released`: hop 5, every 10th frame as reference",
                *RULES,
                "PSNR and SSIM are means over all frames of all clips, the others over clips",
            )
        size = "are as they are" if self.size is None else f"are scaled to {self.size[1]}x{self.size[0]}"
        return (f"frames {size}; {self._holes}", *RULES, "means are over clips")

    def describe(self, weights_hash: str) -> dict[str, Any]:
        """Everything that decides about a case's figures, for JSON: a resumed run must have the same."""
        return {
            "protocol": self.protocol,
            "masks": list(self.masks),
            "mask_dilation": self.mask_dilation,
            "size": None if self.frame_size is None else list(self.frame_size),
            "limit_frames": self.limit,
            "weights_sha256": weights_hash,
            "precision": self.precision,
            "dataset": str(self.dataset.resolve()),
            "results": None if self.results is None else str(self.results.resolve()),
            "i3d": None if self.i3d is None else self.i3d.name,
        }


def key_of(described: dict[str, Any]) -> str:
    """SHA-256 of a description."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def check_output(folder: Path, *, resume: bool, overwrite: bool) -> bool:
    """Whether the folder holds an evaluation. Raises `InputError` where that is in the way, `UsageError` for both
    flags."""
    if resume and overwrite:
        raise UsageError("--resume and --overwrite: give one of them")
    exists = (folder / RECORD).is_file()
    if exists and not resume and not overwrite:
        raise InputError(f"{folder} holds an evaluation: --resume goes on with it, --overwrite begins anew")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output {folder} is a file: give a folder")
    if folder.is_dir() and not exists and any(folder.iterdir()):
        raise InputError(f"--output {folder} holds something else: give a new folder")
    return exists
