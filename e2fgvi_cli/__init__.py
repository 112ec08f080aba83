"""e2fgvi: video inpainting with the E2FGVI-HQ network.

Importing this package is cheap: torch, PyAV and OpenCV are imported by the functions that need them.
"""

__version__ = "0.1.0"
