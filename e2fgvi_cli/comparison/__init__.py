"""Before and after: a comparison video, a sheet of chosen frames, a small looping GIF.

Names are resolved on first use, so that the options cost neither PyAV nor OpenCV.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .options import ComparisonOptions

if TYPE_CHECKING:
    from .layout import COMPARE_MODES, before_after, overlay
    from .outputs import ComparisonWriter, check_comparison
    from .sheet import ContactSheet

__all__ = [
    "COMPARE_MODES",
    "ComparisonOptions",
    "ComparisonWriter",
    "ContactSheet",
    "before_after",
    "check_comparison",
    "overlay",
]

_HOMES = {
    "layout": ("COMPARE_MODES", "before_after", "overlay"),
    "outputs": ("ComparisonWriter", "check_comparison"),
    "sheet": ("ContactSheet",),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
