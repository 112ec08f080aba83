"""Sheets of pictures to look at: what the network saw, what it made of it, what was true."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..system.publication import replace_file

Picture = NDArray[np.uint8]
LABEL_HEIGHT = 16
MAX_ROWS = 8


@dataclass(frozen=True)
class Row:
    """Pictures (H, W, 3) RGB side by side under one label."""

    label: str
    pictures: list[Picture]


def write_sheet(path: Path, rows: list[Row]) -> None:
    """All rows under each other as one PNG."""
    drawn = [_draw(row) for row in rows]
    width = max(picture.shape[1] for picture in drawn)
    padded = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0))) for p in drawn]
    encoded = cv2.imencode(".png", np.concatenate(padded)[..., ::-1])[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, encoded.tobytes())


def batch_rows(frames: Tensor, holes: Tensor, filled: Tensor) -> list[Row]:
    """The middle local frame of the first samples of a batch: masked, filled, truth.

    frames: (b, T, 3, H, W) in [-1, 1]; holes: (b, T, 1, H, W); filled: (b, l, 3, H, W).
    """
    middle = filled.shape[1] // 2
    rows = []
    for i in range(min(len(frames), MAX_ROWS)):
        truth, hole = frames[i, middle], holes[i, middle]
        rows.append(Row(f"sample {i}", [_picture(x) for x in (truth * (1 - hole), filled[i, middle], truth)]))
    return rows


def _picture(x: Tensor) -> Picture:
    levels = ((x.detach().float().permute(1, 2, 0).cpu().numpy() + 1) * 127.5).round().clip(0, 255)
    return np.asarray(levels, np.uint8)


def _draw(row: Row) -> Picture:
    body = np.concatenate(row.pictures, axis=1)
    label = np.zeros((LABEL_HEIGHT, body.shape[1], 3), np.uint8)
    cv2.putText(label, row.label, (2, LABEL_HEIGHT - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(np.concatenate((label, body)), np.uint8)
