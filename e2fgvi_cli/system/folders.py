"""Where each system keeps a user's files. Standard library only: the doctor asks, too, so no `platformdirs`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

_HOMES = {
    # kind: the variable and the folder below the home, on Windows, macOS and elsewhere
    "cache": (("LOCALAPPDATA", "AppData/Local"), (None, "Library/Caches"), ("XDG_CACHE_HOME", ".cache")),
    "data": (
        ("LOCALAPPDATA", "AppData/Local"), (None, "Library/Application Support"), ("XDG_DATA_HOME", ".local/share"),
    ),
    "settings": (
        ("APPDATA", "AppData/Roaming"), (None, "Library/Application Support"), ("XDG_CONFIG_HOME", ".config"),
    ),
}  # fmt: skip


def user_folder(kind: Literal["cache", "data", "settings"]) -> Path:
    """Our folder for files of this kind; not made. Raises `RuntimeError` where there is no home."""
    variable, below = _HOMES[kind][{"win32": 0, "darwin": 1}.get(sys.platform, 2)]
    named = os.environ.get(variable) if variable else None
    return (Path(named) if named else Path.home() / below) / "e2fgvi"
