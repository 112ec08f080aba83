"""`mask grow`: a square walks over a panning ground with a shadow beside it."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import e2fgvi_cli
from e2fgvi_cli.app import app
from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.mask_tools.grow_job import GrowOptions, grow_to_folder, spread
from e2fgvi_cli.mask_tools.shadow import reach_of
from e2fgvi_cli.masks import Dilation, MaskOptions

from .. import factories
from ..video.media import PORTRAIT_PHONE, Recipe, make_clip

COUNT, SIZE = 20, (72, 128)
OBJECT, SHADOW = (slice(20, 44), slice(0, 10)), (slice(44, 52), slice(4, 22))
"""Rows, and columns from where the object is."""


def column(index: int) -> int:
    return 6 + 4 * index


def at(index: int, place: tuple[slice, slice]) -> NDArray[np.uint8]:
    drawn = np.zeros(SIZE, np.uint8)
    drawn[place[0], place[1].start + column(index) : place[1].stop + column(index)] = 1
    return drawn


def walking(folder: Path, light: float = 0.6) -> tuple[Path, Path]:
    """Frames over which the camera pans by a pixel a frame, and the object's masks."""
    whole = factories.texture(SIZE[0], SIZE[1] + COUNT, seed=3) // 2 + 60
    frames, masks = [], []
    for index in range(COUNT):
        frame = whole[:, index : index + SIZE[1]].astype(np.float32)
        frame[at(index, SHADOW) > 0] *= light
        frame[at(index, OBJECT) > 0] = (200, 40, 40)
        frames.append(np.rint(frame).astype(np.uint8))
        masks.append(np.repeat(at(index, OBJECT)[..., None] * np.uint8(255), 3, axis=2))
    clip = factories.write_folder(folder / "clip", np.stack(frames))
    return clip, factories.write_folder(folder / "masks", np.stack(masks))


def read(folder: Path) -> NDArray[np.uint8]:
    return factories.read_folder(folder)[..., 0] // 255


def test_a_shadow_is_taken_in_and_nothing_else(tmp_path: Path) -> None:
    clip, masks = walking(tmp_path)
    arguments = ["mask", "grow", "--video", str(clip), "--mask", str(masks), "-o", str(tmp_path / "grown"), "--shadow"]
    done = CliRunner().invoke(app, [*arguments, "--preview", str(tmp_path / "sheet.png"), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (len(report["frames"]), report["unsure"]) == (COUNT, [])
    grown = read(tmp_path / "grown")
    for index in range(COUNT):
        truth, own = at(index, SHADOW), at(index, OBJECT)
        assert grown[index][own > 0].all()
        assert grown[index][truth > 0].mean() > 0.8, index
        near = cv2.dilate(truth | own, np.ones((9, 9), np.uint8))
        assert not grown[index][near == 0].any(), index
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[1] > 2 * 2 * SIZE[1]
    assert sorted(p.name for p in (tmp_path / "grown").iterdir()) == sorted(p.name for p in clip.iterdir())


def test_a_lighter_patch_is_a_reflection_and_no_shadow(tmp_path: Path) -> None:
    clip, masks = walking(tmp_path, light=1.35)
    done = e2fgvi_cli.grow_mask(clip, masks, tmp_path / "grown")
    assert (read(tmp_path / "grown") == read(masks)).all()
    assert done.notices[-1] == "no shadow was found: the masks are as they were"
    e2fgvi_cli.grow_mask(clip, masks, tmp_path / "mirrored", GrowOptions("reflection"))
    assert read(tmp_path / "mirrored")[10][at(10, SHADOW) > 0].mean() > 0.8


def test_the_bound_is_of_the_objects_longer_side() -> None:
    mask = at(0, OBJECT)
    allowed, side = reach_of(mask, 0.5)
    assert side == 24
    assert allowed[44 + 11, 10]
    assert not allowed[44 + 13, 10]
    assert not (allowed & mask).any()


def test_max_distance_cuts_the_shadow(tmp_path: Path) -> None:
    clip, masks = walking(tmp_path)
    grow_to_folder(clip, masks, tmp_path / "grown", GrowOptions(max_distance=0.2))
    grown = read(tmp_path / "grown")
    assert not grown[10][49:].any()
    assert (grown[10] > read(masks)[10]).any()


def test_an_object_that_does_not_move_over_the_ground_is_said(tmp_path: Path) -> None:
    whole = factories.texture(*SIZE, seed=3)
    clip = factories.write_folder(tmp_path / "clip", np.stack([whole] * 12))
    masks = factories.write_folder(
        tmp_path / "masks", np.stack([np.repeat(at(8, OBJECT)[..., None] * np.uint8(255), 3, axis=2)] * 12)
    )
    done = grow_to_folder(clip, masks, tmp_path / "grown")
    assert done.unsure == list(range(12))
    assert "in 12 frames no other frame shows the ground beside the object" in done.notices[-2]


def test_pixels_alone_and_a_clip_of_another_size(tmp_path: Path) -> None:
    clip, masks = walking(tmp_path)
    grow_to_folder(clip, masks, tmp_path / "grown", GrowOptions(kind=None, pixels=3))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    grown, wanted = read(tmp_path / "grown")[4], cv2.dilate(at(4, OBJECT), disc)
    assert abs(int(grown.sum()) - int(wanted.sum())) < 12
    large = np.stack([cv2.resize(f, (1280, 720)) for f in factories.read_folder(clip)[:3]])
    big = factories.write_folder(tmp_path / "large", large)
    grow_to_folder(big, masks / "00000.png", tmp_path / "large-masks")
    assert read(tmp_path / "large-masks").shape == (3, 720, 1280)


def test_masks_of_a_turned_clip_are_as_it_is_shown(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", Recipe(matrix=PORTRAIT_PHONE))
    shown = np.zeros((64, 48), np.uint8)
    shown[8:20, 18:30] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), shown)
    grow_to_folder(clip, tmp_path / "mask.png", tmp_path / "grown", GrowOptions(kind=None, pixels=2))
    grown = read(tmp_path / "grown")
    assert (grown == cv2.dilate(shown, np.ones((5, 5), np.uint8)) // 255).mean() > 0.99
    assert [p.name for p in sorted((tmp_path / "grown").iterdir())][:2] == ["000000.png", "000001.png"]


@pytest.mark.parametrize(
    ("more", "code", "sentence"),
    [
        ([], 2, "nothing to grow by: give --shadow, --reflection or --pixels N"),
        (["--shadow", "--max-distance", "0"], 2, "--max-distance 0 must be above 0 and at most 5"),
        (["--shadow", "--reflection"], 2, "--reflection takes shadows, too: give it without --shadow"),
        (["--shadow", "--preview", "sheet.jpg"], 3, "the sheet sheet.jpg should end in .png"),
    ],
)
def test_what_cannot_be_meant_is_said(tmp_path: Path, more: list[str], code: int, sentence: str) -> None:
    clip = factories.write_folder(tmp_path / "clip", factories.clip(2, *SIZE))
    mask = factories.write_folder(tmp_path / "masks", np.zeros((2, *SIZE, 3), np.uint8))
    target = tmp_path / "grown"
    arguments = ["mask", "grow", "--video", str(clip), "--mask", str(mask), "-o", str(target), *more]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code
    assert sentence in " ".join(done.output.split())
    assert not target.exists()


def test_masks_that_are_empty_give_nothing(tmp_path: Path) -> None:
    clip = factories.write_folder(tmp_path / "clip", factories.clip(3, *SIZE))
    mask = factories.write_folder(tmp_path / "masks", np.zeros((3, *SIZE, 3), np.uint8))
    with pytest.raises(InputError, match=r"no frame of .*masks has a mask, so there is nothing to grow"):
        grow_to_folder(clip, mask, tmp_path / "grown")
    assert not (tmp_path / "grown").exists()
    with pytest.raises(UsageError, match="halo is nothing a mask grows by; there are shadow and reflection"):
        GrowOptions("halo")


def numbered(folder: Path, palette: bool) -> Path:
    """Object 1 and, above its shadow, object 3 beside it; from frame 15 on object 3 alone."""
    folder.mkdir()
    for index in range(COUNT):
        picture = at(index, OBJECT) * np.uint8(index < 15)
        picture[50:60, 60:80] = 3
        if palette:
            paletted(folder / f"{index:05d}.png", picture)
        else:
            cv2.imwrite(str(folder / f"{index:05d}.png"), picture)
    return folder


def paletted(path: Path, numbers: NDArray[np.uint8]) -> None:
    """A PNG of a red, a green and a blue entry after black."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", numbers.shape[1], numbers.shape[0], 8, 3, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in numbers)
    colours = bytes([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    parts = (chunk(b"IHDR", head), chunk(b"PLTE", colours), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize("palette", [False, True], ids=["gray", "palette"])
def test_objects_stay_apart(tmp_path: Path, palette: bool) -> None:
    clip, _ = walking(tmp_path)
    masks = numbered(tmp_path / "ids", palette)
    grow_to_folder(clip, masks, tmp_path / "grown")
    grow_to_folder(clip, masks, tmp_path / "wider", GrowOptions(kind=None, pixels=2))
    for index in (5, 16):
        here = cv2.imread(str(tmp_path / "grown" / f"{index:05d}.png"), cv2.IMREAD_UNCHANGED)
        assert (here[55, 60:80] == 3).all()
        if index == 5:
            assert (here[at(index, OBJECT) > 0] == 1).all()
            assert (here[at(index, SHADOW) > 0] == 1).mean() > 0.6
        wide = cv2.imread(str(tmp_path / "wider" / f"{index:05d}.png"), cv2.IMREAD_UNCHANGED)
        assert (wide[48:50, 62:78] == 3).all()
        assert set(np.unique(wide)) == ({0, 1, 3} if index == 5 else {0, 3})
    one = MaskOptions(dilation=Dilation(0), ids=frozenset({3}))
    grow_to_folder(clip, masks, tmp_path / "third", GrowOptions(kind=None, pixels=2), masking=one)
    third = cv2.imread(str(tmp_path / "third" / "00005.png"), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(third)) == {0, 255}
    assert not third[at(5, OBJECT) > 0].any()


def test_a_grown_pixel_belongs_to_the_nearest_object() -> None:
    numbers = np.zeros((5, 12), np.uint8)
    numbers[2, 2], numbers[2, 9] = 7, 2
    hole = np.ones_like(numbers)
    hole[:, 0] = 0
    found = spread(numbers, hole)
    assert (found[:, 1:6] == 7).all()
    assert (found[:, 6:] == 2).all()
    assert not found[:, 0].any()
    assert (spread(numbers * 0, hole) == hole).all()
