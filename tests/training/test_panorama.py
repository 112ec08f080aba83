"""A camera inside a panorama: what it sees is the gnomonic projection, it moves without jumps, and there is no seam."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from e2fgvi_cli.training.panorama import WIDEST, PanoramaPath, panorama_paths, sample_panoramas
from e2fgvi_cli.training.sampling import doubled
from e2fgvi_cli.training.shapes import Draw

from .conftest import CPU

NOW = torch.zeros(1, 1)


def still(**values: float) -> PanoramaPath:
    """A camera that stands and looks straight ahead, 90 degrees wide, but for `values`."""
    names = [f.name for f in fields(PanoramaPath)]
    given = {name: torch.zeros(1) for name in names} | {"half": torch.ones(1), "rhythm": torch.ones(1)}
    return PanoramaPath(**(given | {name: torch.tensor([value]) for name, value in values.items()}))


def smooth_panorama(height: int = 128) -> torch.Tensor:
    """A panorama (1, 3, H, 2H) in [0, 1] that is smooth on the sphere: each channel a wave along one axis of space."""
    latitude = (0.5 - (np.arange(height) + 0.5) / height) * math.pi
    longitude = ((np.arange(2 * height) + 0.5) / height - 1) * math.pi
    ray = rays(latitude[:, None], longitude[None])
    return torch.from_numpy(colours(ray)).float().permute(2, 0, 1)[None]


def rays(latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 3): x right, y up, z ahead."""
    x, z = np.cos(latitude) * np.sin(longitude), np.cos(latitude) * np.cos(longitude)
    return np.stack(np.broadcast_arrays(x, np.sin(latitude), z), -1)


def colours(ray: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is seen along rays (..., 3)."""
    return 0.5 + 0.4 * np.sin(3 * ray)


@settings(deadline=None, max_examples=30)
@given(
    yaw=st.floats(-3.1, 3.1),
    pitch=st.floats(-0.6, 0.6),
    roll=st.floats(-0.5, 0.5),
    half=st.floats(0.3, 1.1),
    mirrored=st.booleans(),
)
def test_a_view_is_the_gnomonic_projection(yaw: float, pitch: float, roll: float, half: float, mirrored: bool) -> None:
    """Against rotation matrices from OpenCV: a pixel sees the colour of its own ray in space."""
    # The swing is 1 at time 0 with this phase, so the roll is what its sway says.
    path = still(yaw=yaw, pitch=pitch, roll_sway=roll, phase=math.pi / 2, half=-half if mirrored else half)
    h, w = 24, 40
    seen = sample_panoramas(smooth_panorama(), path.grid(NOW, doubled((h, w))))[0, 0].permute(1, 2, 0).numpy()
    x = ((np.arange(w) + 0.5) / w * 2 - 1) * (-half if mirrored else half)
    y = ((np.arange(h) + 0.5) / h * 2 - 1) * half * h / w
    camera = np.stack(np.broadcast_arrays(x[None], -y[:, None], 1.0), -1)  # y up, as `rays`
    turned = cv2.Rodrigues(np.array([0, 0, -roll]))[0]
    tilted = cv2.Rodrigues(np.array([-pitch, 0, 0]))[0]
    about = cv2.Rodrigues(np.array([0, yaw, 0]))[0]
    ray = camera @ (about @ tilted @ turned).T
    expected = colours(ray / np.linalg.norm(ray, axis=-1, keepdims=True))
    assert np.abs(seen - expected).max() < 0.01


def test_without_rotation_it_is_the_middle_of_the_panorama() -> None:
    grid = still().grid(NOW, (41, 81))
    assert grid[0, 0, 20, 40].tolist() == pytest.approx([0, 0], abs=1e-6)
    # 90 degrees wide: its borders see 45 degrees to the left and right.
    x = (torch.arange(81) + 0.5) * (2 / 81) - 1
    assert torch.allclose(grid[0, 0, 20, :, 0], torch.atan(x) / math.pi, atol=1e-5)
    assert torch.allclose(grid[0, 0, 20, :, 1], torch.zeros(81), atol=1e-6)


def test_there_is_no_seam_where_the_panorama_ends() -> None:
    picture = torch.rand(1, 3, 32, 64)
    # The same panorama begun elsewhere, seen by a camera turned as much.
    turned = picture.roll(17, dims=-1)
    behind = still(yaw=math.pi)
    ahead = replace(behind, yaw=behind.yaw + 17 * 2 * math.pi / 64)
    size = doubled((20, 30))
    a, b = sample_panoramas(picture, behind.grid(NOW, size)), sample_panoramas(turned, ahead.grid(NOW, size))
    assert torch.allclose(a, b, atol=1e-4)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_the_camera_moves_without_jumps_and_stays_off_the_poles(seed: int) -> None:
    n, size = 8, (24, 40)
    draw = Draw(CPU, torch.Generator().manual_seed(seed))
    zooming = torch.arange(n) % 2 == 0
    path = panorama_paths(n, draw, torch.full((n,), 2048.0), size, zooming=zooming)
    times = torch.arange(-40.0, 50.0, 0.5).expand(n, -1)
    grid = path.grid(times, size)
    step = grid.diff(dim=1)
    step[..., 0] = torch.remainder(step[..., 0] + 1, 2) - 1  # around the back it goes on
    # Half a frame's time moves a direction by less than a tenth of the widest view, also at the corners and while it
    # zooms.
    assert float((step[..., 0].abs() * math.pi).max()) < 0.1 * WIDEST
    assert float((step[..., 1].abs() * math.pi / 2).max()) < 0.1 * WIDEST
    assert float(grid[..., 1].abs().max()) < 0.95


def test_a_coarse_panorama_is_not_looked_at_through_a_long_lens() -> None:
    n = 200
    detail = torch.where(torch.arange(n) % 2 == 0, 2048.0, 8192.0)
    half = panorama_paths(n, Draw(CPU, torch.Generator().manual_seed(0)), detail, (240, 432)).half.abs()
    narrowest = 2 * torch.atan(half)
    assert float(narrowest[::2].min()) >= 0.75 * 432 * 2 * math.pi / 2048 - 1e-5
    assert float(narrowest[1::2].min()) < math.radians(45)
    assert float(narrowest.max()) <= WIDEST + 1e-5
