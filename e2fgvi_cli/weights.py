"""Which weights there are, where they lie, and how to get them. Standard library only; reading them is `engine`'s part.

A name stands for a known file; a path is a path. Known files are looked for in $E2FGVI_WEIGHTS_DIR, in the user's data folder, and in
`release_model/` (beside the package when installed, at the top of a checkout).
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from .errors import WeightsError

CHUNK = 1 << 20


@dataclass(frozen=True)
class KnownWeights:
    """A file this program knows. `size` in bytes; `sha256` as lower-case hexadecimal; `urls` in the order to try."""

    name: str
    filename: str
    sha256: str
    size: int | None
    licence: str
    what: str
    urls: tuple[str, ...] = ()
    manual: str = ""
    """Where a person with a browser gets it, when no URL works."""


KNOWN = {
    w.name: w
    for w in (
        KnownWeights(
            name="open",
            filename="e2fgvi-hq-open.safetensors",
            sha256="cd76abbb7498cdfea638d4f8532d4ba9211b42d4794820327416b76a80489a22",
            size=41593076,
            licence="Apache-2.0, training data listed in release_model/MODEL_CARD.md",
            what="the default: our own training, ships with the program",
        ),
        KnownWeights(
            name="published",
            filename="E2FGVI-HQ-CVPR22.pth",
            sha256="afff989d41205598a79ce24630b9c83af4b0a06f45b137979a25937d94c121a5",
            size=164_535_938,
            licence="CC BY-NC 4.0: no commercial use",
            what="the checkpoint of the CVPR 2022 paper",
            urls=(
                "https://github.com/linkedlist771/SoraWatermarkCleaner/releases/download/V0.0.1/E2FGVI-HQ-CVPR22.pth",
                "https://huggingface.co/spaces/VIPLab/Track-Anything/resolve/main/checkpoints/E2FGVI-HQ-CVPR22.pth",
            ),
            manual="https://drive.google.com/file/d/10wGdKSUOie0XmCr8SQ2A2FeDe-mfn5w3 (the authors' link)",
        ),
        KnownWeights(
            name="spynet",
            filename="spynet_20210409-c6c1bd09.pth",
            sha256="c6c1bd09b52d05ba17f3e701f549d6faf5e314aabce8ae462c1c171a8d6c4914",
            size=None,
            licence="Apache-2.0 (MMEditing)",
            what="a trained SPyNet, needed only to start a training run",
            urls=(
                "https://download.openmmlab.com/mmediting/restorers/basicvsr/spynet_20210409-c6c1bd09.pth",
            ),
        ),
    )
}  # fmt: skip
DEFAULT = "open"
_ALIASES = {w.filename.lower(): w.name for w in KNOWN.values()} | {"default": DEFAULT, "e2fgvi-hq": "published"}


def user_folder() -> Path:
    """Where `fetch` and `import` put files: $E2FGVI_WEIGHTS_DIR or the user's data folder."""
    chosen = os.environ.get("E2FGVI_WEIGHTS_DIR")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "e2fgvi" / "weights"


def search_folders() -> tuple[Path, ...]:
    """Folders a known file may lie in, first one first."""
    package = Path(__file__).parent
    return user_folder(), package / "release_model", package.parent / "release_model"


def find(known: KnownWeights) -> Path | None:
    """The file of `known` on this machine, or None."""
    return next((f / known.filename for f in search_folders() if (f / known.filename).is_file()), None)


def by_name(name: str) -> KnownWeights:
    """The known weights called `name` (or having that file name). Raises WeightsError with the names there are."""
    key = _ALIASES.get(name.lower(), name.lower())
    if key not in KNOWN:
        raise WeightsError(f"no weights are called {name!r}: use {', '.join(KNOWN)}, or the path of a file")
    return KNOWN[key]


def resolve(name_or_path: str) -> Path:
    """The file for `--weights`: a path if it exists, else a known name. Raises WeightsError with what to do."""
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    looks_like_path = path.suffix != "" or path.name != name_or_path
    if looks_like_path and path.name.lower() not in _ALIASES:
        raise WeightsError(f"weights file {name_or_path} does not exist: give a path or one of {', '.join(KNOWN)}")
    known = by_name(path.name)
    found = find(known)
    if found is None:
        places = ", ".join(str(f) for f in search_folders())
        raise WeightsError(
            f"weights {known.name!r} ({known.filename}) are not on this machine: run `e2fgvi weights fetch {known.name}`, "
            f"or copy the file to one of {places}"
        )
    return found


def file_of(name_or_path: str) -> Path | None:
    """The file that `resolve` gives, None where it raises."""
    try:
        return resolve(name_or_path)
    except WeightsError:
        return None


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def identify(digest: str) -> KnownWeights | None:
    """The known file with this SHA-256, or None."""
    return next((w for w in KNOWN.values() if w.sha256 == digest), None)
