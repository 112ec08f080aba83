"""What docs/python.md shows runs as it stands there, on a clip of a few small frames."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from e2fgvi_cli.video import OutputOptions, open_reader, open_writer

from ..conftest import ROOT

EXAMPLES = re.findall(r"^## ([^\n]+)\n.*?```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.M | re.S)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """clip.mp4 and clips/a.mp4 of four frames of 48x64, masks/ and clips/a.png."""
    mask = np.zeros((48, 64), np.uint8)
    mask[16:32, 24:40] = 255
    for folder in ("frames", "masks", "clips"):
        (tmp_path / folder).mkdir()
    for index in range(4):
        picture = np.random.default_rng(index).integers(0, 256, (48, 64, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "frames" / f"{index:05d}.png"), cv2.GaussianBlur(picture, (0, 0), 3))
        cv2.imwrite(str(tmp_path / "masks" / f"{index:05d}.png"), mask)
    cv2.imwrite(str(tmp_path / "clips" / "a.png"), mask)
    for target in (tmp_path / "clip.mp4", tmp_path / "clips" / "a.mp4"):
        with (
            open_reader(tmp_path / "frames") as reader,
            open_writer(target, reader.info, OutputOptions()) as writer,
        ):
            for frame in reader:
                writer.write(frame, None, None)
    return tmp_path


def with_a_caption(clip: Path) -> None:
    """Two frames that are large enough to read what stands in them."""
    picture = np.full((96, 160, 3), 60, np.uint8)
    cv2.putText(picture, "HELLO", (30, 70), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
    (clip.parent / "captioned").mkdir()
    for index in range(2):
        cv2.imwrite(str(clip.parent / "captioned" / f"{index:05d}.png"), picture)
    with (
        open_reader(clip.parent / "captioned") as reader,
        open_writer(clip, reader.info, OutputOptions(overwrite=True)) as writer,
    ):
        for frame in reader:
            writer.write(frame, None, None)


@pytest.mark.slow
@pytest.mark.parametrize(("title", "code"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_an_example_of_the_page_runs(scene: Path, title: str, code: str) -> None:
    if title == "Masks by code":
        code = code.replace("1600,40,260,90", "24,16,16,16")
    if title == "Masks that follow":
        for written, small in (
            ("40, 60, 120, 200", "20, 12, 24, 24"),
            ("50, 70", "22, 14"),
            ("60, 210, 90", "2, 40, 30"),
            ("300, 90, 50, 80", "44, 4, 16, 16"),
        ):
            assert written in code
            code = code.replace(written, small)
    if title == "Captions":
        pytest.importorskip("rapidocr_onnxruntime")
        with_a_caption(scene / "clip.mp4")
    (scene / "example.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=scene, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = {"Many clips": "out/a.mp4", "Masks that follow": "followed/000003.png"}.get(title, "clean.mp4")
    assert (scene / made).stat().st_size > 0
    assert done.stdout


def test_the_page_has_them_all() -> None:
    assert [title for title, _ in EXAMPLES] == [
        "Frames as they are finished",
        "Progress and cancelling",
        "Masks by code",
        "Masks that follow",
        "Captions",
        "Many clips",
    ]
