"""Clips in and out: readers, writers and hole readers as context managers.

Names are resolved on first use, so that importing the package costs neither PyAV nor OpenCV (`options` needs none).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .options import OutputOptions

if TYPE_CHECKING:
    from .masks.holes import HoleReader, open_holes
    from .reading.cutting import part_said
    from .reading.random_access import RandomAccess, open_random_access
    from .reading.reader import DEFAULT_FOLDER_RATE, FrameReader, open_reader
    from .writing.target import check_output
    from .writing.verification import Verification, verify
    from .writing.writer import FrameWriter, open_writer

__all__ = [
    "DEFAULT_FOLDER_RATE",
    "FrameReader",
    "FrameWriter",
    "HoleReader",
    "OutputOptions",
    "RandomAccess",
    "Verification",
    "check_output",
    "open_holes",
    "open_random_access",
    "open_reader",
    "open_writer",
    "part_said",
    "verify",
]

_HOMES = {
    "masks.holes": ("HoleReader", "open_holes"),
    "reading.cutting": ("part_said",),
    "reading.random_access": ("RandomAccess", "open_random_access"),
    "reading.reader": ("DEFAULT_FOLDER_RATE", "FrameReader", "open_reader"),
    "writing.target": ("check_output",),
    "writing.verification": ("Verification", "verify"),
    "writing.writer": ("FrameWriter", "open_writer"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
