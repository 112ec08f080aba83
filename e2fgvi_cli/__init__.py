"""e2fgvi: video inpainting with the E2FGVI-HQ network.

    from e2fgvi_cli import InpaintOptions, inpaint

Importing this package is cheap: what it offers is imported on first use, torch, PyAV and OpenCV only when a run begins.
The doctor (`python -m e2fgvi_cli.doctor`) relies on that.
"""

TYPE_CHECKING = (
    False  # the name is what type checkers go by; importing it costs milliseconds in which Ctrl-C is not answered yet
)
if TYPE_CHECKING:
    from .api import BoxMark, InpaintOptions, KeyframeMark, PointMark, find_text, grow_mask, inpaint, track_mask

__version__ = "0.1.0"
__all__ = [
    "BoxMark",
    "InpaintOptions",
    "KeyframeMark",
    "PointMark",
    "__version__",
    "find_text",
    "grow_mask",
    "inpaint",
    "track_mask",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        from . import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
