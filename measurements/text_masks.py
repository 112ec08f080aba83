"""How well `mask text` and `mask logo` find what was burnt into clips: `python -m measurements.text_masks
[--pictures DIR]`. Needs the extra [text]."""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from e2fgvi_cli.errors import UserError
from e2fgvi_cli.mask_tools.logo import LogoOptions, logo_to_file
from e2fgvi_cli.mask_tools.shown import Region
from e2fgvi_cli.mask_tools.text import TextOptions, text_to_folder
from e2fgvi_cli.mask_tools.text_detection import text_detector

from .burnt import Look, Picture, burnt, moving_ground, score, shared_grounds, text_layer

SIZE, COUNT = (240, 432), 24
FROM, TO = 5, 19
CORNER = Region(290, 4, 138, 50)
LOOKS = {
    "sans, black outline": Look("DejaVuSans.ttf", (255, 255, 255), 2, 1.0, 0.075),
    "bold, yellow, outline": Look("DejaVuSans-Bold.ttf", (255, 225, 40), 2, 1.0, 0.08),
    "serif, no outline": Look("DejaVuSerif.ttf", (255, 255, 255), 0, 1.0, 0.085),
    "mono, 70 % opaque": Look("DejaVuSansMono-Bold.ttf", (255, 255, 255), 1, 0.7, 0.07),
    "bold, 45 % opaque": Look("DejaVuSans-Bold.ttf", (255, 255, 255), 0, 0.45, 0.08),
}
TEXT = ("The night train leaves at nine", "Wait for me at the bridge")


def captioned(ground: list[Picture], look: Look) -> tuple[list[Picture], list[NDArray[np.uint8]]]:
    """The clip with one caption from frame FROM up to TO, another from there on, and the truth."""
    layers = [text_layer(text, look, SIZE, (0.5, 0.86)) for text in TEXT]
    frames, truth = [], []
    for index, frame in enumerate(ground):
        which = None if index < FROM else 0 if index < TO else 1
        colours, alpha = layers[which or 0]
        frames.append(frame if which is None else burnt(frame, colours, alpha))
        truth.append(((alpha > 0.05) & (which is not None)).astype(np.uint8))
    return frames, truth


def written(frames: list[Picture], folder: Path) -> Path:
    """The clip as PNG files."""
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{index:05d}.png"), frame[..., ::-1])
    return folder


def read(folder: Path) -> list[NDArray[np.uint8]]:
    """Masks in order."""
    return [np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), np.uint8) for file in sorted(folder.glob("*.png"))]


def shown(frames: list[Picture], masks: list[NDArray[np.uint8]], path: Path) -> None:
    """A picture of some frames with their masks' outlines in red."""
    rows = []
    for index in (FROM - 1, FROM, len(frames) // 2, TO, len(frames) - 1):
        tinted = frames[index].copy()
        tinted[masks[index] > 0] = (0.4 * tinted[masks[index] > 0] + 0.6 * np.array([255, 0, 60])).astype(np.uint8)
        rows.append(np.hstack([frames[index], tinted]))
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


def measure_logo(name: str, ground: list[Picture], opacity: float, pictures: Path | None) -> str:
    """A row of the table: a word in a corner, on every frame."""
    look = Look("DejaVuSans-Bold.ttf", (255, 255, 255), 1, opacity, 0.09)
    colours, alpha = text_layer("NINE TV", look, SIZE, (0.84, 0.11))
    frames = [burnt(frame, colours, alpha) for frame in ground]
    truth = (alpha > 0.05 * opacity).astype(np.uint8)
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch, "logo.png")
        try:
            logo_to_file(written(frames, Path(scratch, "clip")), target)
            how = ""
        except UserError:  # the camera stands still
            logo_to_file(Path(scratch, "clip"), target, LogoOptions(region=CORNER))
            how = " (--region)"
        mask = np.asarray(cv2.imread(str(target), cv2.IMREAD_GRAYSCALE), np.uint8)
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
        shown(frames, [mask] * len(frames), pictures / f"{name}-logo-{opacity}.png")
    got = score([mask], [truth])
    return f"{got.recall:.3f} | {got.false_area:.3%}{how}"


def main() -> None:
    """Prints a table, a row a clip and look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--clips", type=int, default=3)
    given = parser.parse_args()
    grounds = shared_grounds(given.clips, COUNT, SIZE) or {}
    grounds["drawn"] = moving_ground(COUNT, SIZE, 1)
    for (name, ground), opacity in itertools.product(grounds.items(), (1.0, 0.6, 0.35)):
        row = measure_logo(name, ground, opacity, given.pictures)
        typer.echo(f"| {name} | logo, {opacity:.0%} opaque | {row} |")
    detect = text_detector(1)
    for (name, ground), (look_name, look) in itertools.product(grounds.items(), LOOKS.items()):
        with tempfile.TemporaryDirectory() as scratch:
            frames, truth = captioned(ground, look)
            clip, target = written(frames, Path(scratch, "clip")), Path(scratch, "masks")
            try:
                text_to_folder(clip, target, TextOptions(), detect=detect)
            except UserError as error:
                typer.echo(f"| {name} | {look_name} | {error} |")
                continue
            masks = read(target)
            got = score(masks, truth)
            typer.echo(f"| {name} | {look_name} | {got.recall:.3f} | {got.false_area:.3%} |")
            if given.pictures:
                given.pictures.mkdir(parents=True, exist_ok=True)
                shown(frames, masks, given.pictures / f"{name}-{look_name.replace(' ', '_')}.png")


if __name__ == "__main__":
    main()
