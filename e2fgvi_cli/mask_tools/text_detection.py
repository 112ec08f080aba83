"""Where text stands in a picture: RapidOCR with the models of its wheel (PP-OCRv4, Apache-2.0), on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError


@dataclass(frozen=True)
class TextBox:
    """A line of text: the upright box around it, in pixels, how sure the reading of its letters is (0 to 1), and
    how many were read."""

    x: int
    y: int
    width: int
    height: int
    confidence: float
    letters: int


DetectText = Callable[[NDArray[np.uint8]], list[TextBox]]
"""The lines of text of an RGB picture (h, w, 3)."""
MISSING = (
    "finding text needs the package rapidocr-onnxruntime, which is not installed (it exists for Python up to 3.12): "
    'pip install "e2fgvi-cli[text]"'
)


def text_detector(threads: int = 0) -> DetectText:
    """Loads the models (15 MB, once). `threads`: of a detection, 0 as many as there are cores.

    Raises `InputError` without the extra `[text]`.
    """
    try:
        from rapidocr_onnxruntime import RapidOCR
    except ImportError as error:
        raise InputError(MISSING) from error
    options = {"intra_op_num_threads": threads} if threads else {}
    engine = RapidOCR(**options)

    def detect(rgb: NDArray[np.uint8]) -> list[TextBox]:
        found, _ = engine(np.ascontiguousarray(rgb[..., ::-1]), use_det=True, use_cls=False, use_rec=True)
        return [_upright(corners, float(confidence), len(words.strip())) for corners, words, confidence in found or []]

    return detect


def _upright(corners: list[list[float]], confidence: float, letters: int) -> TextBox:
    points = np.asarray(corners, np.float64)
    (left, top), (right, bottom) = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    return TextBox(int(left), int(top), int(right - left), int(bottom - top), confidence, letters)
