"""The user's own defaults: a TOML file with a table a command and its options in it. Standard library only."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .folders import user_folder

VARIABLE = "E2FGVI_CONFIG"
"""Another file; empty: none."""


def config_path() -> Path | None:
    """$E2FGVI_CONFIG, else config.toml in a folder of ours where the system keeps settings; None: none is wanted, or
    there is no home."""
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return Path(chosen).expanduser() if chosen else None
    try:
        return user_folder("settings") / "config.toml"
    except RuntimeError:
        return None


def read_config(path: Path) -> dict[str, Any]:
    """What the file says; empty where there is none. Raises `UsageError`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        if os.environ.get(VARIABLE):
            raise UsageError(f"{VARIABLE} names {path}, which is not there") from None
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the settings {path} are no TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"the settings {path} cannot be read: {error.strerror or error}") from None
