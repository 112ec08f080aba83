"""The measurement of flow inside holes: on frames without a hole nothing is off, and a hole is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from e2fgvi_cli._model.config import E2FGVIConfig
from e2fgvi_cli._model.network import E2FGVIHQ

from measurements.flow import measure
from tests.factories import clip


@pytest.fixture(scope="module")
def network() -> E2FGVIHQ:
    torch.manual_seed(0)
    made = E2FGVIHQ(replace(E2FGVIConfig(), num_blocks=1)).eval()
    for parameter in made.update_spynet.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return made


def test_what_is_seen_is_found_and_what_is_hidden_is_not(network: E2FGVIHQ) -> None:
    frames = clip(3, 128, 160)
    hole = np.zeros(frames.shape[:3], np.uint8)
    nothing = measure(network, network, frames, hole)
    assert (nothing.motion, nothing.inside, nothing.outside) == pytest.approx((0, 0, 0), abs=1e-5)
    hole[:, 40:80, 50:100] = 255
    hidden = measure(network, network, frames, hole)
    assert hidden.motion > 0
    assert hidden.inside > hidden.outside


def test_each_direction_is_measured_on_its_own_frame(network: E2FGVIHQ) -> None:
    """A hole of the first frame alone concerns the flow that lies on it, forwards; the other direction has none, and
    half the mean."""
    frames = clip(2, 128, 160)
    both = np.zeros(frames.shape[:3], np.uint8)
    both[:, 40:80, 50:100] = 1
    first = both.copy()
    first[1] = 0
    whole, half = measure(network, network, frames, both), measure(network, network, frames, first)
    assert half.motion == pytest.approx(whole.motion / 2, rel=0.5)
    assert half.motion < whole.motion
