"""Local files for FFmpeg: a path is a path, whatever is in its name, and no file makes it open an address."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import av

from ..errors import InputError

# Texts that are no UTF-8 (old taggers wrote Latin-1) keep their bytes from file to file. PyAV 18 breaks off at them unless
# told so, in every `av.open` that reads or writes a file's metadata; 19 always does it and has no such argument.
KEEP_METADATA_BYTES: dict[str, Any] = {"metadata_errors": "surrogateescape"} if av.__version__.startswith("18.") else {}


def open_local(path: Path, mode: Any = "r", **arguments: Any) -> Any:
    """`av.open` of a local file: the one way in which a path is handed to FFmpeg, for reading and for writing.

    FFmpeg takes a bare name for an address (`take:1.mp4`, `http:x.mp4`) or a pattern of many files (`m%02d.png`). Behind
    `file:` it is neither, and playlists inside of the file reach nothing but local files. Raises what `av.open` raises.
    """
    options = {**(arguments.pop("container_options", None) or {}), "protocol_whitelist": "file"}
    if mode == "r":
        options["pattern_type"] = "none"  # of the demuxer for image files, which looks at names
    return av.open(f"file:{path}", mode, container_options=options, **KEEP_METADATA_BYTES, **arguments)


def require_file(path: Path) -> None:
    """Raise `InputError` for a path that is no file on a disk: reading a pipe may wait for ever, a device never ends."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise InputError(f"there is no file or folder {path}; check the path") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # a null byte
        raise InputError(f"cannot read {str(path)!r}: {error}") from error
    if stat.S_ISREG(mode):
        return
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    kind = next((name for test, name in kinds if test(mode)), "a device")
    raise InputError(f"{path} is {kind}, not a file; save what it holds as a file first")
