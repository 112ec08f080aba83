"""The path a result is written to: checked before the work, written under a temporary name, published when complete."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from ..errors import InputError
from ..paths import Read, Written, check_all
from ..types import VideoInfo
from .codecs import Encoding, choose
from .options import OutputOptions
from .stream_copy import check_streams_fit

_SAFETY_BYTES = 16 << 20


def check_output(target: Path, info: VideoInfo, options: OutputOptions) -> None:
    """Everything about the output that can be known before any work. Changes nothing on disk.

    Raises `UsageError` for options that contradict each other and `InputError` for a target that exists, is the input,
    cannot be written or does not fit on the disk.
    """
    target = Path(target)
    encoding = choose(target, info, options)
    output = Written("the output", target, encoding.container is None, options.overwrite)
    check_all([output], [Read("the input", info.path)])
    _check_writable(target)
    check_streams_fit(info, encoding, options)
    _check_space(target, info, encoding)


def _check_writable(target: Path) -> None:
    """The parent exists and takes a file, or its nearest existing ancestor would take the missing folders."""
    folder = target.resolve().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(f"the output {target} cannot be written: {folder} is a file, not a folder")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"the output {target} cannot be written: {folder}: {error.strerror or error}") from error


def _check_space(target: Path, info: VideoInfo, encoding: Encoding) -> None:
    needed = estimate_bytes(info, encoding)
    folder = target.resolve().parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed is not None and needed + _SAFETY_BYTES > free:
        raise InputError(
            f"not enough space for the output {target}: about {_megabytes(needed)} are needed and "
            f"{_megabytes(free)} are free in {folder}; free some, or choose another folder or --codec"
        )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count >= 10_000_000 else f"{count / 1e6:.1f} MB"


# bytes a pixel of the kinds of output, found on camera clips; only for asking whether the disk is far too small
_BYTES_A_PIXEL = {"h264": 0.04, "h265": 0.03, "vp9": 0.03, "av1": 0.03, "prores": 0.6, "ffv1": 1.0, "png": 1.6}


def estimate_bytes(info: VideoInfo, encoding: Encoding) -> int | None:
    """Rough size of the output in bytes, or None where the number of frames is unknown."""
    if info.frame_count is None:
        return None
    if encoding.bit_rate is not None and info.duration is not None:
        return int(encoding.bit_rate * info.duration / 8)
    depth = 2 if info.bit_depth > 8 and encoding.codec in ("png", "ffv1") else 1
    rate = _BYTES_A_PIXEL["ffv1" if encoding.lossless and encoding.container else encoding.codec]
    return int(info.frame_count * info.height * info.width * rate * depth)


def temporary_beside(target: Path) -> Path:
    """A name in the target's own folder, so that the final rename stays within one file system. Makes the parents."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the output folder {target.parent} cannot be made: {error.strerror or error}") from error
    return target.parent / f".{target.stem}.{os.getpid()}.partial{target.suffix}"


def publish(temporary: Path, target: Path) -> None:
    """Give the finished file or folder its name; a folder that is replaced is removed only after the new one is there."""
    if not temporary.is_dir():
        os.replace(temporary, target)
        return
    old = target.parent / f".{target.name}.{os.getpid()}.old"
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(temporary, target)
    except OSError:
        if old.exists():
            os.replace(old, target)
        raise
    if old.exists():
        shutil.rmtree(old)


def discard(temporary: Path) -> None:
    """Remove what an interrupted run wrote."""
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)
