"""Small things tests are made of: textured clips with a moving square, as arrays and as folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def texture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A smooth random colour picture (H, W, 3)."""
    import cv2

    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, height // 8), max(2, width // 8), 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def clip(count: int, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A panning texture: (count, H, W, 3)."""
    wide = texture(height, width + 2 * count, seed)
    return np.stack([wide[:, 2 * i : 2 * i + width] for i in range(count)])


def holes(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """A square that walks to the right: (count, H, W), 0 or 255."""
    out = np.zeros((count, height, width), np.uint8)
    side = max(1, min(height, width) // 3)
    for i in range(count):
        left = min(width - side, width // 4 + i)
        out[i, height // 3 : height // 3 + side, left : left + side] = 255
    return out


def write_folder(folder: Path, pictures: NDArray[np.uint8], suffix: str = ".png") -> Path:
    """Pictures (RGB or grey) as numbered image files."""
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(pictures):
        bgr = picture[..., ::-1] if picture.ndim == 3 else picture
        assert cv2.imwrite(str(folder / f"{i:05d}{suffix}"), bgr)
    return folder


def read_folder(folder: Path) -> NDArray[np.uint8]:
    """All images of a folder in order, RGB."""
    import cv2

    return np.stack([cv2.imread(str(p))[..., ::-1] for p in sorted(folder.iterdir())])
