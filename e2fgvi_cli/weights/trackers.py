"""Weights of networks that follow objects: ours ships, others are imported by hand and their SHA-256 is recorded then.
Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import WeightsError
from .known import search_folders, sha256, user_folder


@dataclass(frozen=True)
class TrackerWeights:
    """A file for an engine of `mask track`. manual: where a person with a browser gets it. sha256: of a file that ships
    with the program; empty for one that is imported."""

    name: str
    filename: str
    licence: str
    what: str
    manual: str = ""
    sha256: str = ""


TRACKERS = {
    "following": TrackerWeights(
        name="following",
        filename="following.safetensors",
        licence="Apache-2.0, training data listed in docs/training.md",
        what="the engine `own` of mask track, ships with the program",
        sha256="6b4efd2a1a9adc1a9816d623e49b8b5d437422245ff79d31ac99be6b9f041953",
    ),
    "sam2-tiny": TrackerWeights(
        name="sam2-tiny",
        filename="sam2.1-hiera-tiny.safetensors",
        licence="Apache-2.0",
        what="the engine `sam2` of mask track",
        manual="https://huggingface.co/facebook/sam2.1-hiera-tiny (model.safetensors)",
    ),
}


def place(name: str) -> Path:
    """Where the file of the weights `name` lies once it is imported."""
    return user_folder() / TRACKERS[name].filename


def find(name: str) -> Path | None:
    """The file of the weights `name` on this machine, checked or not, or None."""
    known = TRACKERS[name]
    folders = search_folders() if known.sha256 else (user_folder(),)
    return next((f / known.filename for f in folders if (f / known.filename).is_file()), None)


def record_of(path: Path) -> Path:
    """The file with the SHA-256 that the weights had when they were imported."""
    return path.with_name(path.name + ".sha256")


def how_to_get(name: str) -> str:
    """What to do for a good file of these weights."""
    known = TRACKERS[name]
    if known.sha256:
        return "install the program again, or use --engine classic"
    return (
        f"download them from {known.manual}, then run `e2fgvi weights import FILE --name {name}`, "
        "or use --engine classic"
    )


def resolve(name: str) -> Path:
    """The file. Raises `WeightsError` where there is none, or where it is not what shipped or was imported."""
    path, known = find(name), TRACKERS[name]
    if path is None:
        raise WeightsError(f"weights {name!r} are not on this machine: {how_to_get(name)}")
    record = record_of(path)
    recorded = known.sha256 or (
        record.read_text(encoding="ascii", errors="replace").strip() if record.is_file() else "none"
    )
    digest = sha256(path)
    if digest != recorded:
        if known.sha256:
            raise WeightsError(f"{path} is damaged: its SHA-256 is {digest}, expected {recorded}; {how_to_get(name)}")
        raise WeightsError(
            f"{path} is damaged or was not imported: its SHA-256 is {digest}, recorded is {recorded}; run "
            f"`e2fgvi weights import FILE --name {name}` again"
        )
    return path
