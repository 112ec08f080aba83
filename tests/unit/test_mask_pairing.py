"""Which mask is whose, by names alone: the rules, and what they refuse."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2fgvi_cli.errors import InputError
from e2fgvi_cli.masks import numbering, pair_with_count, pair_with_frames


def names(*numbers: int, form: str = "{:05d}") -> list[str]:
    return [form.format(number) for number in numbers]


def pairs(masks: list[str], frames: list[str] | int) -> dict[int, str]:
    """Frame number -> the masks' names, joined by "+"."""
    paired = pair_with_count(masks, frames, "W") if isinstance(frames, int) else pair_with_frames(masks, frames, "W")
    return {index: "+".join(masks[place] for place in places) for index, places in sorted(paired.masks_of.items())}


def notices(masks: list[str], frames: list[str] | int) -> tuple[str, ...]:
    found = pair_with_count(masks, frames, "W") if isinstance(frames, int) else pair_with_frames(masks, frames, "W")
    return found.notices


def refusal(masks: list[str], frames: list[str] | int) -> str:
    with pytest.raises(InputError) as caught:
        pairs(masks, frames)
    return str(caught.value)


# ---- a folder of frames


def test_masks_numbered_from_0_for_frames_numbered_from_1() -> None:
    masks, frames = names(*range(10)), names(*range(1, 11))
    assert pairs(masks, frames) == dict(enumerate(masks))
    assert notices(masks, frames) == (
        "masks are numbered from 0, frames from 1: mask 0 is taken for frame 1, and so on",
    )


def test_a_different_start_shifts_sparse_masks_too() -> None:
    assert pairs(names(0, 3, 5), names(*range(1, 11))) == {0: "00000", 3: "00003", 5: "00005"}
    assert pairs(names(1, 6, 10), names(*range(10))) == {0: "00001", 5: "00006", 9: "00010"}


def test_the_same_names_are_the_same_frames() -> None:
    frames = names(*range(1, 11))
    assert pairs(names(2, 10), frames) == {1: "00002", 9: "00010"}
    assert pairs(names(*range(20)), frames) == {n - 1: f"{n:05d}" for n in range(1, 11)}
    assert notices(names(*range(20)), frames) == ("10 masks belong to no frame, such as 00000",)


def test_other_names_go_by_number() -> None:
    assert pairs(["m 12", "m 14"], names(*range(10, 16))) == {2: "m 12", 4: "m 14"}
    assert pairs(names(3, 4, form="clip_{:04d}_720p"), names(*range(6))) == {3: "clip_0003_720p", 4: "clip_0004_720p"}


def test_as_many_masks_numbered_elsewhere_go_by_order() -> None:
    assert pairs(names(100, 101, 102), names(0, 1, 2)) == {0: "00100", 1: "00101", 2: "00102"}
    assert pairs(["0", "33", "67", "100"], names(500, 501, 502, 503)) == {0: "0", 1: "33", 2: "67", 3: "100"}
    assert pairs(["p", "q"], ["first", "second"]) == {0: "p", 1: "q"}


@pytest.mark.parametrize(
    ("masks", "frames", "numbered"),
    [
        (range(5, 15), range(10), "the masks are numbered 5-14, the frames 0-9"),
        ([0, 1, 2, 3, 5, 6, 7, 8, 9, 10], range(10), "the masks are numbered 0-3, 5-10, the frames 0-9"),
        (range(5), range(100, 110), "the masks are numbered 0-4, the frames 100-109"),
    ],
)
def test_numbers_that_agree_in_part_are_refused(masks: range, frames: range, numbered: str) -> None:
    expected = f"W: {numbered}; name the masks like the frames they belong to"
    assert refusal(names(*masks, form="m{:d}"), names(*frames)) == expected


# ---- a video


@pytest.mark.parametrize(
    ("masks", "frames", "first", "counted"),
    [
        (range(5, 10), 20, 5, 0),  # some frames only
        (range(30), 20, 0, 0),  # more masks than frames: the clip was trimmed
        (range(1, 31), 20, 0, 1),
        ([3, 7, 12], 12, 2, 1),  # the last is the count
        ([1, 5], 12, 0, 1),
        ([0, 3, 11], 12, 0, 0),
    ],
)
def test_numbered_masks_of_a_video(masks: range, frames: int, first: int, counted: int) -> None:
    stems = names(*masks)
    found = pairs(stems, frames)
    assert found == {number - counted: f"{number:05d}" for number in masks if 0 <= number - counted < frames}
    assert min(found) == first
    assert notices(stems, frames)[0] == f"masks are matched by the number in their name, counted from {counted}"


def test_as_many_masks_as_frames_go_by_order_whatever_their_first_number() -> None:
    assert notices(names(*range(12)), 12) == notices(names(*range(1, 13)), 12) == ()
    assert pairs(names(*range(86, 98)), 12) == {n: f"{n + 86:05d}" for n in range(12)}
    assert notices(names(*range(86, 98)), 12) == (
        "masks are numbered 86-97: as many as frames, so paired in their order",
    )


@pytest.mark.parametrize(
    ("masks", "frames", "message"),
    [
        (
            names(0, 1, 2, 4, 5),
            5,
            "W, but their numbers skip some and end at 5: 0-2, 4-5; name the masks by frame number, or without gaps",
        ),
        (
            names(100, 101),
            20,
            "W: they are numbered 100-101, and the frames are 0 to 19; name the masks by frame number",
        ),
        (
            ["1", "a1"],
            12,
            "W, and their names do not say which frame each belongs to; give one mask a frame, name them like "
            "the frames, or give a single image",
        ),
        (["7", "7"], 2, "W: two files are called 7, with different endings; leave one of them"),
    ],
)
def test_what_the_numbers_cannot_explain(masks: list[str], frames: int, message: str) -> None:
    assert refusal(masks, frames) == message


# ---- several objects a frame


@pytest.mark.parametrize("form", ["{:05d}_obj{}", "{:05d}_{}", "{:d}_id{}"])
def test_masks_of_several_objects_are_joined(form: str) -> None:
    """Ten files for ten frames, but of the first five of them: not one a frame."""
    masks = [form.format(frame, thing) for frame in range(5) for thing in (1, 2)]
    assert pairs(masks, 10) == {n: f"{masks[2 * n]}+{masks[2 * n + 1]}" for n in range(5)}
    assert f"frames have up to 2 masks, such as {masks[0]}: they are joined" in notices(masks, 10)
    assert pairs(masks, names(*range(10))) == pairs(masks, 10)


def test_objects_before_frames() -> None:
    masks = [f"person{thing}_{frame:04d}" for thing in (1, 2) for frame in range(3)]
    assert pairs(masks, 3) == {n: f"person1_{n:04d}+person2_{n:04d}" for n in range(3)}


def test_two_numbers_that_nothing_tells_apart() -> None:
    assert refusal(["0_1", "0_2", "1_1", "1_2"], 4) == (
        "W: names such as 0_1 and 0_2 do not say which of their numbers is the frame's; name the masks of "
        "several objects like 00012_obj1"
    )


def test_the_number_that_looks_like_a_frames() -> None:
    assert pairs(["00003_p0.97", "00005_p0.81"], 9) == {3: "00003_p0.97", 5: "00005_p0.81"}
    assert pairs(["t120 f3", "t200 f5"], 9) == {3: "t120 f3", 5: "t200 f5"}


def test_numbering() -> None:
    assert numbering(["a", "b"]) is None
    found = numbering(["x2", "y10", "z4"])
    assert found is not None
    assert (found.numbers, found.values, found.step, found.rises) == ((2, 10, 4), (2, 4, 10), None, False)


NAME = st.text(alphabet="ab_0123456789-", min_size=1, max_size=8)


@settings(max_examples=300, deadline=None)
@given(
    masks=st.lists(NAME, min_size=1, max_size=12) | st.lists(st.integers(0, 20).map(str), min_size=1, max_size=12),
    frames=st.integers(1, 12) | st.lists(NAME, min_size=1, max_size=12, unique=True),
)
def test_any_names_are_paired_or_refused(masks: list[str], frames: list[str] | int) -> None:
    """No mask has two frames, every frame is there, and equal names are never put to different frames in part."""
    try:
        paired = (
            pair_with_count(masks, frames, "W") if isinstance(frames, int) else pair_with_frames(masks, frames, "W")
        )
    except InputError:
        return
    used = [place for places in paired.masks_of.values() for place in places]
    assert len(set(used)) == len(used)
    assert set(paired.masks_of) <= set(range(frames if isinstance(frames, int) else len(frames)))
    if not isinstance(frames, int):
        own = {
            masks[place] == frames[index]
            for index, places in paired.masks_of.items()
            for place in places
            if masks[place] in frames
        }
        assert len(own) <= 1
