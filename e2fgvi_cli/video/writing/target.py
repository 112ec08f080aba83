"""The path a result is written to, checked before the work: free, writable, with room, and of a kind that can be
written."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from ...errors import InputError
from ...system.paths import Read, Written, check_all, is_pipe
from ...types import VideoInfo
from ..options import OutputOptions
from .codecs import Encoding, choose
from .stream_copy import check_streams_fit

_SAFETY_BYTES = 16 << 20


def check_output(target: Path, info: VideoInfo, options: OutputOptions) -> None:
    """Everything about the output that can be known before any work. Changes nothing on disk.

    Raises `UsageError` for options that contradict each other and `InputError` for a target that exists, is the input,
    cannot be written or does not fit on the disk.
    """
    target = Path(target)
    encoding = choose(target, info, options)
    if is_pipe(target):
        return
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
