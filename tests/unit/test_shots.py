"""Cuts: where they are found, where they must not be, and that nothing is held back longer than two frames."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2fgvi_cli.video.reading.shots import CutDetector, ShotOptions, judge, split_shots

CLIPS = Path(__file__).parents[3] / "shared" / "train" / "clips"


def scene(seed: int, frames: int, step: float = 1.0, size: tuple[int, int] = (72, 128)) -> list[np.ndarray]:
    """A textured picture that pans by `step` pixels a frame, with colours of its own."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float64)
    waves = generator.uniform(0.02, 0.25, (4, 2))
    phases = generator.uniform(0, 6, (4, 3))
    base = generator.uniform(60, 190, 3)
    made = []
    for index in range(frames):
        picture = np.zeros((*size, 3)) + base
        for (down, along), phase in zip(waves, phases, strict=True):
            picture += 22 * np.sin(down * rows[:, :, None] + along * (columns[:, :, None] + step * index) + phase)
        noise = generator.normal(0, 2, picture.shape)
        made.append(np.clip(picture + noise, 0, 255).astype(np.uint8))
    return made


def film(*lengths: int, step: float = 1.0) -> tuple[list[np.ndarray], list[int]]:
    shots = [scene(number, length, step) for number, length in enumerate(lengths)]
    return [frame for shot in shots for frame in shot], list(np.cumsum(lengths[:-1]))


def find_cuts(frames: Iterable[np.ndarray], options: ShotOptions = ShotOptions()) -> list[int]:
    """Numbers of the frames that start a new shot (never 0)."""
    judged = judge(frames, lambda rgb: rgb, options)
    return [index for index, (_, is_cut) in enumerate(judged) if is_cut]


def test_cuts_are_found_to_the_frame() -> None:
    frames, cuts = film(20, 7, 30, 5)
    assert find_cuts(frames) == cuts


def test_sixteen_bit_frames_give_the_same() -> None:
    frames, cuts = film(12, 12)
    assert find_cuts([frame.astype(np.uint16) * 257 for frame in frames]) == cuts


@pytest.mark.parametrize("step", [0.0, 3.0, 12.0])
def test_no_cut_within_a_shot_however_fast_it_pans(step: float) -> None:
    assert find_cuts(scene(3, 40, step)) == []


def test_a_flash_is_no_cut() -> None:
    frames = scene(4, 30)
    frames[11] = np.full_like(frames[11], 250)
    assert find_cuts(frames) == []


def test_a_dropped_frame_is_no_cut() -> None:
    frames = scene(4, 30)
    frames[11] = np.zeros_like(frames[11])
    assert find_cuts(frames) == []


def test_a_slow_fade_is_no_cut() -> None:
    first, second = scene(1, 40, 0.5), scene(2, 40, 0.5)
    weights = np.linspace(0, 1, 40)
    faded = [(a * (1 - w) + b * w).astype(np.uint8) for a, b, w in zip(first, second, weights, strict=True)]
    assert find_cuts(faded) == []


def test_brightness_that_jumps_a_little_is_no_cut() -> None:
    frames = scene(5, 30)
    frames[15:] = [np.clip(frame.astype(int) + 12, 0, 255).astype(np.uint8) for frame in frames[15:]]
    assert find_cuts(frames) == []


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_clips_shorter_than_the_look_ahead(count: int) -> None:
    frames = scene(0, count)
    assert find_cuts(frames) == []
    assert [len(list(shot)) for shot in split_shots(judge(frames, lambda rgb: rgb))] == ([count] if count else [])


def test_shots_are_not_shorter_than_asked() -> None:
    frames, _ = film(20, 2, 2, 2, 20)
    cuts = find_cuts(frames, ShotOptions(shortest=4))
    assert all(later - earlier >= 4 for earlier, later in zip([0, *cuts], [*cuts, len(frames)], strict=True))


def test_cut_near_the_end_is_found() -> None:
    frames, cuts = film(20, 2)
    assert find_cuts(frames) == cuts


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(4, 15), min_size=1, max_size=5))
def test_split_keeps_every_item_once_and_in_order(lengths: list[int]) -> None:
    frames, cuts = film(*lengths)
    shots = [list(shot) for shot in split_shots(judge(enumerate(frames), lambda item: item[1]))]
    assert [index for shot in shots for index, _ in shot] == list(range(len(frames)))
    assert [shot[0][0] for shot in shots] == [0, *cuts]


def test_split_reads_no_further_ahead_than_it_says() -> None:
    frames, _ = film(30, 30)
    taken = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal taken
        for frame in frames:
            taken += 1
            yield frame

    given_out = 0
    for shot in split_shots(judge(counted(), lambda rgb: rgb)):
        for _ in shot:
            given_out += 1
            assert taken - given_out <= CutDetector.DELAY + 1


def test_detector_holds_a_bounded_amount() -> None:
    detector = CutDetector()
    for frame in scene(0, 60):
        detector.add(frame)
    assert len(detector._signatures) <= 6
    assert sum(part.layout.nbytes + part.colours.nbytes for part in detector._signatures) < 100_000


@pytest.mark.skipif(not CLIPS.is_dir(), reason="../shared/train is absent")
def test_real_cuts_between_real_clips() -> None:
    """Segments of eighteen clips joined: every join is found, and nothing else. (Three hundred joins:
    docs/round-trip.md.)"""
    from e2fgvi_cli.video import open_reader

    generator = random.Random(11)
    files = generator.sample(sorted(CLIPS.glob("*.mp4")), 18)
    joins: list[int] = []

    def joined() -> Iterator[np.ndarray]:
        count = 0
        for file in files:
            length = generator.randint(8, 30)
            joins.append(count)
            with open_reader(file, size=(240, 432)) as reader:
                for frame in reader:
                    if frame.index >= length:
                        break
                    yield frame.rgb
                    count += 1

    assert find_cuts(joined()) == joins[1:]
