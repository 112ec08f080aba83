"""Ticks of written frames: exact where the container can, never two at once, never a gap that it cannot hold."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2fgvi_cli.types import VideoInfo
from e2fgvi_cli.video import OutputOptions
from e2fgvi_cli.video.writing.output_times import OutputTimes, usable_rate

CONTAINERS = ("mp4", "mov", "matroska", "webm", "avi")


def clip(time_base: Fraction | None, rate: Fraction | None = Fraction(25)) -> VideoInfo:
    return VideoInfo(Path("x.mp4"), False, 48, 64, None, rate, time_base=time_base)


def times_of(
    info: VideoInfo, container: str, ticks: list[int], options: OutputOptions = OutputOptions()
) -> OutputTimes:
    times = OutputTimes(info, options, container)
    found = [times.ticks(times.seconds(index, tick)) * times.time_base for index, tick in enumerate(ticks)]
    times.found = found  # type: ignore[attr-defined]
    return times


def seconds(times: OutputTimes) -> list[Fraction]:
    return times.found  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("container", ["mp4", "mov", "matroska", "webm"])
def test_source_times_stay_exact(container: str) -> None:
    ticks = [0, 1001, 2002, 9000, -5, 30000]
    times = times_of(clip(Fraction(1, 30_000)), container, ticks[:4])
    assert seconds(times) == [Fraction(tick, 30_000) for tick in ticks[:4]]
    assert times.notices() == []


@pytest.mark.parametrize(
    ("rate", "usable"),
    [
        (Fraction("23.976023976"), Fraction(24_000, 1001)),
        (Fraction("29.97002997"), Fraction(30_000, 1001)),
        (Fraction("23.976"), Fraction("23.976")),
        (Fraction("59.9400599400599400599"), Fraction(60_000, 1001)),
        (Fraction(10**20 + 1, 10**19), Fraction(10)),
    ],
)
def test_rates_fit_into_32_bits(rate: Fraction, usable: Fraction) -> None:
    assert usable_rate(rate) == usable


def test_ticks_too_fine_for_mp4_become_ones_that_are_exact_for_the_rate() -> None:
    info = clip(Fraction(1, 1_000_000_000), Fraction(24_000, 1001))
    ticks = [round(index * Fraction(1001, 24_000) * 10**9) for index in range(20)]
    times = times_of(info, "mp4", ticks)
    assert times.time_base == Fraction(1, 96_000)
    assert seconds(times) == [index * Fraction(1001, 24_000) for index in range(20)]


def test_avi_counts_frames_from_its_origin() -> None:
    times = OutputTimes(clip(Fraction(1, 1000)), OutputOptions(), "avi", Fraction(4000))
    ticks = [times.ticks(times.seconds(0, 4_000_000 + tick)) for tick in (0, 40, 81, 119, 200)]
    assert (times.time_base, ticks) == (Fraction(1, 25), [0, 1, 2, 3, 5])
    assert times.notices() == []
    assert times.ticks(times.seconds(0, 4_000_215)) == 6
    assert times.notices() == ["1 frame was moved in time: avi has one frame rate, here 25 a second"]


@pytest.mark.parametrize(("container", "longest"), [("mp4", 2**28), ("mov", 2**28), ("avi", 65_536)])
def test_a_pause_is_as_long_as_the_container_can_hold(container: str, longest: int) -> None:
    ticks = [0, 3600, 2**33, 2**33 + 3600]
    times = times_of(clip(Fraction(1, 90_000)), container, ticks)
    found = [round(second / times.time_base) for second in seconds(times)]
    steps = [late - early for early, late in pairwise(found)]
    assert longest * 0.9 < steps[1] <= longest
    assert steps[0] == steps[2] == round(Fraction(3600, 90_000) / times.time_base)
    assert times.notices()[-1].startswith("1 pause was shortened: ")


def test_matroska_keeps_frames_of_less_than_a_millisecond_apart() -> None:
    times = times_of(clip(Fraction(1, 90_000)), "matroska", [0, 1, 2, 3, 9000])
    assert [int(1000 * second + Fraction(1, 2)) for second in seconds(times)] == [0, 1, 2, 3, 100]


def test_how_long_a_frame_is_shown() -> None:
    info = clip(Fraction(1, 1000))
    assert OutputTimes(info, OutputOptions(), "mp4").duration(2500) == 2500
    assert OutputTimes(info, OutputOptions(), "mp4").duration(40) == 40
    assert OutputTimes(info, OutputOptions(), "matroska").duration(40) == 0  # Matroska's default
    assert OutputTimes(info, OutputOptions(), "matroska").duration(2500) == 2500
    assert OutputTimes(info, OutputOptions(frame_rate=Fraction(10)), "mp4").duration(2500) == 0
    assert OutputTimes(clip(Fraction(1, 90_000)), OutputOptions(), "mp4").duration(1 << 60) == 2**28


@given(
    ticks=st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=30),
    container=st.sampled_from(CONTAINERS),
    time_base=st.sampled_from([Fraction(1, 1000), Fraction(1, 90_000), Fraction(1, 10**9), Fraction(1001, 30_000)]),
)
def test_times_increase_and_fit(ticks: list[int], container: str, time_base: Fraction) -> None:
    times = times_of(clip(time_base), container, sorted(ticks))
    found = [round(second / times.time_base) for second in seconds(times)]
    assert all(late > early for early, late in pairwise(found))
    assert container in ("matroska", "webm") or all(late - early <= 2**28 for early, late in pairwise(found))
    assert times.time_base.denominator <= 2_000_000
