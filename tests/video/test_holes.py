"""Every form a mask comes in: folders, stills, alpha, palettes, turned clips, boxes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from e2fgvi_cli.masks import Dilation, MaskOptions, parse_box, parse_polygon
from e2fgvi_cli.video import open_holes, open_reader

from .hole_helpers import EXACT, holes_of, marked, mask_folder, mask_video, numbers, refused
from .media import PORTRAIT_PHONE, Recipe, make_clip, picture


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4", Recipe())


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(6):
        cv2.imwrite(str(folder / f"img_{index + 9}.jpg"), picture(index, (48, 64)))
    return folder


# ---- folders


def test_folder_by_order_when_counts_agree(clip: Path, tmp_path: Path) -> None:
    masks = mask_folder(tmp_path / "m", [f"anything{n}.png" for n in range(12)])
    assert (numbers(holes_of(clip, masks)[0]), holes_of(clip, masks)[1]) == (list(range(12)), [])


def test_folder_by_stem_with_gaps(frames: Path, tmp_path: Path) -> None:
    masks = mask_folder(tmp_path / "m", ["img_10.png", "img_12.png", "img_14.png"])
    holes, notices = holes_of(frames, masks)
    assert numbers(holes) == [None, 0, None, 1, None, 2]
    assert notices == ["3 of 6 frames have no mask and are taken to have no hole"]


def test_folder_by_number_in_other_names(frames: Path, tmp_path: Path) -> None:
    masks = mask_folder(tmp_path / "m", ["mask10.png", "mask12.png"])
    assert numbers(holes_of(frames, masks)[0]) == [None, 0, None, 1, None, None]


def test_masks_without_a_frame_are_said(frames: Path, tmp_path: Path) -> None:
    masks = mask_folder(tmp_path / "m", [f"img_{n}.png" for n in range(8, 15)])
    holes, notices = holes_of(frames, masks)
    assert numbers(holes) == [1, 2, 3, 4, 5, 6]
    assert notices == ["1 mask belongs to no frame, such as img_8"]


@pytest.mark.parametrize(("names", "first"), [(["00000", "00003", "00011"], 0), (["00001", "00003", "00012"], 1)])
def test_numbered_masks_of_a_video_may_be_missing(clip: Path, tmp_path: Path, names: list[str], first: int) -> None:
    masks = mask_folder(tmp_path / "m", [f"{name}.png" for name in names])
    holes, notices = holes_of(clip, masks)
    found = {index: number for index, number in enumerate(numbers(holes)) if number is not None}
    assert found == {int(name) - first: index for index, name in enumerate(names)}
    assert notices == [
        f"masks are matched by the number in their name, counted from {first}",
        "9 of 12 frames have no mask and are taken to have no hole",
    ]


def test_counts_that_cannot_be_explained(clip: Path, tmp_path: Path) -> None:
    masks = mask_folder(tmp_path / "m", ["a.png", "b.png"])
    assert refused(clip, masks) == (
        f"2 masks in {masks} for 12 frames of {clip}, and their names do not say which frame each belongs to; "
        "give one mask a frame, name them like the frames, or give a single image"
    )


def test_masks_of_a_trimmed_video(clip: Path, tmp_path: Path) -> None:
    masks = mask_folder(tmp_path / "m", [f"{n:05d}.png" for n in range(20)])
    holes, notices = holes_of(clip, masks)
    assert numbers(holes) == list(range(12))
    assert notices == [
        "masks are matched by the number in their name, counted from 0",
        "8 masks belong to no frame, such as 00012",
    ]


def test_masks_numbered_one_off_are_not_paired_by_the_names_that_agree(tmp_path: Path) -> None:
    frames = mask_folder(tmp_path / "f", [f"{n:05d}.png" for n in range(1, 11)])
    masks = mask_folder(tmp_path / "m", [f"{n:05d}.png" for n in range(10)])
    holes, notices = holes_of(frames, masks)
    assert numbers(holes) == list(range(10))
    assert notices == ["masks are numbered from 0, frames from 1: mask 0 is taken for frame 1, and so on"]


def test_masks_of_objects_are_joined(clip: Path, tmp_path: Path) -> None:
    """As many files as the clip has frames, and yet not one a frame."""
    masks = mask_folder(tmp_path / "m", [f"{n:05d}_obj{thing}.png" for n in range(6) for thing in (1, 2)])
    holes, _ = holes_of(clip, masks)
    assert [np.flatnonzero(hole.any(axis=0)).tolist() for hole in holes] == [
        *([2 * n, 2 * n + 1] for n in range(6)),
        *([[]] * 6),
    ]


def test_a_folder_of_folders_says_so(clip: Path, tmp_path: Path) -> None:
    mask_folder(tmp_path / "m" / "1", ["0.png"])
    mask_folder(tmp_path / "m" / "2", ["0.png"])
    assert "only folders (1, 2): give one of them" in refused(clip, tmp_path / "m")


def test_missing_empty_and_broken_masks(clip: Path, tmp_path: Path) -> None:
    assert refused(clip, tmp_path / "none") == f"there is no mask {tmp_path}/none; check the path"
    (tmp_path / "empty").mkdir()
    assert "holds no images" in refused(clip, tmp_path / "empty")
    masks = mask_folder(tmp_path / "m", [f"{n}.png" for n in range(12)])
    (masks / "5.png").write_bytes(b"broken")
    assert refused(clip, masks) == f"cannot read image {masks}/5.png: it is no image that OpenCV can decode"
    assert refused(clip, None) == "there is no mask; give --mask, --mask-box or --mask-polygon"


def test_masks_of_a_truncated_video_keep_their_frames(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mkv", Recipe(frames=40, options={"g": "5"}))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    masks = mask_folder(tmp_path / "m", [f"{n:03d}.png" for n in range(40)])
    found = numbers(holes_of(cut, masks)[0])
    assert found == list(range(len(found)))
    assert 10 < len(found) < 40


# ---- stills, sizes


def test_single_image_for_all_frames_is_resized_with_one_notice(clip: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), np.kron(marked(3), np.ones((2, 2), np.uint8)))
    holes, notices = holes_of(clip, tmp_path / "m.png")
    assert numbers(holes) == [3] * 12
    assert notices == ["masks of 128x96 are resized (nearest) to frames of 64x48"]


def test_frames_resized_on_request_take_their_masks_along(clip: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), marked(10))
    with open_reader(clip, size=(96, 128)) as reader, open_holes(tmp_path / "m.png", reader.info, EXACT) as holes:
        hole = holes.hole_at(next(iter(reader)))
        assert holes.notices == []
    assert np.flatnonzero(hole.any(axis=0)).tolist() == [20, 21]


def test_default_dilation_is_four_pixels(clip: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), marked(30))
    holes, notices = holes_of(clip, tmp_path / "m.png", MaskOptions())
    assert np.flatnonzero(holes[0].any(axis=0)).tolist() == list(range(26, 35))
    assert notices == []


@pytest.mark.parametrize("size", [(960, 1280), (1280, 960)])
def test_default_dilation_grows_with_the_frame_and_says_so(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = mask_folder(tmp_path / "f", ["0.png"], size)
    cv2.imwrite(str(tmp_path / "m.png"), marked(30, size))
    holes, notices = holes_of(frames, tmp_path / "m.png", MaskOptions())
    assert np.flatnonzero(holes[0].any(axis=0)).tolist() == list(range(22, 39))
    assert notices == [
        f"the hole grows by 8 pixels, for the frames are {size[1]}x{size[0]}; --mask-dilation 4px grows it by 4"
    ]
    holes, notices = holes_of(frames, tmp_path / "m.png", MaskOptions(dilation=Dilation.parse("4px")))
    assert (int(holes[0][0].sum()), notices) == (9, [])


def test_default_closes_small_gaps_and_says_so(clip: Path, tmp_path: Path) -> None:
    slit = np.zeros((48, 64), np.uint8)
    slit[10:40, 10:50] = 255
    slit[20:40, 24:35] = 0  # between two legs: three pixels are left of it by a dilation of four
    cv2.imwrite(str(tmp_path / "m.png"), slit)
    holes, notices = holes_of(clip, tmp_path / "m.png", MaskOptions())
    assert holes[0][15:38, 10:50].all()
    assert notices == ["small gaps in the hole are closed (in frame 0 47 pixels); with --mask-dilation 4px they stay"]
    holes, notices = holes_of(clip, tmp_path / "m.png", MaskOptions(dilation=Dilation.parse("4px")))
    assert (int(holes[0][30].sum()), notices) == (45, [])


def test_published_options_against_a_slow_version(clip: Path, tmp_path: Path) -> None:
    """Any luma above 0, nearest size, four times a 3x3 cross: written out in numpy."""
    rough = (np.random.default_rng(5).random((30, 40, 3)) > 0.995).astype(np.uint8) * 40
    cv2.imwrite(str(tmp_path / "m.png"), rough[:, :, ::-1])
    luma = np.rint(rough @ np.array([0.299, 0.587, 0.114])) > 0
    rows = ((np.arange(48) + 0.5) * 30 / 48).astype(int)
    columns = ((np.arange(64) + 0.5) * 40 / 64).astype(int)
    expected = luma[rows][:, columns]
    for _ in range(4):
        padded = np.pad(expected, 1)
        expected = padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    holes, _ = holes_of(clip, tmp_path / "m.png", MaskOptions.published())
    assert expected.any()
    assert np.array_equal(holes[0], expected)


def test_invert(clip: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), marked(3))
    holes, _ = holes_of(clip, tmp_path / "m.png", MaskOptions(invert=True, dilation=Dilation(0)))
    assert np.array_equal(holes[0], 1 - marked(3) // 255)


# ---- turned clips, boxes


def test_masks_of_a_turned_clip_are_taken_as_shown(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", Recipe(matrix=PORTRAIT_PHONE))
    shown = np.zeros((64, 48), np.uint8)
    shown[0, 47] = 255  # as shown: the right upper corner, which is stored as the left upper one
    cv2.imwrite(str(tmp_path / "shown.png"), shown)
    holes, notices = holes_of(source, tmp_path / "shown.png")
    assert np.argwhere(holes[0]).tolist() == [[0, 0]]
    assert notices == ["the video is shown turned by 90 degrees: the masks are taken to be too"]
    stored = np.zeros((48, 64), np.uint8)
    stored[0, 0] = 255
    cv2.imwrite(str(tmp_path / "stored.png"), stored)
    holes, notices = holes_of(source, tmp_path / "stored.png")
    assert (np.argwhere(holes[0]).tolist(), notices) == ([[0, 0]], [])


def test_mask_video_with_the_same_turn_is_stored_alike(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", Recipe(matrix=PORTRAIT_PHONE))
    plain = mask_video(tmp_path / "plain.mkv", [n * 40 for n in range(12)], Fraction(1, 1000))
    turned = tmp_path / "turned.mp4"
    with av.open(str(plain)) as old, av.open(str(turned), "w") as new:
        stream = new.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_matrix(PORTRAIT_PHONE)
        for frame in old.decode(video=0):
            new.mux(stream.encode(frame.reformat(format="yuv420p")))
        new.mux(stream.encode(None))
    holes, notices = holes_of(source, turned)
    assert numbers(holes) == list(range(12))
    assert "masks are taken" not in " ".join(notices)


def test_boxes_need_no_image_and_speak_of_the_shown_picture(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "clip.mp4", Recipe(matrix=PORTRAIT_PHONE))
    options = MaskOptions(boxes=(parse_box("46,0,2,3@1-2"),), dilation=Dilation(0))
    holes, _ = holes_of(source, None, options)
    assert [int(hole.sum()) for hole in holes[:4]] == [0, 6, 6, 0]
    assert holes[1][:2, :3].all()


def test_box_and_mask_together_grow_together(clip: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), marked(3))
    options = MaskOptions(boxes=(parse_box("40,10,1,1"),), dilation=Dilation(1))
    holes, _ = holes_of(clip, tmp_path / "m.png", options)
    assert holes[0][9:12, 39:42].sum() == 5
    assert holes[0][:, 2:5].all()


def test_a_box_outside_the_frame_or_the_clip(clip: Path) -> None:
    assert refused(clip, None, MaskOptions(boxes=(parse_box("64,0,9,9"),))) == (
        "--mask-box 64,0,9,9 lies outside the frame, which is 64x48; give pixels in it"
    )
    assert refused(clip, None, MaskOptions(boxes=(parse_box("1,1,9,9@12-15"),))) == (
        "--mask-box 1,1,9,9@12-15 is for frames that are not there: the clip has frames 0 to 11"
    )
    message = refused(clip, None, MaskOptions(polygons=(parse_polygon("0,-9 5,-9 5,-1"),)))
    assert message == "--mask-polygon 0,-9 5,-9 5,-1 lies outside the frame, which is 64x48; give pixels in it"
    _, notices = holes_of(clip, None, MaskOptions(boxes=(parse_box("0,0,64,47"),)))
    assert notices == ["warning: --mask-box 0,0,64,47 covers 98% of the frame"]
