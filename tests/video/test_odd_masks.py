"""Odd media given as masks: pages, moving pictures, alpha planes, names, and what is no mask at all."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from e2fgvi_cli.errors import InputError
from e2fgvi_cli.masks import Dilation, MaskOptions
from e2fgvi_cli.video import open_holes, open_reader
from e2fgvi_cli.video.masks.files import read_palette

from . import odd_media
from .media import Recipe, make_clip
from .odd_media import SIZE, alpha_clip, palette_mask


@pytest.mark.parametrize("name", ["m%02d.png", "m:1.png", "50%.png", "reel #2?.png"])
def test_palette_mask_of_an_odd_name_is_not_its_neighbour(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = np.zeros(SIZE, np.uint8)
    own[:20] = 1
    for neighbour in ("m00.png", "m01.png"):
        palette_mask(Path(neighbour), 1 - own)
    palette = read_palette(palette_mask(Path(name), own))
    assert palette is not None
    assert (palette[0] == own).all()


def mask_columns(mask: Path, frames: int = 4) -> list[list[int]]:
    """Columns with a hole in each frame of a plain clip that `mask` is given with."""
    clip = make_clip(mask.parent / "clip.mp4", Recipe(frames=frames))
    with open_reader(clip) as reader, open_holes(mask, reader.info, MaskOptions(dilation=Dilation(0))) as holes:
        return [np.flatnonzero(holes.hole_at(frame).any(axis=0)).tolist() for frame in reader]


def moving_mask(index: int) -> np.ndarray:
    """White from column 10 * index on, 5 wide."""
    mask = np.zeros(SIZE, np.uint8)
    mask[10:20, 10 * index : 10 * index + 5] = 255
    return mask


MOVING = [list(range(10 * index, 10 * index + 5)) for index in range(4)]


def test_masks_in_the_pages_of_a_tiff_are_one_a_frame(tmp_path: Path) -> None:
    assert cv2.imwritemulti(str(tmp_path / "m.tif"), [moving_mask(index) for index in range(4)])
    assert mask_columns(tmp_path / "m.tif") == MOVING


def test_masks_of_an_animated_png_are_one_a_frame(tmp_path: Path) -> None:
    odd_media.moving_png(tmp_path, [np.dstack([moving_mask(index)] * 3) for index in range(4)])
    assert mask_columns(tmp_path / "moving.png") == MOVING


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libvpx"])
def test_alpha_of_a_webm_is_the_mask(codec: str, tmp_path: Path) -> None:
    """The left third is transparent, and by the rule for alpha channels that smaller part is the hole; colours say
    nothing."""
    columns = mask_columns(alpha_clip(codec)(tmp_path))
    assert all(found[0] == 0 and 18 < found[-1] < 24 for found in columns)


def test_masks_for_packets_that_are_no_pictures_are_counted_by_pictures(tmp_path: Path) -> None:
    source = odd_media.hidden_frames(tmp_path)
    with av.open(str(source)) as container:
        packets = sum(packet.size > 0 for packet in container.demux(video=0))
    assert packets == 40
    folder = tmp_path / "masks"
    folder.mkdir()
    for number in range(37):
        cv2.imwrite(str(folder / f"{number + 1:05d}.png"), moving_mask(number % 4))
    with open_reader(source) as reader, open_holes(folder, reader.info, MaskOptions(dilation=Dilation(0))) as holes:
        found = [np.flatnonzero(holes.hole_at(frame).any(axis=0)).tolist() for frame in reader]
    assert found == (MOVING * 10)[:37]


@pytest.mark.parametrize("colour_type", [2, 3])
def test_a_mask_far_larger_than_the_clip_is_refused_by_its_header(colour_type: int, tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    path.write_bytes(odd_media.png_bytes((5000, 5000), b"", colour_type=colour_type))
    with pytest.raises(InputError) as caught:
        mask_columns(path)
    assert str(caught.value) == (
        f"cannot read image {path}: it is 5000x5000, more than the 16777216 pixels an image may have here; scale "
        "it down"
    )


def test_a_pipe_as_mask_is_refused_at_once(tmp_path: Path) -> None:
    path = odd_media.pipe(tmp_path).rename(tmp_path / "m.png")
    with pytest.raises(InputError, match="is a pipe, not a file"):
        mask_columns(path)
