"""The network's SPyNet as a plain function of two pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest


@pytest.mark.slow
def test_flow_of_a_shifted_picture() -> None:
    pytest.importorskip("torch")
    from e2fgvi_cli.errors import WeightsError
    from e2fgvi_cli.mask_tools.flow import flow_estimator

    try:
        flow = flow_estimator("open", "cpu")
    except WeightsError as error:
        pytest.skip(f"no default weights here: {error}")
    noise = np.random.default_rng(0).normal(0, 1, (64, 144, 3)).astype(np.float32)
    wide = np.clip(cv2.GaussianBlur(noise, (0, 0), 2) * 300 + 128, 0, 255).astype(np.uint8)
    left, right = np.ascontiguousarray(wide[:, 3:131]), np.ascontiguousarray(wide[:, :128])
    forward, backward = flow(left, right)
    assert forward.shape == backward.shape == (64, 128, 2)
    assert forward.dtype == np.float32
    inner = (slice(16, 48), slice(32, 96))
    assert np.median(forward[inner], axis=(0, 1)) == pytest.approx([3, 0], abs=0.5)
    assert np.median(backward[inner], axis=(0, 1)) == pytest.approx([-3, 0], abs=0.5)
