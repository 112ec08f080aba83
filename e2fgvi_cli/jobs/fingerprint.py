"""What a job is made of: content hashes of its inputs and weights, its settings, and cheap snapshots to see a
change."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..options import InpaintOptions
from ..video.images.sequences import image_files, is_pattern
from ..weights.known import resolve

_CHUNK = 1 << 20
# Where a job reads and writes is no part of what it computes; how is told by the arithmetic of its stored fills
# (`engines.arithmetic`).
_NOT_SETTINGS = frozenset(
    {"video", "mask", "reference", "output", "frames_dir", "weights", "device", "threads", "report"}
)


def files_of(path: Path) -> list[Path]:
    """The file, every file of a folder (not of its subfolders) by name, or the images of a pattern.

    Raises `InputError` if there is none, or something that may never end: a pipe or a device.
    """
    try:
        if path.is_dir():
            return sorted(entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
        if path.is_file():
            return [path]
        if is_pattern(path):
            return image_files(path)
        exists = path.exists()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if exists:
        raise InputError(f"{path} is no regular file (a pipe or a device): save it as a file first")
    raise InputError(f"there is no file or folder {path}; check the path")


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, or of the names and bytes of a folder's files."""
    digest = hashlib.sha256()
    for file in files_of(path):
        one = hashlib.sha256()
        try:
            with file.open("rb") as stream:
                while block := stream.read(_CHUNK):
                    one.update(block)
        except OSError as error:
            raise InputError(f"cannot read {file}: {error.strerror or error}") from error
        digest.update(f"{file.name if path.is_dir() else ''}\0{one.hexdigest()}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _inputs(options: InpaintOptions) -> dict[str, Path]:
    named = {"video": options.video, "mask": options.mask, "reference": options.reference}
    return {name: path for name, path in named.items() if path is not None} | {"weights": resolve(options.weights)}


def snapshot(options: InpaintOptions) -> str:
    """Sizes and modification times of all inputs and the settings, as one hash: if it is the same, so is the job.

    Reads no content. Raises `InputError` or `WeightsError` for what is missing.
    """
    digest = hashlib.sha256(_settings_text(options).encode())
    for name, path in _inputs(options).items():
        for file in files_of(path):
            status = _stat(file)
            digest.update(f"{name}\0{file}\0{status[0]}\0{status[1]}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _stat(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return status.st_size, status.st_mtime_ns


def job_key(options: InpaintOptions) -> str:
    """Content hash of everything that decides the result: inputs, settings, weights, and the version of this
    program."""
    digest = hashlib.sha256(_settings_text(options).encode())
    for name, path in _inputs(options).items():
        digest.update(f"{name}\0{content_hash(path)}\n".encode())
    return digest.hexdigest()


def _settings_text(options: InpaintOptions) -> str:
    # Permission to replace the output is no part of what it becomes.
    options = allow_overwrite(options, False)
    settings = {f.name: _plain(getattr(options, f.name)) for f in fields(options) if f.name not in _NOT_SETTINGS}
    settings["video is a folder"] = os.path.isdir(options.video)  # Path.is_dir raises for a name that is too long
    settings["suffix"] = options.output.suffix
    return json.dumps({"e2fgvi": _version("e2fgvi-cli"), **settings}, sort_keys=True)


def _plain(value: Any) -> Any:
    """Options as JSON: whatever they hold, equal options give equal text."""
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, (set, frozenset)):
        return sorted(map(_plain, value), key=str)
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "source"


def output_stamps(paths: Iterable[Path]) -> dict[str, str]:
    """What each output that is there looks like on disk, by its real path: a later look tells if it is intact.

    One that cannot be read, or is neither a file nor a folder of files, has a stamp that is no other's.
    """
    stamps = {}
    for path in paths:
        if os.path.lexists(path):
            try:
                stamps[os.path.realpath(path)] = stamp_of(path, path)
            except InputError as error:
                stamps[os.path.realpath(path)] = f"unreadable: {error}"
    return stamps


def stamp_of(path: Path, target: Path) -> str:
    """Names, sizes and times of a folder's files, or of one file, which has or is to have the target's name. Raises
    `InputError`."""
    digest = hashlib.sha256()
    for file in files_of(path):
        size, modified = _stat(file)
        name = target.name if file == path else file.name
        digest.update(f"{name}\0{size}\0{modified}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def outputs_of(options: InpaintOptions) -> tuple[Path, ...]:
    """The files or folders a job writes."""
    return tuple(one.path for one in options.writes())


def allow_overwrite(options: InpaintOptions, allowed: bool = True) -> InpaintOptions:
    """The same job, with or without permission to replace what is there."""
    comparison = options.comparison
    if comparison is not None:
        comparison = replace(comparison, overwrite=allowed)
    return replace(options, encoding=replace(options.encoding, overwrite=allowed), comparison=comparison)
