"""`--start` and `--end` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ..factories import clip, holes, read_folder, write_folder

SIZE = (24, 32)
FAST = ("--device", "cpu", "--threads", 1, "--neighbor-stride", 2, "--max-references", 0)
ALL = ("inpaint", "-v", "frames", "-m", "masks")


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    write_folder(tmp_path / "frames", clip(8, *SIZE))
    write_folder(tmp_path / "masks", holes(8, *SIZE))
    write_folder(tmp_path / "truth", clip(8, *SIZE))
    return tmp_path


def test_only_the_part_is_read_and_written(e2fgvi: Any, scene: Path) -> None:
    arguments = (*ALL, "-o", "out", "--start", 3, "--end", "0:00.25", "--reference", "truth", *FAST)
    done = e2fgvi(*arguments, "--json", "--mask-dilation", 0)
    assert done.returncode == 0, done.stderr
    assert "3 frames are read: 3 to 5 of 0 to 7, from 0.125 s on" in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["frames"], summary["filled"]) == (3, 3)
    assert 10 < summary["scores"]["hole_psnr"] < 60, "the hole is scored against the same frames"
    result, source, hole = read_folder(scene / "out"), clip(8, *SIZE)[3:6], holes(8, *SIZE)[3:6] > 0
    assert np.array_equal(result[~hole], source[~hole])
    assert not np.array_equal(result[hole], source[hole])
    one = e2fgvi(*ALL, "--start", 3, "--end", 5, "--preview-frame", 4, "--mask-dilation", 0, "--json", *FAST)
    assert one.returncode == 0, one.stderr
    picture = cv2.imread(str(scene / json.loads(one.stdout)["output"]))[..., ::-1]
    assert np.array_equal(picture[:, -SIZE[1] :], result[1])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--start", "8"), 3, "--start 8: frames has frames 0 to 7, the last one at 0.292s; start before it"),
        (("--start", "12.5"), 2, "--start '12.5' is no whole frame; for seconds write 12.5s"),
        (("--end", "noon"), 2, "--end 'noon' is neither a frame (120) nor a time (4.5s or 1:04)"),
        (("--start", "5", "--end", "4"), 2, "--end 4 is not after --start 5: nothing is left of the clip"),
        (
            ("--start", "5", "--preview-frame", "4", "-o", "one.png"),
            3,
            "--preview-frame 4: there is no such frame in frames, of which are meant frames 5 to 7",
        ),
    ],
)
def test_a_part_that_cannot_be(e2fgvi: Any, scene: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = e2fgvi(*ALL, *arguments, *FAST)
    assert (done.returncode, done.stderr.strip().removeprefix("error: ")) == (code, said)
    assert not (scene / "results").exists()
