"""Mask files of several pictures, damaged ones, and videos whose packets are not frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from .hole_helpers import holes_of, marked, mask_folder, numbers, refused
from .media import Recipe, make_clip

FRAMES = 6


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("pages") / "clip.mp4", Recipe(frames=FRAMES))


def apng(path: Path, count: int) -> Path:
    with av.open(str(path), "w", format="apng") as container:
        stream = container.add_stream("apng", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray"
        for index in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(marked(index), "gray")))
        container.mux(stream.encode(None))
    return path


def stack(path: Path, count: int) -> Path:
    assert cv2.imwritemulti(str(path), [marked(index) for index in range(count)])
    return path


@pytest.mark.parametrize("make", [apng, stack])
def test_every_picture_of_a_file_is_a_mask(clip: Path, tmp_path: Path, make: object) -> None:
    name = "m.png" if make is apng else "m.tif"
    holes, notices = holes_of(clip, make(tmp_path / name, FRAMES))  # type: ignore[operator]
    assert (numbers(holes), notices) == (list(range(FRAMES)), [])


def test_pages_have_no_times(clip: Path, tmp_path: Path) -> None:
    masks = stack(tmp_path / "m.tif", 4)
    assert refused(clip, masks) == (
        f"{masks} has 4 masks and {clip} 6 frames, and m.tif has no times to align by; give as many masks as frames"
    )


@pytest.mark.parametrize("make", [apng, stack])
def test_a_file_of_several_pictures_is_no_mask_of_a_folder(clip: Path, tmp_path: Path, make: object) -> None:
    masks = mask_folder(tmp_path / "m", [f"{n}.png" for n in range(FRAMES - 1)])
    name = f"{FRAMES - 1}.{'png' if make is apng else 'tif'}"
    make(masks / name, 3)  # type: ignore[operator]
    assert f"{masks / name} holds 3 pictures, and one is wanted here" in refused(clip, masks)


def test_patterns_name_masks(clip: Path, tmp_path: Path) -> None:
    masks = mask_folder(tmp_path / "m", [f"m_{n:03d}.png" for n in range(FRAMES)])
    cv2.imwrite(str(masks / "other.png"), marked(60))
    for pattern in ("m_%03d.png", "m_*.png"):
        assert numbers(holes_of(clip, masks / pattern)[0]) == list(range(FRAMES))


def test_damage_is_refused_or_said_by_name(clip: Path, tmp_path: Path) -> None:
    good = mask_folder(tmp_path / "m", [f"{n}.png" for n in range(FRAMES)])
    data = bytearray((good / "2.png").read_bytes())
    data[len(data) // 2] ^= 1
    (good / "2.png").write_bytes(data)
    assert refused(clip, good).startswith(f"cannot read image {good / '2.png'}: ")
    palette = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010803000000") + b"\0" * 9
    (good / "2.png").write_bytes(palette)
    assert refused(clip, good).startswith(f"cannot read image {good / '2.png'}: ")
    (tmp_path / "j").mkdir()
    for index in range(FRAMES):
        cv2.imwrite(str(tmp_path / "j" / f"{index}.jpg"), marked(index))
    data = bytearray((tmp_path / "j" / "3.jpg").read_bytes())
    (tmp_path / "j" / "3.jpg").write_bytes(data[: 2 * len(data) // 3] + b"\xff\xd9")
    message = refused_or_said(clip, tmp_path / "j")
    assert str(tmp_path / "j" / "3.jpg") in message


def refused_or_said(source: Path, mask: Path) -> str:
    """The error, or what the notices say of damage."""
    from e2fgvi_cli.errors import InputError

    try:
        return " ".join(notice for notice in holes_of(source, mask)[1] if "damaged" in notice)
    except InputError as error:
        return str(error)


def alpha_video(path: Path, count: int) -> Path:
    """A VP9 matte: gray everywhere, the mask in its alpha plane."""
    rgba = np.full((48, 64, 4), 128, np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=25, options={"lossless": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuva420p"
        for index in range(count):
            rgba[:, :, 3] = marked(index)
            frame = av.VideoFrame.from_ndarray(rgba, "rgba").reformat(format="yuva420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_the_alpha_plane_of_a_webm_is_the_mask(clip: Path, tmp_path: Path) -> None:
    holes, notices = holes_of(clip, alpha_video(tmp_path / "m.webm", FRAMES))
    assert (numbers(holes), int(holes[0].sum())) == (list(range(FRAMES)), 48)
    assert notices == ["mask m.webm (frame 0) has transparency: its alpha channel is the mask, its colours are not"]


def cut_stream(path: Path) -> Path:
    """H.264 cut in the middle of a group of pictures: 37 packets, of which the first 7 are no pictures."""
    whole = make_clip(
        path.with_name("whole.mkv"), Recipe(frames=40, options={"g": "10", "keyint_min": "10", "bf": "0"})
    )
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for index, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            if index >= 3:
                packet.stream = stream
                target.mux(packet)
    return path


def test_numbered_masks_of_a_video_whose_packets_are_not_all_frames(tmp_path: Path) -> None:
    source = cut_stream(tmp_path / "clip.mkv")
    masks = mask_folder(tmp_path / "m", [f"{n:05d}.png" for n in range(30)])
    assert (numbers(holes_of(source, masks)[0]), holes_of(source, masks)[1]) == (list(range(30)), [])
    (masks / "00000.png").unlink()
    (masks / "00029.png").rename(masks / "00030.png")
    holes, notices = holes_of(source, masks)
    assert numbers(holes) == [*range(1, 29), None, 29]
    assert notices == [
        "masks are matched by the number in their name, counted from 1",
        "1 of 30 frames have no mask and are taken to have no hole",
    ]


def test_tracking_a_video_whose_packets_are_not_all_frames(tmp_path: Path) -> None:
    from e2fgvi_cli.mask_tools.classic import classic_followers
    from e2fgvi_cli.mask_tools.marks import KeyframeMark
    from e2fgvi_cli.mask_tools.track_job import track_to_folder

    still = np.zeros((48, 64, 2), np.float32)
    cv2.imwrite(str(tmp_path / "key.png"), marked(30))
    make = classic_followers(lambda old, new: (still, still))
    mark = KeyframeMark(10, tmp_path / "key.png")
    done = track_to_folder(cut_stream(tmp_path / "clip.mkv"), tmp_path / "out", [mark], make)
    assert done.frames == 30
    assert len(list((tmp_path / "out").iterdir())) == 30
