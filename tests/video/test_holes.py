"""Every form a mask comes in: folders, stills, alpha, palettes, turned clips, boxes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from e2fgvi_cli.masks import Dilation, MaskOptions, parse_box
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
    assert notices == ["1 masks belong to no frame, such as img_8.png"]


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


@pytest.mark.parametrize(
    "names",
    [[f"{n}.png" for n in range(13)], [f"{n}.png" for n in range(2, 10)], ["a.png", "b.png"], ["1.png", "a1.png"]],
)
def test_counts_that_cannot_be_explained(clip: Path, tmp_path: Path, names: list[str]) -> None:
    masks = mask_folder(tmp_path / "m", names)
    assert refused(clip, masks) == (
        f"{len(names)} masks in {masks} for 12 frames of {clip}, and their names do not say which frame each belongs to; "
        "give one mask a frame, name them like the frames, or give a single image"
    )


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
    holes, _ = holes_of(clip, tmp_path / "m.png", MaskOptions())
    assert np.flatnonzero(holes[0].any(axis=0)).tolist() == list(range(26, 35))


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


# ---- alpha, palettes, ids


def test_alpha_channel_is_the_mask(clip: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), np.dstack([np.full((48, 64, 3), 200, np.uint8), marked(7)]))
    holes, notices = holes_of(clip, tmp_path / "m.png")
    assert numbers(holes) == [7] * 12
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
    assert numbers(holes_of(clip, tmp_path / "m.png")[0]) == [9] * 12


def test_object_numbers_in_gray(clip: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), marked(4) // 255 * 2 + marked(6) // 255 * 5)
    options = MaskOptions(ids=frozenset({5}), dilation=Dilation(0))
    assert numbers(holes_of(clip, tmp_path / "m.png", options)[0]) == [6] * 12
    holes, notices = holes_of(clip, tmp_path / "m.png")
    assert not holes[0].any()
    assert notices == [
        "mask m.png has no level above the threshold 127 (its highest is 5): no hole there; lower --mask-threshold, or use "
        "--mask-ids for images of object numbers"
    ]


def test_object_numbers_of_a_colour_image(clip: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "m.png"), picture(0, (48, 64)))
    message = refused(clip, tmp_path / "m.png", MaskOptions(ids=frozenset({1})))
    assert (
        message == "--mask-ids needs object numbers, and mask m.png is a colour image; save it as gray or palette PNG"
    )


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
