"""Local files for FFmpeg: a path is a path, whatever is in its name, and no file makes it open an address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av

# Texts that are no UTF-8 (old taggers wrote Latin-1) keep their bytes from file to file. PyAV 18 breaks off at them
# unless told so, in every `av.open` that reads or writes a file's metadata; 19 always does it and has no such argument.
KEEP_METADATA_BYTES: dict[str, Any] = {"metadata_errors": "surrogateescape"} if av.__version__.startswith("18.") else {}


def open_local(path: Path, mode: Any = "r", **arguments: Any) -> Any:
    """`av.open` of a local file: the one way in which a path is handed to FFmpeg, for reading and for writing.

    FFmpeg takes a bare name for an address (`take:1.mp4`, `http:x.mp4`) or a pattern of many files (`m%02d.png`).
    Behind `file:` it is neither, and playlists inside of the file reach nothing but local files. Raises what `av.open`
    raises.
    """
    options = {**(arguments.pop("container_options", None) or {}), "protocol_whitelist": "file"}
    if mode == "r":
        options["pattern_type"] = "none"  # of the demuxer for image files, which looks at names
    return av.open(f"file:{path}", mode, container_options=options, **KEEP_METADATA_BYTES, **arguments)
