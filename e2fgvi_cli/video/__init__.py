"""Clips in and out: readers, writers and hole readers as context managers. Imports PyAV and OpenCV; import it late."""

from .codecs import OutputOptions
from .holes import HoleReader, open_holes
from .reader import DEFAULT_FOLDER_RATE, FrameReader, open_reader
from .target import check_output
from .writer import FrameWriter, open_writer

__all__ = [
    "DEFAULT_FOLDER_RATE",
    "FrameReader",
    "FrameWriter",
    "HoleReader",
    "OutputOptions",
    "check_output",
    "open_holes",
    "open_reader",
    "open_writer",
]
