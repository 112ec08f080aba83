"""The tone between two aligned pictures: a plane that other things in them do not move."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from e2fgvi_cli.propagation.tone import fit_tone, tone_of

SIZE = (60, 90)
PLANE = np.array([[9.0, -4, 2], [0.02, 0, -0.01], [0, 0.03, 0.01]], np.float32)


def differences(levels: float = 1.0) -> NDArray[np.float32]:
    noise = np.random.default_rng(1).normal(0, 1.5, (*SIZE, 3))
    return ((tone_of(PLANE, SIZE) + noise) * levels).astype(np.float32)


def ring() -> NDArray[np.bool_]:
    compared = np.ones(SIZE, np.bool_)
    compared[15:45, 20:70] = False
    return compared


@pytest.mark.parametrize("levels", [1.0, 257.0])
def test_a_drift_of_exposure_is_told_inside_the_hole_too(levels: float) -> None:
    plane = fit_tone(differences(levels), ring(), levels)
    assert np.abs(tone_of(plane, SIZE) / levels - tone_of(PLANE, SIZE)).max() < 0.8


def test_another_thing_in_one_picture_does_not_move_it() -> None:
    apart = differences()
    apart[:12, :40] += 90
    apart[50:, 30:] -= 18
    plane = fit_tone(apart, ring(), 1.0)
    assert np.abs(tone_of(plane, SIZE) - tone_of(PLANE, SIZE)).mean() < 1.0


def test_a_few_pixels_on_one_side_say_nothing_of_the_other() -> None:
    compared = np.zeros(SIZE, np.bool_)
    compared[10:14, 2:6] = True
    apart = (
        np.where(np.arange(SIZE[1])[None, :, None] < 4, np.float32(2), np.float32(6)).repeat(SIZE[0], 0).repeat(3, 2)
    )
    assert tone_of(fit_tone(apart, compared, 1.0), SIZE).max() < 8


def test_nothing_to_compare_is_no_tone() -> None:
    assert not fit_tone(differences(), np.zeros(SIZE, np.bool_), 1.0).any()
    assert not fit_tone(differences() + 200, ring(), 1.0).any()
