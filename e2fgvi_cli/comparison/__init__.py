"""Before and after: a comparison video, a sheet of chosen frames, a small looping GIF. Import it late (PyAV, OpenCV)."""

from .layout import COMPARE_MODES, before_after, overlay
from .outputs import ComparisonOptions, ComparisonWriter, check_comparison
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
