"""`e2fgvi mask preview` on files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from e2fgvi_cli.commands.mask import mask_app
from e2fgvi_cli.comparison.ruler import LEFT, TOP
from e2fgvi_cli.errors import InputError
from e2fgvi_cli.mask_tools import jobs as mask_jobs
from e2fgvi_cli.masks import MaskOptions
from e2fgvi_cli.masks.inspection import FrameCoverage, coverage_warnings, looks_compressed, ranges, runaway
from e2fgvi_cli.video import images

from .hole_helpers import mask_folder
from .media import Recipe, make_clip

FLAT = np.zeros((64, 96), np.uint8)
FLAT[20:40, 30:70] = 255


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (FLAT, False),
        (cv2.GaussianBlur(FLAT, (0, 0), 0.6), False),
        (cv2.GaussianBlur(FLAT, (0, 0), 4), False),
        (cv2.imdecode(cv2.imencode(".jpg", FLAT, [cv2.IMWRITE_JPEG_QUALITY, 75])[1], 0), True),
        (cv2.imdecode(cv2.imencode(".jpg", FLAT, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 0), True),
        (np.zeros((9, 9), np.uint8), False),
    ],
    ids=["clean", "anti-aliased", "feathered", "jpeg-75", "jpeg-30", "empty"],
)
def test_compression_noise_is_told_from_soft_edges(picture: np.ndarray, expected: bool) -> None:
    assert looks_compressed(picture) is expected


def warnings_of(*shares: float) -> list[str]:
    return coverage_warnings([FrameCoverage(index, share) for index, share in enumerate(shares)])


def test_warnings() -> None:
    assert warnings_of(0.1, 0.11, 0.12) == []
    assert warnings_of(0, 0) == ["no frame has a hole: is the mask inverted, or --mask-threshold too high?"]
    assert warnings_of(0.1, 0, 0, 0.1) == ["2 of 4 frames have no hole (1-2)"]
    assert warnings_of(0.1, 0.96, 0.1)[0] == "1 of 3 frames are more than 95% hole (1): is the mask inverted?"
    assert warnings_of(0.1, 0.01, 0.1) == ["the hole's area jumps in 1 frames (1): a wrong mask among good ones?"]
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
    assert ranges(list(range(0, 20, 2))).endswith(", ...")


def test_a_mask_that_runs_away_is_flagged() -> None:
    growing = np.linspace(0.065, 0.17, 40).tolist()
    assert warnings_of(*growing) == [
        "the hole grows from 6.8% of the frame (frame 0) to 16.7% (frame 39): does the mask run away from its object?"
    ]
    assert warnings_of(*growing[:15], *growing[14::-1]) == []  # an object that comes nearer, a little
    assert warnings_of(*np.linspace(0.01, 0.035, 40)) == []  # of little area
    assert runaway([FrameCoverage(n, 0.3 if n == 10 else 0.1) for n in range(20)]) is None  # one wrong mask


def test_preview_draws_a_sheet_and_counts(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", Recipe())
    masks = mask_folder(tmp_path / "m", [f"{n}.png" for n in range(12)])
    (tmp_path / "m" / "3.png").write_bytes(cv2.imencode(".png", np.zeros((48, 64), np.uint8))[1].tobytes())
    arguments = [
        "preview",
        "--video",
        str(clip),
        "--mask",
        str(masks),
        "-o",
        str(tmp_path / "s.png"),
        "--mask-dilation",
        "0",
    ]
    result = CliRunner().invoke(mask_app, [*arguments, "--json", "--frames", "4"])
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["coverage"][:4] == [pytest.approx(1 / 64, abs=1e-5)] * 3 + [0]
    assert report["warnings"] == ["1 of 12 frames have no hole (3)"]
    sheet = images.read_image(tmp_path / "s.png")
    assert sheet.shape == (2 * (48 + TOP + 18), 3 * (64 + LEFT + 4), 3)
    assert sheet[18 + TOP - 2, LEFT + 50].tolist() == [200, 200, 200]  # the mark of pixel 50
    again = CliRunner().invoke(mask_app, arguments)
    assert isinstance(again.exception, InputError)
    table = CliRunner().invoke(mask_app, [*arguments, "--overwrite"])
    assert "warning: 1 of 12 frames have no hole (3)" in table.stdout


def test_preview_speaks_of_compressed_masks(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", Recipe(size=(64, 96)))
    cv2.imwrite(str(tmp_path / "m.jpg"), FLAT, [cv2.IMWRITE_JPEG_QUALITY, 60])
    report = mask_jobs.preview(clip, tmp_path / "m.jpg", MaskOptions(), None)
    assert any("lossy compression" in notice for notice in report.notices)
    assert report.sheet is None


def test_preview_says_each_warning_once(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", Recipe(frames=3))
    cv2.imwrite(str(tmp_path / "gray.png"), np.full((48, 64), 140, np.uint8))
    report = mask_jobs.preview(clip, tmp_path / "gray.png", MaskOptions(), None)
    assert report.warnings == [
        "mask gray.png looks like a photograph, not like a mask: is it the right file?",
        "3 of 3 frames are more than 95% hole (0-2): is the mask inverted?",
    ]
    assert report.notices == []
