"""`e2fgvi mask track` on files: a textured disc that moves over texture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from e2fgvi_cli import track_mask
from e2fgvi_cli.commands.mask import mask_app
from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.mask_tools.classic import classic_followers
from e2fgvi_cli.mask_tools.marks import BoxMark, KeyframeMark, PointMark, parse_box_mark
from e2fgvi_cli.mask_tools.track_job import DOUBTFUL, to_look_at, track_to_folder
from e2fgvi_cli.mask_tools.tracking import overlap
from e2fgvi_cli.masks import Dilation, MaskOptions
from e2fgvi_cli.video import images, open_holes, open_reader

from ..unit.test_mask_tracking import dis_flow, frame, truth
from .media import PORTRAIT_PHONE, Recipe, make_clip

FLOW = classic_followers(dis_flow)


def clip_of_the_disc(folder: Path, count: int = 8) -> Path:
    folder.mkdir()
    for index in range(count):
        images.write_image(folder / f"shot{index + 1}.png", frame(index))
    return folder


def test_track_writes_a_mask_folder_that_fits_the_clip(tmp_path: Path) -> None:
    clip = clip_of_the_disc(tmp_path / "frames")
    done = track_to_folder(clip, tmp_path / "out", [BoxMark(2, 19, 25, 32, 32)], FLOW)
    assert (done.frames, done.lost) == (8, [])
    with open_reader(clip) as reader, open_holes(tmp_path / "out", reader.info, MaskOptions()) as holes:
        assert holes.notices == []
    for index in range(8):
        mask = images.read_image(tmp_path / "out" / f"shot{index + 1}.png") // 255
        assert overlap(mask, truth(index)) > 0.75


def test_keyframe_restarts_it(tmp_path: Path) -> None:
    clip = clip_of_the_disc(tmp_path / "frames")
    images.write_image(tmp_path / "key.png", truth(6) * 255)
    marks = [BoxMark(0, 60, 60, 20, 20), KeyframeMark(6, tmp_path / "key.png")]  # the box is not on the object
    track_to_folder(clip, tmp_path / "out", marks, FLOW)
    assert overlap(images.read_image(tmp_path / "out" / "shot8.png") // 255, truth(7)) > 0.85
    assert overlap(images.read_image(tmp_path / "out" / "shot1.png") // 255, truth(0)) < 0.3


def test_failed_tracking_leaves_nothing(tmp_path: Path) -> None:
    clip = clip_of_the_disc(tmp_path / "frames")

    def broken(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        track_to_folder(clip, tmp_path / "out", [BoxMark(0, 15, 24, 31, 32)], classic_followers(broken))
    with pytest.raises(InputError, match=r"there is no mask .*none\.png"):
        track_to_folder(clip, tmp_path / "out", [KeyframeMark(0, tmp_path / "none.png")], FLOW)
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


def test_masks_of_a_turned_video_are_as_shown(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", Recipe(matrix=PORTRAIT_PHONE, frames=3))
    key = np.zeros((64, 48), np.uint8)
    key[10:30, 30:44] = 255
    images.write_image(tmp_path / "key.png", key)
    track_to_folder(clip, tmp_path / "out", [KeyframeMark(0, tmp_path / "key.png")], FLOW)
    assert np.array_equal(images.read_image(tmp_path / "out" / "000000.png"), key)


def test_marks_that_do_not_fit_the_clip_say_what_there_is(tmp_path: Path) -> None:
    """In the clip's own pixels, though a large clip is followed at a smaller size."""
    clip = tmp_path / "frames"
    clip.mkdir()
    for index in range(2):
        images.write_image(clip / f"{index}.png", np.full((600, 1280, 3), 90, np.uint8))
    with pytest.raises(UsageError) as caught:
        track_to_folder(clip, tmp_path / "out", [BoxMark(0, 1300, 20, 100, 90)], FLOW)
    assert str(caught.value) == (
        "--box 1300,20,100,90 does not lie in the frame of 1280x600; give x,y,width,height in it"
    )
    images.write_image(tmp_path / "key.png", np.full((600, 1280), 255, np.uint8))
    with pytest.raises(UsageError, match="frame 7 is not in the clip, which has frames 0 to 1"):
        track_to_folder(clip, tmp_path / "out", [KeyframeMark(7, tmp_path / "key.png")], FLOW)
    for text, message in (
        ("1,2,3", "--box '1,2,3' has 3 numbers; write x,y,width,height, such as 20,30,100,40"),
        ("1,2,3,x@4", "--box '1,2,3,x': 'x' is no number of pixels; use plain numbers"),
    ):
        with pytest.raises(UsageError) as caught:
            parse_box_mark(text)
        assert str(caught.value) == message


def test_keyframes_of_0_and_1_are_masks_and_a_growing_mask_is_said(tmp_path: Path) -> None:
    clip = clip_of_the_disc(tmp_path / "frames")
    images.write_image(tmp_path / "key.png", truth(0))
    small = np.zeros_like(truth(0))
    small[40:44, 40:44] = 1
    images.write_image(tmp_path / "small.png", small)
    marks = [
        KeyframeMark(0, tmp_path / "small.png"),
        KeyframeMark(1, tmp_path / "small.png"),
        *(KeyframeMark(n, tmp_path / "key.png") for n in range(2, 8)),
    ]
    done = track_to_folder(clip, tmp_path / "out", marks, FLOW)
    assert done.notices[:2] == ["mask small.png holds only 0 and 1: 1 is taken as white"] * 2
    assert np.array_equal(images.read_image(tmp_path / "out" / "shot3.png"), truth(0) * 255)
    assert any("does the mask run away" in warning for warning in done.warnings)


def test_points_start_it_and_the_table_says_how_sure_it_is(tmp_path: Path) -> None:
    clip = clip_of_the_disc(tmp_path / "frames")
    done = track_to_folder(clip, tmp_path / "out", [PointMark(4, 38, 42)], FLOW)
    assert (
        min(overlap(images.read_image(tmp_path / "out" / f"shot{n + 1}.png") // 255, truth(n)) for n in range(8)) > 0.7
    )
    rows = (tmp_path / "out.confidence.csv").read_text().splitlines()
    assert rows[0] == "frame,object,confidence,share"
    assert [row.split(",")[0] for row in rows[1:]] == [str(n) for n in range(8)]
    assert rows[5].startswith("4,1,1.0000,")
    assert done.table == tmp_path / "out.confidence.csv"
    assert all(0 < one.confidence < 1 for one in done.followed if one.frame != 4)
    assert done.look_at == [one.frame for one in done.followed if one.confidence < DOUBTFUL]
    (tmp_path / "out2.confidence.csv").write_text("mine")
    with pytest.raises(InputError, match=r"out2\.confidence\.csv"):
        track_to_folder(clip, tmp_path / "out2", [PointMark(4, 38, 42)], FLOW)
    assert (tmp_path / "out2.confidence.csv").read_text() == "mine"


def two_squares(folder: Path, count: int = 6) -> Path:
    """A red square that moves right and a green one that moves left, over a textured ground."""
    folder.mkdir()
    ground = np.random.default_rng(3).integers(60, 110, (48, 64, 3)).astype(np.uint8)
    for index in range(count):
        picture = ground.copy()
        picture[6:18, 6 + 2 * index : 18 + 2 * index] = (210, 40, 40)
        picture[28:40, 44 - 2 * index : 56 - 2 * index] = (40, 200, 60)
        images.write_image(folder / f"{index:03d}.png", picture)
    return folder


def test_objects_are_numbered_and_one_can_be_taken(tmp_path: Path) -> None:
    clip = two_squares(tmp_path / "frames")
    marks = [PointMark(0, 12, 12), BoxMark(5, 31, 25, 18, 18, object=2)]
    done = track_to_folder(clip, tmp_path / "out", marks, FLOW)
    assert sorted({(one.object) for one in done.followed}) == [1, 2]
    for index in range(6):
        numbers = images.read_image(tmp_path / "out" / f"{index:03d}.png")
        assert numbers[12, 12 + 2 * index] == 1
        assert numbers[34, 50 - 2 * index] == 2
        assert sorted(np.unique(numbers).tolist()) == [0, 1, 2]
    with (
        open_reader(clip) as reader,
        open_holes(tmp_path / "out", reader.info, MaskOptions(ids=frozenset({2}), dilation=Dilation(0))) as holes,
    ):
        hole = holes.hole_at(next(iter(reader)))
    assert (hole[34, 50], hole[12, 12]) == (1, 0)


class Blinking:
    """Sees the object in the pictures given only."""

    def __init__(self, gone: range) -> None:
        self._gone = gone
        self._index = 0

    def start(self, rgb: np.ndarray, mask: np.ndarray) -> None:
        self._mask = mask

    def step(self, rgb: np.ndarray) -> tuple[np.ndarray, float]:
        self._index += 1
        seen = self._index not in self._gone
        return self._mask * seen, 0.4 if self._index == 1 else float(seen)


def test_an_object_that_leaves_and_returns_is_said(tmp_path: Path) -> None:
    clip = clip_of_the_disc(tmp_path / "frames")
    box = [BoxMark(0, 15, 24, 31, 32)]
    done = track_to_folder(clip, tmp_path / "out", box, lambda: Blinking(range(3, 5)))
    assert (done.lost, done.look_at) == ([3, 4], [1, 3])
    assert done.warnings == [
        "the object is not seen in frames 3-4 and is found again in frame 5: if it is there, mark it in one of them, "
        "such as --point +x,y@3"
    ]
    assert to_look_at(done) == "frames to look at (2): 1, 3"
    away = track_to_folder(clip, tmp_path / "away", box, lambda: Blinking(range(7, 8)))
    assert away.warnings == [
        "the object is not seen in frame 7 up to the end: if it is there, mark it in one of them, such as "
        "--point +x,y@7"
    ]


def test_a_point_outside_the_frame_is_said(tmp_path: Path) -> None:
    clip = clip_of_the_disc(tmp_path / "frames")
    with pytest.raises(UsageError) as caught:
        track_to_folder(clip, tmp_path / "out", [PointMark(1, 128, 20)], FLOW)
    assert str(caught.value) == "--point 128,20@1 does not lie in the frame of 128x96; give x,y in it"
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


def test_the_command_and_the_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("e2fgvi_cli.mask_tools.flow.flow_estimator", lambda weights, device: dis_flow)
    clip = clip_of_the_disc(tmp_path / "frames", 3)
    arguments = ["track", "--video", str(clip), "--engine", "classic", "--device", "cpu", "-o"]
    points = ["--point", "+36,41@1", "--point", "-90,80@1"]
    result = CliRunner().invoke(mask_app, [*arguments, str(tmp_path / "out"), *points, "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["engine"], report["frames"], report["lost"]) == ("classic", 3, [])
    assert [one["frame"] for one in report["followed"]] == [0, 1, 2]
    again = CliRunner().invoke(mask_app, [*arguments, str(tmp_path / "out"), *points])
    assert isinstance(again.exception, InputError)
    shown = CliRunner().invoke(mask_app, [*arguments, str(tmp_path / "out"), *points, "--overwrite"])
    assert "object 1: confidence 0." in shown.stdout
    marks = [PointMark(1, 36, 41), PointMark(1, 90, 80, inside=False)]
    done = track_mask(clip, tmp_path / "api", marks, engine="classic", device="cpu")
    assert [round(one.confidence, 4) for one in done.followed] == [one["confidence"] for one in report["followed"]]
    assert (tmp_path / "api" / "shot3.png").read_bytes() == (tmp_path / "out" / "shot3.png").read_bytes()
