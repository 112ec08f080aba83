"""Marks, what an object is grown from, and the order in which a clip is walked, with followers of make-believe."""

from __future__ import annotations

import numpy as np
import pytest

from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.mask_tools.engines import build_engine
from e2fgvi_cli.mask_tools.follower import Prompts
from e2fgvi_cli.mask_tools.marks import (
    BoxMark,
    Mark,
    PointMark,
    by_object,
    parse_box_mark,
    parse_keyframe,
    parse_point,
    require_frames,
)
from e2fgvi_cli.mask_tools.seeds import corrected, mask_from_points
from e2fgvi_cli.mask_tools.tracking import overlap
from e2fgvi_cli.mask_tools.walking import KnownMask, looks, walk

from .test_mask_tracking import SIZE, frame, truth


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("+12,8@3", PointMark(3, 12, 8)),
        ("-12.5,8@3", PointMark(3, 12.5, 8, inside=False)),
        ("12,8", PointMark(0, 12, 8)),
        ("2:-1,0@7", PointMark(7, 1, 0, inside=False, object=2)),
    ],
)
def test_points(text: str, mark: PointMark) -> None:
    assert parse_point(text) == mark


@pytest.mark.parametrize("text", ["1@2", "1,2,3@0", "+1,x@0", "1,2@-1", "1,2@", "+-1,2@0", "a:1,2@0", "1,nan@0", ""])
def test_what_is_no_point_is_said(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_point(text)
    assert str(caught.value) == (
        f"--point {text!r} is no point; write +x,y@frame for one on the object, -x,y@frame for one that is not, "
        "such as +120,80@0"
    )


def test_boxes_and_keyframes() -> None:
    assert parse_box_mark("1,2,30,40@12") == BoxMark(12, 1, 2, 30, 40)
    assert parse_box_mark("3:1,2,30,40") == BoxMark(0, 1, 2, 30, 40, 3)
    keyframe = parse_keyframe("2:24=masks/a=b.png")
    assert (keyframe.frame, keyframe.path.as_posix(), keyframe.object) == (24, "masks/a=b.png", 2)
    for text in ("1,2,3,4@x", "1,2,3,4@-1", "1,2,3", "1,2,3,4@"):
        with pytest.raises(UsageError):
            parse_box_mark(text)
    for text in ("24", "=a.png", "x=a.png", "24="):
        with pytest.raises(UsageError, match="is no keyframe"):
            parse_keyframe(text)


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        (
            [],
            "there is nothing to follow; give --point x,y@frame, --box x,y,width,height@frame or --keyframe N=mask.png",
        ),
        (
            [BoxMark(3, 0, 0, 9, 9), BoxMark(3, 1, 1, 9, 9)],
            "frame 3 has two masks to start from; give one box or keyframe a frame",
        ),
        (
            [PointMark(2, 5, 5, inside=False), PointMark(4, 5, 5)],
            "the points of frame 2 only say what object 1 is not; add one on it, such as --point +x,y@2",
        ),
        ([PointMark(0, 5, 5, object=65)], "object 65 is no number from 1 to 64; number the objects from 1"),
    ],
    ids=["none", "twice", "outer only", "number"],
)
def test_marks_that_cannot_be(marks: list[Mark], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        by_object(marks)
    assert str(caught.value) == message


def test_marks_are_sorted_by_object_and_frame() -> None:
    objects = by_object([PointMark(9, 1, 1), PointMark(2, 1, 1, object=3), PointMark(4, 1, 1), PointMark(9, 2, 2)])
    assert {number: list(frames) for number, frames in objects.items()} == {1: [4, 9], 3: [2]}
    assert len(objects[1][9].points) == 2
    with pytest.raises(UsageError, match="frame 9 is not in the clip, which has frames 0 to 8"):
        require_frames(objects, 9)


class Counting:
    """Follows by adding one pixel a step, and tells what it was started with."""

    starts: list[int]

    def __init__(self) -> None:
        self._size = 0
        type(self).starts = []

    def start(self, rgb: np.ndarray, mask: np.ndarray) -> None:
        self._size = int(mask.sum())
        self.starts.append(int(rgb[0, 0, 0]))

    def step(self, rgb: np.ndarray) -> tuple[np.ndarray, float]:
        self._size += 1
        return pixels(self._size), 0.25


def pixels(count: int) -> np.ndarray:
    return (np.arange(100) < count).astype(np.uint8).reshape(10, 10)


def picture(index: int) -> np.ndarray:
    return np.full((10, 10, 3), index, np.uint8)


def test_between_two_marks_both_walks_are_fused_and_outside_there_is_one() -> None:
    """Equally sure walks: the nearer mark decides, and halfway what either takes for the object."""
    looked: list[int] = []
    marks = {3: KnownMask(pixels(10)), 7: KnownMask(pixels(50))}
    steps = {step.frame: step for step in walk(picture, 10, marks, Counting, lambda: looked.append(1))}
    assert [int(steps[n].mask.sum()) for n in range(10)] == [13, 12, 11, 10, 11, 52, 51, 50, 51, 52]
    between = {4: 0.75 + 0.25 * 11 / 53, 5: 0.5 + 0.5 * 12 / 52, 6: 0.75 + 0.25 * 13 / 51}
    wanted = [0.25 * between.get(n, 1) if n not in marks else 1 for n in range(10)]
    assert [steps[n].confidence for n in range(10)] == pytest.approx(wanted)
    assert len(looked) == looks(10, marks) == 13


class Lost(Counting):
    """Sees nothing from the third step on."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0

    def step(self, rgb: np.ndarray) -> tuple[np.ndarray, float]:
        self._steps += 1
        mask, confidence = super().step(rgb)
        return (mask, confidence) if self._steps < 3 else (mask * 0, 0.0)


def test_what_one_walk_has_lost_the_other_one_gives() -> None:
    steps = {one.frame: one for one in walk(picture, 9, {0: KnownMask(pixels(10)), 8: KnownMask(pixels(50))}, Lost)}
    assert [int(steps[n].mask.sum()) for n in range(9)] == [10, 11, 12, 0, 0, 0, 52, 51, 50]
    assert [steps[n].confidence for n in (2, 3, 6)] == [0.25, 0, 0.25]


def test_points_correct_what_arrives_and_that_goes_back() -> None:
    """The second mark adds 30 pixels to those that arrive."""

    class Adding(KnownMask):
        def mask(self, rgb: np.ndarray, arrived: np.ndarray | None) -> np.ndarray:
            assert arrived is not None
            return pixels(int(arrived.sum()) + 30)

    steps = {one.frame: one for one in walk(picture, 5, {0: KnownMask(pixels(10)), 4: Adding(pixels(0))}, Counting)}
    assert [int(steps[n].mask.sum()) for n in range(5)] == [10, 11, 46, 45, 44]


class Graded(Counting):
    """Takes the pixels after its mask for likely, a little less than would do."""

    def likely(self) -> np.ndarray:
        return np.maximum(pixels(self._size), 0.3 * pixels(self._size + 20)).astype(np.float32)


def test_likelihoods_of_both_walks_add_up() -> None:
    """Halfway: 12 pixels against 32, with 20 more of 0.3 each: 0.65 up to 32, 0.15 beyond."""
    steps = {one.frame: one for one in walk(picture, 5, {0: KnownMask(pixels(10)), 4: KnownMask(pixels(30))}, Graded)}
    assert int(steps[2].mask.sum()) == 32
    assert int(steps[1].mask.sum()) == 31  # 0.25 + 0.75 * 0.3 is likely enough, 0.25 would not be


class Asked(Counting):
    """An engine that takes points itself."""

    def prompt(self, rgb: np.ndarray, prompts: Prompts) -> np.ndarray:
        self._size = 20 * len(prompts.points)
        return pixels(self._size)


class Pointed(KnownMask):
    def prompts(self, shape: tuple[int, ...]) -> Prompts:
        assert shape == (10, 10, 3)
        return Prompts(((1.0, 1.0, True),))


def test_an_engine_that_takes_points_gets_them() -> None:
    anchor = {0: Pointed(pixels(3))}
    assert [int(step.mask.sum()) for step in walk(picture, 3, anchor, Asked)] == [20, 21, 22]
    assert [int(step.mask.sum()) for step in walk(picture, 3, anchor, Counting)] == [3, 4, 5]


def test_nothing_found_is_said() -> None:
    with pytest.raises(InputError) as caught:
        list(walk(picture, 3, {1: KnownMask(pixels(0))}, Counting))
    assert str(caught.value) == (
        "nothing was found at the marks of frame 1; add points on the object (--point +x,y@1), or give its mask with "
        "--keyframe 1=mask.png"
    )


def test_a_point_finds_the_object_it_lies_on() -> None:
    assert overlap(mask_from_points(frame(0), [(30, 40, True)]), truth(0)) > 0.8


def test_points_correct_a_mask() -> None:
    """Two discs of one colour: a point adds the second, another one takes it away."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    left, right = ((rows - 48) ** 2 + (columns - x) ** 2 <= 15**2 for x in (30, 90))
    rgb = np.full((*SIZE, 3), (60, 90, 120), np.uint8)
    rgb[left | right] = (200, 80, 40)
    rgb = np.clip(rgb + np.random.default_rng(0).normal(0, 6, rgb.shape), 0, 255).astype(np.uint8)
    only_left = left.astype(np.uint8)
    both = corrected(rgb, only_left, [(90, 48, True)])
    assert overlap(both, (left | right).astype(np.uint8)) > 0.9
    assert overlap(corrected(rgb, both, [(90, 48, False), (30, 48, True)]), only_left) > 0.9
    assert not corrected(rgb, only_left, [(30, 48, False)]).any()


def test_engines_have_names() -> None:
    with pytest.raises(UsageError, match="--engine 'magic' is no engine; use auto, own, sam2, classic"):
        build_engine("magic")


def test_a_correction_leaves_what_was_right() -> None:
    """A head as light as the ground, a body, and a part of the ground that the mask holds, too."""
    noise = np.random.default_rng(3).integers(-6, 7, (90, 120, 3))
    picture = np.full((90, 120, 3), (120, 115, 100)) + noise
    body, head, motor, badge = (np.zeros((90, 120), bool) for _ in range(4))
    body[40:90, 20:60], head[18:40, 30:48], motor[50:80, 60:95], badge[34:37, 62:65] = True, True, True, True
    for part, colour in (
        (body, (200, 40, 30)),
        (head, (130, 118, 96)),
        (motor, (60, 70, 160)),
        (badge, (250, 250, 60)),
    ):
        picture[part] = np.array(colour) + noise[part]
    rgb = np.clip(picture, 0, 255).astype(np.uint8)
    right = (body | head).astype(np.uint8)
    less = corrected(rgb, right | motor.astype(np.uint8), [(80, 65, False)])
    assert overlap(less, right) > 0.95
    assert less[head].mean() > 0.9
    more = corrected(rgb, right, [(63, 35, True)])  # small, and not beside the rest
    assert more[34:37, 62:65].all()
    assert (more[right > 0] == 1).all()
