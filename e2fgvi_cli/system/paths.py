"""What a run writes must not touch what it reads, nor what somebody else has there. Looked at before anything is
opened.

Files and folders are told apart by what they are (device and number), not by how their names are spelled: links, `..`,
another mount and another spelling are seen through. Standard library only, and cheap: a command asks before it imports
anything heavy.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, UsageError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".exr"})
FRAME_SUFFIXES = frozenset({".png", ".exr"})
"""Of the images that this program writes into a folder of frames."""


PIPE = Path("-")
"""The name of standard input, standard output."""


def is_pipe(path: Path) -> bool:
    """Whether a path stands for standard input or output."""
    return path == PIPE


@dataclass(frozen=True)
class Read:
    """A file or folder that a run reads. `name` is what a sentence calls it: "the mask"."""

    name: str
    path: Path


@dataclass(frozen=True)
class Written:
    """A file or folder that a run writes. folder: it is replaced as a whole. overwrite: it may exist."""

    name: str
    path: Path
    folder: bool = False
    overwrite: bool = False


def check_paths(written: Iterable[Written], read: Iterable[Read]) -> None:
    """Raise `InputError` where writing would replace, remove or disturb what is read, `UsageError` where two outputs
    collide.

    For several runs at once give those of all of them. Permission to overwrite makes no difference.
    """
    outputs = list(written)
    _check_inputs(outputs, list(read))
    _check_each_other(outputs)


def check_all(written: Sequence[Written], read: Iterable[Read]) -> None:
    """`check_paths` and `check_free`."""
    check_paths(written, read)
    check_free(written)


def check_free(outputs: Iterable[Written]) -> None:
    """Raise `InputError` for an output that exists without permission to replace it, or is of the wrong kind."""
    for output in outputs:
        _check_free(output)


def _check_inputs(outputs: Sequence[Written], inputs: Sequence[Read]) -> None:
    same = {identity(one.path): one for one in inputs}
    known: dict[Path, Hashable] = {}
    above = {folder: one for one in inputs for folder in _ancestors(one.path, known)}
    folders = {identity(folder): (one, folder) for one in inputs if (folder := _pictures_of(one.path)) is not None}
    for output in outputs:
        own = identity(output.path)
        if own in same:
            raise InputError(f"{output.name} {output.path} is {same[own].name} itself; give another name")
        if output.folder and own in above:
            raise InputError(
                f"{output.name} {output.path} would be replaced as a whole, and {above[own].name} {above[own].path} "
                "lies in it; give another folder"
            )
        # Where the name is, and where what it links to is.
        for place in (output.path, Path(os.path.realpath(output.path))):
            near = folders.get(identity(place.parent))
            if near is not None and place.suffix.lower() in IMAGE_SUFFIXES:
                raise InputError(
                    f"{output.name} {output.path} lies among the files of {near[0].name}; give another folder"
                )
        linked = _linked(output.path, folders.values())
        if linked is not None:
            raise InputError(f"{output.name} {output.path} is {linked[1]} of {linked[0].name}; give another name")


def _check_each_other(outputs: Sequence[Written]) -> None:
    seen: dict[Hashable, Written] = {}
    for output in outputs:
        own = identity(output.path)
        if own in seen:
            raise UsageError(f"{seen[own].name} and {output.name} are both {output.path}: give each a name of its own")
        seen[own] = output
    known: dict[Path, Hashable] = {}
    for output in outputs:
        for folder in _ancestors(output.path, known):
            if folder in seen:
                outer = seen[folder]
                raise UsageError(
                    f"{output.name} {output.path} lies in {outer.name} {outer.path}, which is written as a whole: "
                    "give another folder"
                )


def _check_free(output: Written) -> None:
    name, path = output.name, output.path
    if not os.path.lexists(path):
        return
    if output.folder and path.is_dir():
        foreign = foreign_entry(path)
        if foreign is not None:
            image = foreign.suffix.lower() in IMAGE_SUFFIXES and not foreign.is_dir()
            what = "an image that this program did not write" if image else "something that is no image"
            raise InputError(f"{name} {path} holds {what} ({foreign.name}) and is never replaced; give a new folder")
        if not any(path.iterdir()):
            return
    elif path.is_dir():
        raise InputError(f"{name} {path} is a folder; give a file name")
    elif output.folder:
        raise InputError(f"{name} {path} is a file, and frames need a folder; give another name")
    elif path.exists() and not path.is_file():
        raise InputError(f"{name} {path} is no regular file; give another name")
    if not output.overwrite:
        raise InputError(f"{name} {path} exists; give another name, or --overwrite to replace it")


def foreign_entry(folder: Path) -> Path | None:
    """Something in a folder of frames that this program did not write there: a folder, a link, another kind of file."""
    entries = sorted(folder.iterdir())
    return next((entry for entry in entries if not is_written_frame(entry)), None)


def is_written_frame(entry: Path) -> bool:
    """Whether this program may have written it as a frame of a folder: a regular PNG or EXR file."""
    return entry.suffix.lower() in FRAME_SUFFIXES and entry.is_file() and not entry.is_symlink()


def identity(path: Path) -> Hashable:
    """What a path leads to: equal for all its spellings. Of what does not exist yet: its folder's identity and the
    name."""
    real = Path(os.path.realpath(path))
    missing: list[str] = []
    while True:
        try:
            status = real.stat()
        except (OSError, ValueError):
            if real.parent == real:
                return str(real)
            missing.append(_spelling(real.name))
            real = real.parent
            continue
        return (status.st_dev, status.st_ino, *reversed(missing))


def _spelling(name: str) -> str:
    """As file systems that ignore case and composition compare it; elsewhere as it is."""
    return unicodedata.normalize("NFC", name).casefold() if sys.platform in ("darwin", "win32") else name


def _ancestors(path: Path, known: dict[Path, Hashable]) -> list[Hashable]:
    """Identities of the folders above what `path` leads to; `known` spares asking again for the same ones."""
    folders = Path(os.path.realpath(path)).parents
    for folder in folders:
        if folder not in known:
            known[folder] = identity(folder)
    return [known[folder] for folder in folders]


def _pictures_of(path: Path) -> Path | None:
    """The folder whose files are read through `path`: itself, or that of a pattern such as frame_%05d.png."""
    if path.is_dir():
        return path
    pattern = not path.exists() and any(sign in path.name for sign in "%*?[")
    return path.parent if pattern and path.parent.is_dir() else None


def _linked(path: Path, folders: Iterable[tuple[Read, Path]]) -> tuple[Read, str] | None:
    """The file of a folder that is read of which `path` is another name (a hard link), if it is one."""
    try:
        status = path.stat()
        if status.st_nlink < 2 or not path.is_file():
            return None
        for one, folder in folders:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.inode() == status.st_ino and os.path.samefile(entry.path, path):
                        return one, entry.name
    except (OSError, ValueError):
        return None
    return None
