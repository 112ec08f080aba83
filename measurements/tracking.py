"""How well `mask track` follows: `python -m measurements.tracking [--engine own] [--clips dog cows] [--eval FOLDER]`.

Each clip of ../shared/eval (frames/ and the true masks object/) is followed from its first frame three times: from the
true mask, from the box around it, and from the mask with the true mask of the middle frame as a correction. Printed is
the mean IoU over all frames but those that were given, and how well the confidence tells a frame's IoU.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from e2fgvi_cli.mask_tools.engines import build_engine
from e2fgvi_cli.mask_tools.follower import MakeFollower, Prompts
from e2fgvi_cli.mask_tools.track_job import DOUBTFUL
from e2fgvi_cli.mask_tools.tracking import mask_from_box, overlap
from e2fgvi_cli.mask_tools.walking import Anchor, KnownMask, walk
from e2fgvi_cli.types import HoleArray, PixelArray

STARTS = ("mask", "box", "corrected")


class KnownBox:
    """An anchor whose box (left, top, right, bottom) is known."""

    def __init__(self, box: tuple[float, float, float, float]) -> None:
        self.box = box

    def mask(self, rgb: PixelArray, arrived: HoleArray | None) -> HoleArray:
        left, top, right, bottom = self.box
        return mask_from_box(rgb, (left, top, right - left, bottom - top))

    def prompts(self, shape: tuple[int, ...]) -> Prompts | None:
        return Prompts(box=self.box)


def box_around(mask: HoleArray) -> KnownBox:
    """The upright box around a mask."""
    x, y, width, height = cv2.boundingRect(mask)
    return KnownBox((float(x), float(y), float(x + width), float(y + height)))


def scored(
    frames: list[PixelArray], truth: list[HoleArray], make: MakeFollower, start: str
) -> tuple[list[float], list[float]]:
    """IoU and confidence of every frame that was not given."""
    middle = len(frames) // 2
    anchors: dict[int, Anchor] = {0: box_around(truth[0]) if start == "box" else KnownMask(truth[0])}
    if start == "corrected":
        anchors[middle] = KnownMask(truth[middle])
    given = set() if start == "box" else set(anchors)
    steps = sorted(walk(frames.__getitem__, len(frames), anchors, make), key=lambda step: step.frame)
    steps = [step for step in steps if step.frame not in given]
    return [overlap(step.mask, truth[step.frame]) for step in steps], [step.confidence for step in steps]


def read_clip(folder: Path) -> tuple[list[PixelArray], list[HoleArray]]:
    """Frames and true masks."""
    frames: list[PixelArray] = [
        np.asarray(cv2.imread(str(file)), np.uint8)[..., ::-1].copy() for file in _files(folder / "frames")
    ]
    masks = [np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)) for file in _files(folder / "object")]
    return frames, [(mask > 127).astype(np.uint8) for mask in masks]


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in (".jpg", ".png"))


def ranked(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks, for the correlation of ranks."""
    return np.argsort(np.argsort(values)).astype(np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="own")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--clips", nargs="*", default=[])
    parser.add_argument("--eval", type=Path, default=Path("../shared/eval"))
    parser.add_argument("--file", type=Path, help="weights of our network other than the installed ones")
    given = parser.parse_args()
    make = made_from(given.file) if given.file else build_engine(given.engine, device=given.device).make
    clips = given.clips or sorted(one.name for one in given.eval.iterdir() if one.is_dir())
    rows: list[list[float]] = []
    overlaps: list[float] = []
    confidences: list[float] = []
    typer.echo("clip".ljust(22) + "".join(start.rjust(11) for start in STARTS))
    for clip in clips:
        frames, truth = read_clip(given.eval / clip)
        found = [scored(frames, truth, make, start) for start in STARTS]
        rows.append([float(np.mean(one)) for one, _ in found])
        for one, sure in found:
            overlaps += one
            confidences += sure
        typer.echo(clip.ljust(22) + "".join(f"{value:11.3f}" for value in rows[-1]))
    typer.echo("mean".ljust(22) + "".join(f"{value:11.3f}" for value in np.mean(rows, axis=0)))
    wrong, flagged = np.array(overlaps) < DOUBTFUL, np.array(confidences) < DOUBTFUL
    both = int((wrong & flagged).sum())
    typer.echo(
        f"{len(wrong)} frames; IoU below {DOUBTFUL}: {wrong.sum()}, of which to look at: {both}; "
        f"to look at: {flagged.sum()}"
    )
    correlation = np.corrcoef(ranked(np.array(overlaps)), ranked(np.array(confidences)))[0, 1]
    typer.echo(f"rank correlation of confidence and IoU: {correlation:.2f}")


def made_from(path: Path) -> MakeFollower:
    """Followers of a file, on the CPU."""
    import torch

    from e2fgvi_cli.mask_tools.learned import LearnedFollower, read_network

    return functools.partial(LearnedFollower, read_network(path), torch.device("cpu"))


if __name__ == "__main__":
    main()
