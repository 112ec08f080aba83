"""Shapes between two shapes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from e2fgvi_cli.mask_tools.tracking import overlap
from e2fgvi_cli.masks.bridging import between
from e2fgvi_cli.types import HoleArray


def disc(x: float, y: float, radius: float) -> HoleArray:
    rows, columns = np.mgrid[:80, :120]
    return ((rows - y) ** 2 + (columns - x) ** 2 <= radius**2).astype(np.uint8)


@pytest.mark.parametrize("place", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_a_disc_that_moves_and_grows(place: float) -> None:
    """Against the disc where it would be: far enough that the two do not overlap."""
    found = between(disc(20, 20, 8), disc(80, 50, 14), place)
    assert overlap(found, disc(20 + 60 * place, 20 + 30 * place, 8 + 6 * place)) > 0.9


def test_one_shape_turns_into_another() -> None:
    square = np.zeros((80, 120), np.uint8)
    square[30:50, 50:70] = 1
    found = between(square, disc(59.5, 39.5, 10), 0.5)
    assert disc(59.5, 39.5, 9.5).sum() < found.sum() < square.sum()


def test_thin_shapes_without_a_common_outline_do_not_vanish() -> None:
    upright, flat = np.zeros((80, 120), np.uint8), np.zeros((80, 120), np.uint8)
    upright[10:70, 60], flat[40, 10:110] = 1, 1
    assert between(upright, flat, 0.5).any()


def test_an_object_that_leaves_the_frame_keeps_its_half() -> None:
    found = between(disc(60, 40, 10), disc(119, 40, 10), 0.5)
    assert cv2.connectedComponents(found)[0] == 2
    assert overlap(found, disc(88, 40, 9)) > 0.6
