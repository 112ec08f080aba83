"""Which weights there are, where they lie, and how to get them. Standard library only; reading them is `engine`'s part.

A name stands for a known file; a path is a path. Known files are looked for in $E2FGVI_WEIGHTS_DIR, in the user's data
folder, and in `release_model/` (beside the package when installed, at the top of a checkout).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import WeightsError
from ..system import folders

CHUNK = 1 << 20
LARGEST_FILE = 2 << 30
"""Bytes, as `model.tensor_files` reads at most: what is larger is not even hashed."""


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
            sha256="f32644cd414162927da722568b900baa6f3515ca61667a73e56f3c7c9953e1c7",
            size=41594292,
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
    return folders.user_folder("data") / "weights"


def search_folders() -> tuple[Path, ...]:
    """Folders a known file may lie in, first one first."""
    package = Path(__file__).parent.parent
    return user_folder(), package / "release_model", package.parent / "release_model"


def find(known: KnownWeights) -> Path | None:
    """The file of `known` on this machine, or None."""
    return next((f / known.filename for f in search_folders() if (f / known.filename).is_file()), None)


def by_name(name: str) -> KnownWeights:
    """The known weights called `name` (or having that file name). Raises WeightsError with the names there are."""
    key = _ALIASES.get(name.lower(), name.lower())
    if key not in KNOWN:
        raise WeightsError(f"no weights are called {printable(name)!r}: use {', '.join(KNOWN)}, or the path of a file")
    return KNOWN[key]


def resolve(name_or_path: str) -> Path:
    """The file for `--weights`: a path if something lies there, else a known name. Raises WeightsError with what to do.

    The file is a regular one of at most `LARGEST_FILE` bytes, so that reading it ends.
    """
    given = usable_file(name_or_path)
    if given is not None:
        return given
    path = Path(name_or_path)
    looks_like_path = path.suffix != "" or path.name != name_or_path
    if name_or_path and looks_like_path and path.name.lower() not in _ALIASES:
        raise WeightsError(
            f"weights file {printable(name_or_path)} does not exist: give a path or one of {', '.join(KNOWN)}"
        )
    known = by_name(path.name)
    found = find(known)
    if found is None:
        places = ", ".join(str(f) for f in search_folders())
        raise WeightsError(
            f"weights {known.name!r} ({known.filename}) are not on this machine: run `e2fgvi weights fetch "
            f"{known.name}`, or copy the file to one of {places}"
        )
    usable_file(str(found))
    return found


def file_of(name_or_path: str) -> Path | None:
    """The file that `resolve` gives, None where it raises."""
    try:
        return resolve(name_or_path)
    except WeightsError:
        return None


def usable_file(text: str) -> Path | None:
    """The path `text` if a file of a possible size is there, None if nothing is. Raises WeightsError for anything
    else."""
    shown = printable(text)
    try:
        path = Path(text).expanduser()
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a name too long, a NUL byte, no such user
        reason = getattr(error, "strerror", None) or error
        raise WeightsError(f"weights file {shown} cannot be used: {reason}; give another path") from error
    if not text or stat.S_ISDIR(status.st_mode):
        if path.name.lower() in (*_ALIASES, *KNOWN) or not text:
            return None  # a folder that happens to be called as known weights are
        raise WeightsError(f"{shown} is a folder, not a weights file: give the file in it")
    if not stat.S_ISREG(status.st_mode):
        raise WeightsError(f"{shown} is a pipe or a device, not a weights file: save the weights as a file first")
    if status.st_size > LARGEST_FILE:
        raise WeightsError(
            f"{shown} has {status.st_size} bytes, more than the {LARGEST_FILE} that weights can have: it is "
            "another file"
        )
    return path


def printable(text: str, longest: int = 300) -> str:
    """A name from outside in one line of printable characters; the middle of a long one is left out."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)
    half = longest // 2
    return line if len(line) <= longest else f"{line[:half]} [...] {line[-half:]}"


def checked(name_or_path: str, read: Callable[[Path], object]) -> Path:
    """`resolve`, and the file is known by its hash or `read` (which imports torch) does not refuse it. Raises
    WeightsError."""
    path = resolve(name_or_path)
    if identify(sha256(path)) is None:
        read(path)
    return path


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file. Raises WeightsError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(CHUNK):
                digest.update(block)
    except OSError as error:
        raise WeightsError(f"cannot read the weights file {path}: {error.strerror or error}") from error
    return digest.hexdigest()


def refuse_damaged(path: Path) -> None:
    """Raises WeightsError if `path` has the name and size of a known file and other content: its weights may hold
    anything."""
    known = next((w for w in KNOWN.values() if w.filename == path.name), None)
    if known is None or known.size is None or not path.is_file() or path.stat().st_size != known.size:
        return
    digest = sha256(path)
    if digest != known.sha256:
        raise WeightsError(
            f"{path} is damaged: its SHA-256 is {digest}, expected {known.sha256}; {how_to_get(known)}, or rename it"
        )


def how_to_get(known: KnownWeights) -> str:
    """What to do to have the file of `known` whole."""
    return f"run `e2fgvi weights fetch {known.name}`" if known.urls else "reinstall e2fgvi-cli, which brings it"


def identify(digest: str) -> KnownWeights | None:
    """The known file with this SHA-256, or None."""
    return next((w for w in KNOWN.values() if w.sha256 == digest), None)
