"""How well `mask grow --shadow` finds shadows and reflections drawn into footage whose camera moves: `python -m
measurements.shadows [--pictures DIR]`. Without ../shared/train on grounds that are drawn here."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from e2fgvi_cli.mask_tools.background import surroundings
from e2fgvi_cli.mask_tools.shadow import ShadowOptions, shadows

from .burnt import Picture, moving_ground, named_grounds

SIZE, COUNT = (240, 432), 60
CLIPS = (
    "gopro__karma_00",
    "androidx__london_01",
    "sam2__01_dog_00",
    "ahmetozlu__pedestrian_00",
    "gopro__max-heromode_00",
    "pumavos__chair_00",
)
Layer = NDArray[np.float32]


@dataclass(frozen=True)
class Light:
    """A shadow: how far it leans (pixels across a pixel of height), how long (share of the figure's height), how much
    light it takes (0 to 1), how soft its end is (sigma, pixels). A reflection: how much of the figure it shows."""

    lean: float = 0.0
    length: float = 0.5
    strength: float = 0.5
    soft: float = 2.0
    reflection: float = 0.0


LIGHTS = {
    "none": Light(strength=0.0),
    "noon, hard": Light(0.3, 0.25, 0.55, 1.0),
    "evening, long": Light(-0.9, 0.6, 0.45, 2.5),
    "overcast, faint": Light(0.4, 0.35, 0.2, 4.0),
    "reflection": Light(0.0, 0.7, 0.0, 1.5, reflection=0.4),
}
WALKS = ("crosses", "stays in the middle")


def figure(time: float, height: float, foot: tuple[float, float]) -> tuple[Picture, Layer]:
    """Somebody who walks: colours (H, W, 3) and opacity (H, W). `time` in steps, `foot` (x, y) in pixels."""
    drawn = np.zeros((SIZE[0], SIZE[1]), np.uint8)
    colours = np.zeros((*SIZE, 3), np.uint8)

    def limb(a: tuple[float, float], b: tuple[float, float], width: float, colour: tuple[int, int, int]) -> None:
        ends = [(round(foot[0] + x * height), round(foot[1] - y * height)) for x, y in (a, b)]
        for canvas, value in ((drawn, (255,)), (colours, colour)):
            cv2.line(canvas, ends[0], ends[1], value, max(round(width * height), 2), cv2.LINE_AA)

    swing = 0.17 * np.sin(np.pi * time)
    limb((0, 0.48), (-swing, 0.02), 0.09, (40, 45, 70))
    limb((0, 0.48), (swing, 0.02), 0.09, (52, 58, 90))
    limb((0, 0.5), (0, 0.78), 0.2, (170, 60, 50))
    limb((0.02, 0.76), (0.9 * swing, 0.45), 0.06, (190, 90, 70))
    limb((-0.02, 0.76), (-0.9 * swing, 0.45), 0.06, (150, 50, 40))
    limb((0, 0.92), (0, 0.93), 0.14, (205, 160, 130))
    alpha = cv2.GaussianBlur(drawn, (0, 0), 0.7).astype(np.float32) / 255
    return colours, np.asarray(alpha, np.float32)


def cast_layer(alpha: Layer, foot: tuple[float, float], light: Light) -> Layer:
    """The silhouette as it lies on the ground: towards the viewer, sheared, softer the further from the foot."""
    x, y = foot
    # A point that is v pixels above the foot falls v * length below it and v * lean beside it.
    matrix = np.array([[1, -light.lean, x - x + light.lean * y], [0, -light.length, y + light.length * y]])
    lying = cv2.warpAffine(alpha, matrix, SIZE[::-1], flags=cv2.INTER_LINEAR)
    hard, soft = (cv2.GaussianBlur(lying, (0, 0), s) for s in (max(light.soft / 3, 0.5), light.soft))
    far = np.clip((np.arange(SIZE[0], dtype=np.float32) - y) / 40, 0, 1)[:, None]
    return np.asarray(hard * (1 - far) + soft * far, np.float32)


@dataclass(frozen=True)
class Scene:
    """A frame with the figure and its shadow, the figure's mask as a tracker would give it, and the shadow's truth."""

    rgb: Picture
    mask: NDArray[np.uint8]
    truth: NDArray[np.uint8]


def scene(ground: Picture, index: int, count: int, walk: str, light: Light) -> Scene:
    """Frame `index` of a clip of `count` frames."""
    time, height = index / (count - 1), 0.4 * SIZE[0]
    across = 0.15 + 0.7 * time if walk == "crosses" else 0.5
    foot = (across * SIZE[1], 0.62 * SIZE[0])
    colours, alpha = figure(index / 7, height, foot)
    linear = (ground.astype(np.float32) / 255) ** 2.2
    dark = cast_layer(alpha, foot, light) * light.strength
    tint = np.array([1.0, 0.97, 0.92], np.float32)  # what is left is the sky's light, a little blue
    lit = linear * (1 - dark[..., None] * tint)
    shown = 255 * lit ** (1 / 2.2)
    if light.reflection:
        turned = Light(0, light.length, 1, light.soft)
        amount = cast_layer(alpha, foot, turned)[..., None] * light.reflection
        mirrored = np.stack([cast_layer(colours[..., c].astype(np.float32) * alpha, foot, turned) for c in range(3)], 2)
        shown = shown * (1 - amount) + mirrored * light.reflection
        dark = amount[..., 0]
    shown = shown * (1 - alpha[..., None]) + colours * alpha[..., None]
    noise = np.random.default_rng(index).normal(0, 1.5, (*SIZE, 1))
    mask = cv2.dilate((alpha > 0.3).astype(np.uint8), np.ones((3, 3), np.uint8))
    truth = ((dark > 0.06) & (mask == 0)).astype(np.uint8)
    return Scene(np.clip(np.rint(shown + noise), 0, 255).astype(np.uint8), np.asarray(mask, np.uint8), truth)


def grown(scenes: list[Scene], options: ShadowOptions) -> Iterator[NDArray[np.uint8]]:
    """What is found beside each mask."""
    frames = ((i, one.rgb, one.mask) for i, one in enumerate(scenes))
    return (one.shadow for one in shadows(surroundings(frames), options))


def sheet(scenes: list[Scene], found: list[NDArray[np.uint8]], path: Path) -> None:
    """Frames beside what was found (red), what was missed (blue) and the mask (white)."""
    rows = []
    for index in np.linspace(0, len(scenes) - 1, 5).astype(int):
        one, tinted = scenes[index], scenes[index].rgb.copy()
        tinted[found[index] > 0] = tinted[found[index] > 0] // 2 + np.array([127, 20, 40], np.uint8)
        tinted[(one.truth > 0) & (found[index] == 0)] = (40, 90, 255)
        tinted[one.mask > 0] = 255
        rows.append(np.hstack([one.rgb, tinted]))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


@dataclass(frozen=True)
class Score:
    """Recall of the shadow's pixels, as found and after the 4 pixels by which a run grows masks; false: share of the
    frame that is found further than 4 pixels from shadow and object."""

    recall: float
    grown: float
    false: float


def score(scenes: list[Scene], found: list[NDArray[np.uint8]]) -> Score:
    """Over all frames of a clip."""
    disc, square = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)), np.ones((9, 9), np.uint8)
    pairs = list(zip(found, scenes, strict=True))
    whole = max(sum(int(one.truth.sum()) for one in scenes), 1)
    hit = sum(int((f & one.truth).sum()) for f, one in pairs)
    grown_hit = sum(int(((cv2.dilate(f | one.mask, disc) > 0) & (one.truth > 0)).sum()) for f, one in pairs)
    false = [float(((f > 0) & (cv2.dilate(one.truth | one.mask, square) == 0)).mean()) for f, one in pairs]
    return Score(hit / whole, grown_hit / whole, sum(false) / len(false))


def main() -> None:
    """Prints a table, a row a clip and light."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--clips", nargs="*", default=CLIPS)
    parser.add_argument("--lights", nargs="*", default=tuple(LIGHTS))
    parser.add_argument("--walk", choices=WALKS, default=WALKS[0])
    given = parser.parse_args()
    grounds = named_grounds(given.clips, COUNT, SIZE)
    grounds["drawn"] = moving_ground(COUNT, SIZE, 1)
    for (name, ground), light in itertools.product(grounds.items(), given.lights):
        scenes = [scene(frame, i, len(ground), given.walk, LIGHTS[light]) for i, frame in enumerate(ground)]
        found = list(grown(scenes, ShadowOptions("reflection" if light == "reflection" else "shadow")))
        got = score(scenes, found)
        recalls = f"{got.recall:.2f} | {got.grown:.2f}" if light != "none" else "- | -"
        typer.echo(f"| {name} | {light} | {recalls} | {got.false:.2%} |")
        if given.pictures:
            sheet(scenes, found, given.pictures / f"{name}-{light.split(',')[0]}.png")


if __name__ == "__main__":
    main()
