"""The example clip, files in, files out, with the default weights: what the README promises, on its first frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from e2fgvi_cli.masks import Dilation, dilate
from e2fgvi_cli.quality.baselines import telea
from e2fgvi_cli.quality.metrics import hole_mse, psnr_from_mse

from ..conftest import ROOT, shared
from ..factories import read_folder, write_folder

EXAMPLE = ROOT / "examples" / "garage"
COUNT = 6


def decode(path: Path, count: int) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack(
            [f.to_ndarray(format="rgb24") for f, _ in zip(container.decode(video=0), range(count), strict=False)]
        )


@pytest.mark.slow
def test_the_example_is_filled_better_than_by_telea(e2fgvi: Any, tmp_path: Path) -> None:
    frames, truth = decode(EXAMPLE / "video.mp4", COUNT), decode(EXAMPLE / "background.mp4", COUNT)
    masks = read_folder(EXAMPLE / "masks")[:COUNT, ..., 0]
    write_folder(tmp_path / "frames", frames)
    write_folder(tmp_path / "masks", masks)
    write_folder(tmp_path / "truth", truth)
    done = e2fgvi(
        "inpaint",
        "-v",
        "frames",
        "-m",
        "masks",
        "-o",
        "out",
        "--reference",
        "truth",
        "--json",
        "--neighbor-stride",
        3,
        "--device",
        "cpu",
    )
    assert done.returncode == 0, done.stderr
    result = read_folder(tmp_path / "out")
    holes = [dilate((m > 127).astype(np.uint8), Dilation()) for m in masks]
    for picture, source, hole in zip(result, frames, holes, strict=True):
        assert np.array_equal(picture[hole == 0], source[hole == 0])
    errors = {
        name: float(np.mean([hole_mse(p, t, h) or 0.0 for p, t, h in zip(pictures, truth, holes, strict=True)]))
        for name, pictures in (
            ("network", result),
            ("telea", [telea(f, h) for f, h in zip(frames, holes, strict=True)]),
        )
    }
    assert json.loads(done.stdout)["scores"]["hole_psnr"] == pytest.approx(
        psnr_from_mse(errors["network"], 255), abs=0.01
    )
    assert psnr_from_mse(errors["network"], 255) > psnr_from_mse(errors["telea"], 255) + 1


@pytest.mark.slow
def test_a_real_clip_from_the_evaluation_set(e2fgvi: Any, tmp_path: Path) -> None:
    """Courtyard has a true empty scene: what is removed can be compared with what is really there."""
    clip = shared("eval", "courtyard")
    plate = read_folder_one(clip / "plate.png")
    valid = read_folder_one(clip / "plate_valid.png")[..., 0] == 255
    for name in ("frames", "object"):
        (tmp_path / name).mkdir()
        for path in sorted((clip / name).iterdir())[20:24]:
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    done = e2fgvi(
        "inpaint", "-v", "frames", "-m", "object", "-o", "out", "--neighbor-stride", 3, "--device", "cpu", "--no-cuts"
    )
    assert done.returncode == 0, done.stderr
    sources, results = read_folder(tmp_path / "frames"), read_folder(tmp_path / "out")
    masks = read_folder(tmp_path / "object")[..., 0]
    for source, result, mask in zip(sources, results, masks, strict=True):
        hole = ((mask > 127) & valid).astype(np.uint8)
        before, after = hole_mse(source, plate, hole), hole_mse(result, plate, hole)
        assert before is not None
        assert after is not None
        assert after < before / 2


def read_folder_one(path: Path) -> np.ndarray:
    import cv2

    return np.asarray(cv2.imread(str(path))[..., ::-1])
