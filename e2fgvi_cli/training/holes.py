"""Hole sequences: drifting or still blobs, strokes, boxes, captions and outlines of real objects.

Shape legend: n samples, T times, h w pixels, S = shapes.FIELD.
"""

from __future__ import annotations

import string

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .config import HoleConfig
from .shapes import FIELD, Draw, blobs, boxes, place, sample_field, strokes

CAPTION, SILHOUETTE = 3, 4
CAPTIONS = 64
"""Captions drawn once: lettering needs a font, which no tensor operation has."""

MIN_HOLE = 0.004
"""Part of the frame that a hole covers at least, or it is replaced by the sample's own in the first frame."""


def caption_bank(seed: int = 0) -> Tensor:
    """(64, 1, S, S) uint8, 255 inside: random words with an outline, one or two lines, as captions and logos have."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([_caption(rng) for _ in range(CAPTIONS)]))[:, None]


def _caption(rng: np.random.Generator) -> NDArray[np.uint8]:
    alphabet = string.ascii_letters + string.digits
    fonts = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)
    font = fonts[int(rng.integers(len(fonts)))]
    thickness = int(rng.integers(3, 9))
    lines = []
    for _ in range(int(rng.integers(1, 3))):
        text = "".join(rng.choice(list(alphabet), size=int(rng.integers(4, 14))))
        (width, height), below = cv2.getTextSize(text, font, 2.0, thickness)
        line = np.zeros((height + below + 2 * thickness, width + 2 * thickness), np.uint8)
        cv2.putText(line, text, (thickness, height + thickness), font, 2.0, 255, thickness)
        lines.append(line)
    canvas = np.zeros((sum(len(line) for line in lines), max(line.shape[1] for line in lines)), np.uint8)
    top = 0
    for line in lines:
        left = (canvas.shape[1] - line.shape[1]) // 2
        canvas[top : top + len(line), left : left + line.shape[1]] = line
        top += len(line)
    grown = cv2.dilate(canvas, np.ones((thickness, thickness), np.uint8))
    return np.asarray(cv2.resize(grown, (FIELD, FIELD), interpolation=cv2.INTER_AREA), np.uint8)


class HoleMaker:
    """Draws hole sequences on one device. `silhouettes`: (k, 1, S, S) uint8, 255 inside; may be empty."""

    def __init__(self, config: HoleConfig, silhouettes: Tensor, device: torch.device) -> None:
        self.config = config
        self.captions = caption_bank().to(device)
        self.silhouettes = silhouettes.to(device)
        share = config.silhouette if len(silhouettes) else 0.0
        weights = [config.blob, config.stroke, config.box, config.caption, share]
        self.weights = torch.tensor(weights, device=device, dtype=torch.float32)

    def outlines(self, n: int, draw: Draw) -> tuple[Tensor, Tensor]:
        """n outlines (n, 1, S, S) and their kinds (n,): 0 blob, 1 stroke, 2 box, 3 caption, 4 silhouette."""
        kind = draw.choice(self.weights, n)
        captions = self._from_bank(self.captions, n, draw)
        real = self._from_bank(self.silhouettes, n, draw) if len(self.silhouettes) else captions
        every = torch.stack((blobs(n, draw), strokes(n, draw), boxes(n, draw), captions, real))
        return every[kind, torch.arange(n, device=kind.device)], kind

    def draw(self, times: Tensor, size: tuple[int, int], draw: Draw) -> Tensor:
        """Holes (n, T, 1, h, w) in {0, 1} at `times` (n, T); none is empty at its first time."""
        n = times.shape[0]
        config = self.config
        # Two outlines a sample, the second one often left out.
        field, kind = self.outlines(2 * n, draw)
        still = draw.chance(2 * n, share=config.still_share) | (kind == CAPTION)
        placement = place(
            field,
            draw,
            size=size,
            area=(config.min_area, config.max_area),
            max_speed=config.max_speed,
            still=still,
            wide=kind == CAPTION,
        )
        coordinates = placement.local_coordinates(times.repeat(2, 1), size)
        inside = (sample_field(field, coordinates) > 0.5).unflatten(0, (2, n))
        second = draw.chance(n, share=config.second_share).view(n, 1, 1, 1, 1)
        hole = inside[0] | (inside[1] & second)
        # An outline that lies outside the frame or is thinner than a pixel leaves nothing: a box takes its place.
        empty = hole[:, :1].float().mean(dim=(2, 3, 4), keepdim=True) < MIN_HOLE
        hole = torch.where(empty, hole | _central_box(size, times.device), hole)
        return hole.float()

    @staticmethod
    def _from_bank(bank: Tensor, n: int, draw: Draw) -> Tensor:
        chosen = bank[draw.below(torch.full((n,), float(len(bank)), device=draw.device))].float() / 255
        mirrored = draw.chance(n, 1, 1, 1, share=0.5)
        return torch.where(mirrored, chosen.flip(3), chosen)


def _central_box(size: tuple[int, int], device: torch.device) -> Tensor:
    h, w = size
    box = torch.zeros(h, w, dtype=torch.bool, device=device)
    box[h * 2 // 5 : h * 3 // 5, w * 2 // 5 : w * 3 // 5] = True
    return box
