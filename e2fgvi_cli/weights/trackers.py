"""Weights of networks that follow objects: imported by hand, their SHA-256 recorded then. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import WeightsError
from .known import sha256, user_folder


@dataclass(frozen=True)
class TrackerWeights:
    """A file for an engine of `mask track`. manual: where a person with a browser gets it."""

    name: str
    filename: str
    licence: str
    manual: str


TRACKERS = {
    "sam2-tiny": TrackerWeights(
        name="sam2-tiny",
        filename="sam2.1-hiera-tiny.safetensors",
        licence="Apache-2.0",
        manual="https://huggingface.co/facebook/sam2.1-hiera-tiny (model.safetensors)",
    )
}


def place(name: str) -> Path:
    """Where the file of the weights `name` lies once it is imported."""
    return user_folder() / TRACKERS[name].filename


def record_of(path: Path) -> Path:
    """The file with the SHA-256 that the weights had when they were imported."""
    return path.with_name(path.name + ".sha256")


def resolve(name: str) -> Path:
    """The imported file. Raises `WeightsError` where there is none, or where it is not what was imported."""
    path, known = place(name), TRACKERS[name]
    if not path.is_file():
        raise WeightsError(
            f"weights {name!r} are not on this machine: download them from {known.manual}, then run "
            f"`e2fgvi weights import FILE --name {name}`, or use --engine classic"
        )
    record = record_of(path)
    recorded = record.read_text(encoding="ascii", errors="replace").strip() if record.is_file() else "none"
    digest = sha256(path)
    if digest != recorded:
        raise WeightsError(
            f"{path} is damaged or was not imported: its SHA-256 is {digest}, recorded is {recorded}; run "
            f"`e2fgvi weights import FILE --name {name}` again"
        )
    return path
