"""What the samples of masks mean: decided for the folder as a whole, said, and refused where nothing would be
filled."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from e2fgvi_cli.masks import Dilation, MaskOptions

from .hole_helpers import holes_of, marked, numbers, refused
from .media import Recipe, make_clip, picture

SIZE = (48, 64)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("kinds") / "clip.mp4", Recipe(frames=3))


def save(folder: Path, pictures: Mapping[str, np.ndarray[Any, Any]]) -> Path:
    folder.mkdir()
    for name, samples in pictures.items():
        cv2.imwrite(str(folder / name), samples)
    return folder


def folder_of(path: Path, *samples: np.ndarray[Any, Any]) -> Path:
    return save(path, {f"{index}.png": one for index, one in enumerate(samples)})


# ---- alpha, palettes, ids


def test_alpha_channel_is_the_mask(clip: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), np.dstack([np.full((48, 64, 3), 200, np.uint8), marked(7)]))
    holes, notices = holes_of(clip, tmp_path / "m.png")
    assert numbers(holes) == [7] * 3
    assert notices == ["mask m.png has transparency: its alpha channel is the mask, its colours are not"]


def write_palette(path: Path, indices: np.ndarray, colours: list[tuple[int, int, int]]) -> None:
    """A palette PNG, through PyAV's encoder."""
    encoder = av.CodecContext.create("png", "w")
    encoder.height, encoder.width, encoder.pix_fmt, encoder.time_base = *indices.shape, "pal8", Fraction(1, 25)
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 0] = 255
    palette[: len(colours), 1:] = colours
    frame = av.VideoFrame.from_ndarray((indices, palette), format="pal8")
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))


DAVIS_COLOURS = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (64, 0, 0)]


def test_palette_of_objects(clip: Path, tmp_path: Path) -> None:
    indices = np.zeros((48, 64), np.uint8)
    indices[:, 5], indices[:, 20], indices[:, 40] = 1, 2, 3
    write_palette(tmp_path / "m.png", indices, DAVIS_COLOURS)
    holes, notices = holes_of(clip, tmp_path / "m.png")
    assert np.flatnonzero(holes[0].any(axis=0)).tolist() == [5, 20, 40]  # (64, 0, 0) is below any sane threshold
    assert notices == ["mask m.png is a palette image: read as object numbers (here 1, 2, 3)"]
    holes, _ = holes_of(clip, tmp_path / "m.png", MaskOptions(ids=frozenset({1, 3}), dilation=Dilation(0)))
    assert np.flatnonzero(holes[0].any(axis=0)).tolist() == [5, 40]


def test_gray_palette_is_a_gray_picture(clip: Path, tmp_path: Path) -> None:
    write_palette(tmp_path / "m.png", (marked(9) == 0).astype(np.uint8), [(255, 255, 255), (0, 0, 0)])
    assert numbers(holes_of(clip, tmp_path / "m.png")[0]) == [9] * 3


def test_object_numbers_in_gray(clip: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), marked(4) // 255 * 2 + marked(6) // 255 * 5)
    options = MaskOptions(ids=frozenset({5}), dilation=Dilation(0))
    assert numbers(holes_of(clip, tmp_path / "m.png", options)[0]) == [6] * 3
    holes, notices = holes_of(clip, tmp_path / "m.png")
    assert np.flatnonzero(holes[0].any(axis=0)).tolist() == [4, 6]
    assert notices == [
        "mask m.png has no level above 5: read as object numbers (here 2, 5); --mask-ids takes some of them"
    ]
    message = refused(clip, tmp_path / "m.png", MaskOptions(ids=frozenset({2, 7})))
    assert message == "--mask-ids 7: no mask has that number; they hold 0, 2, 5"


def test_object_numbers_of_a_colour_image(clip: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), picture(0, (48, 64)))
    message = refused(clip, tmp_path / "m.png", MaskOptions(ids=frozenset({1})))
    assert (
        message == "--mask-ids needs object numbers, and mask m.png is a colour image; save it as gray or palette PNG"
    )


NEARLY_GRAY = [(1, 0, 2), (254, 255, 252)]


def test_nearly_gray_palettes_are_pictures_whatever_their_order(clip: Path, tmp_path: Path) -> None:
    """As quantising a black and white picture leaves them: index 0 is white in one file, black in the next."""
    (tmp_path / "m").mkdir()
    for index, colours in enumerate((NEARLY_GRAY, NEARLY_GRAY[::-1], NEARLY_GRAY)):
        white = colours.index(NEARLY_GRAY[1])
        write_palette(
            tmp_path / "m" / f"{index}.png", np.where(marked(index) > 0, white, 1 - white).astype(np.uint8), colours
        )
    holes, notices = holes_of(clip, tmp_path / "m")
    assert (numbers(holes), [int(hole.sum()) for hole in holes], notices) == ([0, 1, 2], [48] * 3, [])


def test_one_coloured_palette_makes_all_of_the_folder_object_numbers(clip: Path, tmp_path: Path) -> None:
    """The object that is gray (as the seventh of DAVIS) is one, too, though its own file shows no colour."""
    (tmp_path / "m").mkdir()
    colours = [(0, 0, 0), (128, 0, 0), (64, 64, 64)]
    for index, number in enumerate((2, 1, 2)):
        write_palette(tmp_path / "m" / f"{index}.png", marked(index) // 255 * np.uint8(number), colours)
    holes, notices = holes_of(clip, tmp_path / "m")
    assert numbers(holes) == [0, 1, 2]
    assert notices == ["mask 1.png is a palette image: read as object numbers (here 1)"]


def test_black_is_the_background_of_a_palette_that_begins_with_another_colour(clip: Path, tmp_path: Path) -> None:
    write_palette(tmp_path / "m.png", np.where(marked(9) > 0, 0, 1).astype(np.uint8), [(200, 0, 0), (0, 0, 0)])
    holes, notices = holes_of(clip, tmp_path / "m.png")
    assert (numbers(holes), int(holes[0].sum())) == ([9] * 3, 48)
    assert notices == [
        "mask m.png is a palette image: read as object numbers (here 0); 1, which is black, is the background"
    ]


# ---- 0 and 1, 16 bits


def test_zero_and_one(clip: Path, tmp_path: Path) -> None:
    blank = np.zeros(SIZE, np.uint8)
    masks = folder_of(tmp_path / "m", blank, marked(4) // 255, marked(5) // 255)
    holes, notices = holes_of(clip, masks)
    assert numbers(holes) == [None, 4, 5]
    assert notices == ["mask 1.png holds only 0 and 1: 1 is taken as white"]


def test_zero_and_one_in_one_file_of_a_folder_of_levels_is_faint(clip: Path, tmp_path: Path) -> None:
    masks = folder_of(tmp_path / "m", marked(3), marked(4), marked(5) // 255)
    assert numbers(holes_of(clip, masks)[0]) == [3, 4, None]


def test_16_bits_that_hold_8(clip: Path, tmp_path: Path) -> None:
    masks = folder_of(tmp_path / "m", *(marked(n).astype(np.uint16) for n in range(3)))
    holes, notices = holes_of(clip, masks)
    assert numbers(holes) == [0, 1, 2]
    assert notices == ["mask 0.png has 16 bits and no level above 255: its levels are taken as those of 8 bits"]


def test_16_bits_of_which_one_file_is_white_are_16_bits(clip: Path, tmp_path: Path) -> None:
    masks = folder_of(tmp_path / "m", *(marked(n).astype(np.uint16) * factor for n, factor in enumerate((257, 257, 1))))
    assert numbers(holes_of(clip, masks)[0]) == [0, 1, None]


def test_object_numbers_of_16_bits(clip: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), marked(4).astype(np.uint16) // 255 * 1001)
    holes, notices = holes_of(clip, tmp_path / "m.png")
    assert (numbers(holes), notices) == ([4] * 3, ["mask m.png holds only 0 and 1001: 1001 is taken as white"])


def test_dark_colours_of_objects(clip: Path, tmp_path: Path) -> None:
    """A DAVIS palette that was saved as RGB: the eighth colour is (64, 0, 0)."""
    rgb = np.zeros((*SIZE, 3), np.uint8)
    rgb[:, 3], rgb[:, 9] = (0, 0, 128), (0, 0, 64)  # BGR
    cv2.imwrite(str(tmp_path / "m.png"), rgb)
    holes, notices = holes_of(clip, tmp_path / "m.png")
    assert np.flatnonzero(holes[0].any(axis=0)).tolist() == [3, 9]
    assert notices == ["mask m.png is of few colours, some of them dark: every one but black is taken as hole"]


def test_soft_masks_below_the_threshold_are_refused(clip: Path, tmp_path: Path) -> None:
    faint = np.tile(np.arange(64, dtype=np.uint8) + 30, (48, 1))
    cv2.imwrite(str(tmp_path / "m.png"), faint)
    assert refused(clip, tmp_path / "m.png") == (
        "no mask has a level above the threshold 127: the highest is 93, in m.png; lower --mask-threshold, or "
        "use --mask-ids for images of object numbers"
    )
    cv2.imwrite(str(tmp_path / "m.png"), marked(3) // 255 * 150)
    assert "above the threshold 200: the highest is 150" in refused(
        clip, tmp_path / "m.png", MaskOptions(threshold=200)
    )
    assert numbers(holes_of(clip, tmp_path / "m.png")[0]) == [3] * 3


def test_noise_of_compression_is_not_a_number(clip: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 8, SIZE).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "m.jpg"), noise, [cv2.IMWRITE_JPEG_QUALITY, 98])
    holes, notices = holes_of(clip, tmp_path / "m.jpg")
    assert not holes[0].any()
    assert notices == ["warning: mask m.jpg has no hole: is it inverted, or --mask-threshold too high?"]


# ---- transparency


def rgba(index: int, inside: int, outside: int) -> np.ndarray[Any, Any]:
    """A picture whose alpha is `inside` in column `index`."""
    alpha = np.where(marked(index) > 0, inside, outside).astype(np.uint8)
    return np.dstack([picture(index, SIZE), alpha])


def test_an_erased_hole_is_the_transparent_part(clip: Path, tmp_path: Path) -> None:
    masks = folder_of(tmp_path / "m", *(rgba(n, 0, 255) for n in range(3)))
    holes, notices = holes_of(clip, masks)
    assert (numbers(holes), int(holes[0].sum())) == ([0, 1, 2], 48)
    assert notices == [
        "mask 0.png has transparency: its transparent part is the mask, for the opaque one covers 98% of the frame "
        "(--mask-invert takes that instead)"
    ]
    holes, _ = holes_of(clip, masks, MaskOptions(invert=True, dilation=Dilation(0)))
    assert int(holes[0].sum()) == 48 * 63


def test_a_mask_without_object_among_transparent_ones_is_empty(clip: Path, tmp_path: Path) -> None:
    """Fully transparent, with white beneath: alone it says nothing, in this folder it says that nothing is there."""
    nothing = np.dstack([np.full((*SIZE, 3), 255, np.uint8), np.zeros(SIZE, np.uint8)])
    masks = folder_of(tmp_path / "m", nothing, rgba(1, 255, 0), rgba(2, 255, 0))
    assert numbers(holes_of(clip, masks)[0]) == [None, 1, 2]


def test_alpha_that_is_nearly_opaque_is_no_mask(clip: Path, tmp_path: Path) -> None:
    shaded = np.dstack([np.dstack([marked(6)] * 3), np.where(marked(9) > 0, 254, 255).astype(np.uint8)])
    cv2.imwrite(str(tmp_path / "m.png"), shaded)
    assert holes_of(clip, tmp_path / "m.png")[1] == []
    assert numbers(holes_of(clip, tmp_path / "m.png")[0]) == [6] * 3


# ---- said before the work


def test_holes_of_nothing_and_of_nearly_all(clip: Path, tmp_path: Path) -> None:
    black = folder_of(tmp_path / "black", *[np.zeros(SIZE, np.uint8)] * 3)
    assert holes_of(clip, black)[1] == [
        "warning: none of the 3 masks has a hole: is it inverted, or --mask-threshold too high?"
    ]
    inverted = folder_of(tmp_path / "inverted", *(255 - marked(n) for n in range(3)))
    assert holes_of(clip, inverted)[1] == [
        "warning: 3 of the 3 masks cover more than 95% of the frame (such as 0.png): --mask-invert swaps hole "
        "and background"
    ]
    assert holes_of(clip, inverted, MaskOptions(invert=True, dilation=Dilation(0)))[1] == []
    cv2.imwrite(str(tmp_path / "still.png"), 255 - marked(1))
    assert holes_of(clip, tmp_path / "still.png")[1] == [
        "warning: mask still.png covers more than 95% of the frame: --mask-invert swaps hole and background"
    ]


def test_a_photograph_is_no_mask(clip: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), picture(0, SIZE)[:, :, 0] // 2 + 60)
    assert holes_of(clip, tmp_path / "m.png")[1] == [
        "warning: mask m.png looks like a photograph, not like a mask: is it the right file?"
    ]
    soft = cv2.GaussianBlur(np.where(marked(30) > 0, 255, 0).astype(np.uint8), (0, 0), 4)
    cv2.imwrite(str(tmp_path / "soft.png"), cv2.normalize(soft, None, 0, 255, cv2.NORM_MINMAX))
    assert holes_of(clip, tmp_path / "soft.png")[1] == []


def test_faint_noise_in_many_masks_is_no_object_if_one_mask_is_white(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", Recipe(frames=100))
    noise = np.zeros(SIZE, np.uint8)
    noise[::5, ::7] = 3
    masks = folder_of(tmp_path / "m", *[noise] * 70, marked(3), *[noise] * 29)
    holes, notices = holes_of(source, masks)
    assert [index for index, hole in enumerate(holes) if hole.any()] == [70]
    assert notices == []


def test_only_some_of_many_masks_are_looked_at_unless_those_are_blank(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", Recipe(frames=100))
    blank = np.zeros(SIZE, np.uint8)
    masks = folder_of(tmp_path / "m", *[blank] * 70, marked(3) // 255, *[blank] * 29)
    holes, notices = holes_of(source, masks)
    assert numbers(holes)[70] == 3
    assert notices == ["mask 70.png holds only 0 and 1: 1 is taken as white"]


def test_a_mask_video_of_zero_and_one(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "gray"
        for index in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(marked(index) // 255, "gray")))
        container.mux(stream.encode(None))
    holes, notices = holes_of(clip, path)
    assert numbers(holes) == [0, 1, 2]
    assert notices == ["mask m.mkv (frame 0) holds only 0 and 1: 1 is taken as white"]


def test_published_masks_are_read_as_they_were(clip: Path, tmp_path: Path) -> None:
    """Any level above 0, a transparency's colours included: nothing is decided."""
    masks = folder_of(tmp_path / "m", marked(4) // 255, marked(5), 3 * (marked(6) // 255))
    holes, notices = holes_of(clip, masks, MaskOptions.published())
    assert [np.flatnonzero(hole[20]).tolist() for hole in holes] == [list(range(n - 4, n + 5)) for n in (4, 5, 6)]
    assert notices == []
