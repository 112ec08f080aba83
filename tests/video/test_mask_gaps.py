"""`--grow-gaps`: masks that a detector missed."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from e2fgvi_cli.masks import Dilation, MaskOptions
from e2fgvi_cli.types import HoleArray
from e2fgvi_cli.video import open_holes, open_random_access

from .hole_helpers import holes_of
from .media import Recipe, make_clip

BRIDGED = MaskOptions(dilation=Dilation(0), grow_gaps=True)
FRAMES = 12


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("gaps") / "clip.mp4", Recipe(frames=FRAMES))


def truth(index: int) -> HoleArray:
    """A square that goes right by three pixels a frame."""
    hole = np.zeros((48, 64), np.uint8)
    hole[20:30, 3 * index : 3 * index + 10] = 1
    return hole


def folder(path: Path, present: set[int], empty: frozenset[int] = frozenset()) -> Path:
    path.mkdir()
    for index in present | empty:
        cv2.imwrite(str(path / f"{index:05d}.png"), truth(index) * 255 * (index in present))
    return path


def test_missing_and_empty_masks_are_bridged_where_the_object_is_on_both_sides(clip: Path, tmp_path: Path) -> None:
    masks = folder(tmp_path / "m", {2, 3, 6, 9}, empty=frozenset({4, 5, 11}))
    holes, notices = holes_of(clip, masks, BRIDGED)
    for index in range(FRAMES):
        assert np.array_equal(holes[index], truth(index) * (2 <= index <= 9)), index
    assert "5 of 12 frames have no mask and are bridged where they lie between masks" in notices
    assert notices[-1] == (
        "--grow-gaps: 4 frames without a mask are bridged (4-5, 7-8); 4 have no mask within 30 frames on both sides "
        "(0-1, 10-11)"
    )
    plain, _ = holes_of(clip, masks, MaskOptions(dilation=Dilation(0)))
    assert [index for index, hole in enumerate(plain) if hole.any()] == [2, 3, 6, 9]


def test_gaps_of_a_mask_video(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray"
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(truth(index) * 255 * (index % 4 == 1), "gray")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    holes, _ = holes_of(clip, path, BRIDGED)
    assert [np.array_equal(holes[index], truth(index)) for index in range(1, 10)] == [True] * 9
    assert not holes[0].any()
    assert not holes[10].any()
    with open_random_access(clip) as access, open_holes(path, access.info, BRIDGED) as from_the_middle:
        assert np.array_equal(from_the_middle.hole_at(access.frame(7)), truth(7))


def test_long_gaps_stay(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", Recipe(frames=40))
    (tmp_path / "m").mkdir()
    for index in (0, 31, 39):
        cv2.imwrite(str(tmp_path / "m" / f"{index:05d}.png"), truth(3) * 255)
    holes, _ = holes_of(source, tmp_path / "m", BRIDGED)
    assert all(np.array_equal(hole, truth(3)) for hole in holes)
    (tmp_path / "m" / "00031.png").rename(tmp_path / "m" / "00032.png")
    holes, _ = holes_of(source, tmp_path / "m", BRIDGED)
    assert [index for index, hole in enumerate(holes) if not hole.any()] == list(range(1, 32))
