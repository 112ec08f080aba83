#!/usr/bin/env python3
"""Fill a clip whose true background is known, and compare the score with fills that need no network.

    python examples/score_clip.py [CLIP] [options of e2fgvi inpaint]
    python examples/score_clip.py examples/garage --device cpu

CLIP is a folder with video.mp4, masks/ and background.mp4 (default: the garage beside this file). Shows the two ways to
use the program from Python: as a command with `--json`, and its measures as functions.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from e2fgvi_cli.masks import Dilation, dilate
from e2fgvi_cli.quality.baselines import median_clip, telea_clip
from e2fgvi_cli.quality.metrics import ClipSummary, score_clip

HOLE_THRESHOLD = 127
# the default of e2fgvi inpaint for frames of this size: every fill is scored on the hole that the network was given
DILATION = "4px"


def read_video(path: Path) -> NDArray[np.uint8]:
    """All frames: (t, H, W, 3) uint8 RGB."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def read_holes(folder: Path) -> NDArray[np.uint8]:
    """Masks in the order of their names, grown: (t, H, W) uint8, 1 = hole."""
    growth = Dilation.parse(DILATION)
    masks = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(folder.glob("*.png"))]
    return np.stack([dilate((np.asarray(mask) > HOLE_THRESHOLD).astype(np.uint8), growth) for mask in masks])


def run_inpaint(clip: Path, output: Path, options: list[str]) -> dict[str, object]:
    """Run the command; returns its JSON summary. Raises CalledProcessError with the command's exit code."""
    command = [sys.executable, "-m", "e2fgvi_cli", "inpaint", "--video", str(clip / "video.mp4")]
    command += [
        "--mask",
        str(clip / "masks"),
        "--mask-dilation",
        DILATION,
        "--output",
        str(output),
        "--lossless",
    ]
    finished = subprocess.run([*command, "--json", *options], check=True, stdout=subprocess.PIPE, text=True)
    summary: dict[str, object] = json.loads(finished.stdout.splitlines()[-1])
    return summary


def show(name: str, score: ClipSummary) -> None:
    """One line of the table."""
    print(
        f"{name:20}{score.hole_psnr:>10.2f}{score.hole_ssim:>10.4f}{score.composite_psnr:>12.2f}{score.flicker:>10.2f}"
    )


def main(arguments: list[str]) -> int:
    """Print the table; returns the exit code."""
    named = bool(arguments) and not arguments[0].startswith("-")
    clip = Path(arguments[0]) if named else Path(__file__).resolve().parent / "garage"
    frames, background, holes = (
        read_video(clip / "video.mp4"),
        read_video(clip / "background.mp4"),
        read_holes(clip / "masks"),
    )
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "filled.mp4"
        try:
            summary = run_inpaint(clip, output, arguments[1:] if named else arguments)
        except subprocess.CalledProcessError as error:
            return int(error.returncode)
        filled = read_video(output)
    print(f"{'':20}{'hole dB':>10}{'SSIM':>10}{'frame dB':>12}{'flicker':>10}")
    show("Telea", score_clip(telea_clip(frames, holes), background, holes))
    show("temporal median", score_clip(median_clip(frames, holes), background, holes))
    show("e2fgvi inpaint", score_clip(filled, background, holes))
    print(f"{summary['seconds_per_frame']:.2f} s a frame on {summary['device']}, weights {summary['weights']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
