"""The whole way: captions are burnt into clips, `mask text` finds them, `inpaint` fills them, and the letters' place is
compared with the clean clip: `python -m measurements.caption_removal [--pictures DIR]`. Needs the extra [text]."""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from e2fgvi_cli.api import inpaint
from e2fgvi_cli.mask_tools.text import TextOptions, text_to_folder
from e2fgvi_cli.mask_tools.text_detection import text_detector
from e2fgvi_cli.options import InpaintOptions
from e2fgvi_cli.quality.metrics import psnr_from_mse

from .burnt import Picture, moving_ground, named_grounds
from .text_masks import COUNT, LOOKS, SIZE, captioned, read, written

CLIPS = ("androidx__london_01", "mdn__tosbattle_17", "gopro__karma_01", "ahmetozlu__cutl_00")
"""A pan, a fast drift, a drone that nearly hovers, a camera that stands still."""
GROWN = 4
"""Pixels around the letters that count, too: a run fills them."""


def filled(clip: Path, masks: Path, output: Path, device: str) -> list[Picture]:
    """The finished frames (H, W, 3)."""
    options = InpaintOptions(video=clip, mask=masks, output=output, device=device)
    return [np.asarray(one.rgb, np.uint8) for one in inpaint(options, write=False)]


def psnr(frames: list[Picture], clean: list[Picture], where: list[NDArray[np.bool_]]) -> float:
    """In dB, over the pixels (H, W) of all frames that count."""
    pairs = zip(frames, clean, where, strict=True)
    errors = np.concatenate([(f[w].astype(np.float64) - c[w]).ravel() for f, c, w in pairs])
    return psnr_from_mse(float((errors * errors).mean()), 255)


def main() -> None:
    """Prints a table, a row a clip and look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--clips", nargs="*", default=CLIPS)
    parser.add_argument("--looks", nargs="*", default=["sans, black outline"])
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    grounds = named_grounds(given.clips, COUNT, SIZE)
    grounds["drawn"] = moving_ground(COUNT, SIZE, 1)
    detect = text_detector(1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * GROWN + 1, 2 * GROWN + 1))
    for (name, clean), look in itertools.product(grounds.items(), given.looks):
        frames, truth = captioned(clean, LOOKS[look])
        where = [cv2.dilate(one, disc) > 0 for one in truth]
        with tempfile.TemporaryDirectory() as scratch:
            clip = written(frames, Path(scratch, "clip"))
            text_to_folder(clip, Path(scratch, "found"), TextOptions(), detect=detect)
            true = written(
                [np.repeat(one[..., None] * np.uint8(255), 3, axis=2) for one in truth], Path(scratch, "true")
            )
            by_found = filled(clip, Path(scratch, "found"), Path(scratch, "a"), given.device)
            by_true = filled(clip, true, Path(scratch, "b"), given.device)
            found = read(Path(scratch, "found"))
        scores = [psnr(one, clean, where) for one in (frames, by_found, by_true)]
        typer.echo(f"| {name} | {look} | " + " | ".join(f"{score:.1f}" for score in scores) + " |")
        if given.pictures:
            given.pictures.mkdir(parents=True, exist_ok=True)
            middle = COUNT // 2
            tinted = frames[middle].copy()
            tinted[found[middle] > 0] = (255, 0, 60)
            rows = [np.hstack([frames[middle], tinted]), np.hstack([by_found[middle], clean[middle]])]
            cv2.imwrite(str(given.pictures / f"{name}.png"), np.vstack(rows)[..., ::-1])


if __name__ == "__main__":
    main()
