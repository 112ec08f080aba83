"""Captions and logos burnt into clips, whose truth is known: over clips of ../shared/train if they are there, and over
ones that are drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
Alpha = NDArray[np.float32]
SHARED = Path(__file__).parents[2] / "shared" / "train" / "clips"
FONTS = Path("/usr/share/fonts/truetype/dejavu")


@dataclass(frozen=True)
class Look:
    """How a text is set: font file, fill, outline (pixels), how opaque (0 to 1), share of the frame's height."""

    font: str
    fill: tuple[int, int, int]
    outline: int
    opacity: float
    height: float


def moving_ground(count: int, size: tuple[int, int], seed: int) -> list[Picture]:
    """A blurred noise of many scales with blocks, over which the camera drifts: (H, W, 3) RGB."""
    rng, (height, width) = np.random.default_rng(seed), size
    whole = np.zeros((height + count * 2, width + count * 3, 3), np.float32)
    for blur in (2, 6, 20):
        layer = cv2.GaussianBlur(rng.normal(0, 1, whole.shape).astype(np.float32), (0, 0), blur)
        whole += layer / layer.std() * blur
    whole = whole / whole.std() * 35 + 115
    for _ in range(40):
        x, y = rng.integers(0, whole.shape[1]), rng.integers(0, whole.shape[0])
        colour = tuple(float(c) for c in rng.integers(20, 235, 3))
        cv2.rectangle(whole, (int(x), int(y)), (int(x + rng.integers(8, 60)), int(y + rng.integers(8, 60))), colour, -1)
    still = np.clip(whole, 0, 255).astype(np.uint8)
    return [np.ascontiguousarray(still[i : i + height, 2 * i : 2 * i + width]) for i in range(count)]


def shared_grounds(clips: int, count: int, size: tuple[int, int]) -> dict[str, list[Picture]]:
    """The first frames of some clips of ../shared/train, spread over the folder; nothing without it."""
    found = sorted(SHARED.glob("*.mp4")) if SHARED.is_dir() else []
    chosen = found[:: max(len(found) // clips, 1)][:clips] if found else []
    return named_grounds([path.stem for path in chosen], count, size)


def named_grounds(names: Sequence[str], count: int, size: tuple[int, int]) -> dict[str, list[Picture]]:
    """The first `count` frames of clips of ../shared/train at a size, of those that are there and long enough."""
    grounds: dict[str, list[Picture]] = {}
    for name in names:
        capture = cv2.VideoCapture(str(SHARED / f"{name}.mp4"))
        frames: list[Picture] = []
        while len(frames) < count:
            read, bgr = capture.read()
            if not read:
                break
            small = cv2.resize(bgr[..., ::-1].copy(), size[::-1], interpolation=cv2.INTER_AREA)
            frames.append(np.asarray(small, np.uint8))
        if len(frames) == count:
            grounds[name] = frames
    return grounds


def text_layer(text: str, look: Look, size: tuple[int, int], centre: tuple[float, float]) -> tuple[Picture, Alpha]:
    """Colours (H, W, 3) and how opaque they are (H, W), `centre` as shares of width and height."""
    height, width = size
    layer = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    font = ImageFont.truetype(str(FONTS / look.font), max(round(look.height * height), 8))
    place = (centre[0] * width, centre[1] * height)
    ImageDraw.Draw(layer).text(
        place,
        text,
        font=font,
        fill=(*look.fill, 255),
        anchor="mm",
        stroke_width=look.outline,
        stroke_fill=(0, 0, 0, 255),
    )
    drawn = np.asarray(layer)
    return np.ascontiguousarray(drawn[..., :3]), (drawn[..., 3] / 255.0 * look.opacity).astype(np.float32)


def burnt(frame: Picture, colours: Picture, alpha: Alpha) -> Picture:
    """The frame with a layer over it."""
    mixed = frame + (colours.astype(np.float32) - frame) * alpha[..., None]
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Score:
    """Recall of the truth's pixels; false area: share of the frame masked further than 4 pixels (what a run grows a
    mask by anyway) from the truth."""

    recall: float
    false_area: float


def score(found: list[NDArray[np.uint8]], truth: list[NDArray[np.uint8]]) -> Score:
    """Over all frames of a clip: masks and truths (H, W), above 0 is hole."""
    near = np.ones((9, 9), np.uint8)
    hit = sum(int(((f > 0) & (t > 0)).sum()) for f, t in zip(found, truth, strict=True))
    whole = sum(int((t > 0).sum()) for t in truth)
    false = [((f > 0) & (cv2.dilate(t, near) == 0)).mean() for f, t in zip(found, truth, strict=True)]
    return Score(hit / max(whole, 1), float(np.mean(false)))
