"""Times of copied packets: good ones stay, wrong ones get the place where the packet belongs, and they always
increase."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2fgvi_cli.video.writing.packet_times import PacketTimes

LENGTH, SECOND = 10, 500


def placed(
    stamps: list[int | None], *, strict: bool = True, continuous: bool = True, length: int = LENGTH
) -> tuple[list[int | None], PacketTimes]:
    """Where packets with these stamps go (None: left out)."""
    times = PacketTimes(strict=strict, second=SECOND, continuous=continuous)
    found: list[int | None] = []
    for number, stamp in enumerate(stamps):
        following = stamps[number + 1] if number + 1 < len(stamps) else None
        one = times.place(stamp, stamp, length, following)
        found.append(None if one is None else one.dts)
    return found, times


def test_good_stamps_stay() -> None:
    stamps: list[int | None] = [-7, 0, 10, 21, 29, 900, 910]  # a start before 0, jitter, and a gap
    found, times = placed(stamps)
    assert found == stamps
    assert (times.moved, times.dropped) == (0, 0)


@pytest.mark.parametrize(
    ("stamps", "wanted"),
    [
        ([0, 10, 20, 20, 40, 50], [0, 10, 20, 30, 40, 50]),  # one equal
        ([0, 10, 20, 10, 40, 50], [0, 10, 20, 30, 40, 50]),  # one that goes back
        ([0, 0, 0, 0, 40, 50], [0, 10, 20, 30, 40, 50]),  # several under one stamp
        ([0, 10, 9999, 30, 40], [0, 10, 20, 30, 40]),  # one far ahead
        ([9999, 10, 20, 30], [0, 10, 20, 30]),  # the first far ahead
        ([100, 110, 120, 30, 40, 50, 160], [100, 110, 120, 130, 140, 150, 160]),  # some on a wrong clock
        ([100, 110, 120, 0, 10, 20, 30], [100, 110, 120, 130, 140, 150, 160]),  # a clock that starts again
        ([0, 10, None, 30, None], [0, 10, 20, 30, 40]),  # none at all
        ([0, 10, 20, 17, 30, 40], [0, 10, 20, 21, 30, 40]),  # a jitter
        ([0, 10, 1 << 61, 30], [0, 10, 20, 30]),  # damage beyond FFmpeg's arithmetic
    ],
)
def test_wrong_stamps_get_their_place(stamps: list[int | None], wanted: list[int]) -> None:
    found, times = placed(stamps)
    assert found == wanted
    assert times.dropped == 0
    moved = sum(
        stamp is not None and abs(stamp) < 1 << 60 and stamp != time for stamp, time in zip(stamps, wanted, strict=True)
    )
    assert times.moved == moved


def test_back_on_the_old_clock_over_what_was_appended() -> None:
    """Ten packets that were written already, then the clock leaps forward: those whose time is taken are left out."""
    stamps: list[int | None] = [*range(0, 200, 10), *range(0, 100, 10), *range(210, 400, 10)]
    found, times = placed(stamps)
    assert times.dropped == 8
    assert found[-2:] == [380, 390]


def test_matroska_takes_equal_times() -> None:
    assert placed([0, 10, 10, 20], strict=False)[0] == [0, 10, 10, 20]


def test_subtitles_are_never_left_out_nor_put_elsewhere() -> None:
    found, times = placed([0, 900, 900, 100, 1000], continuous=False)
    assert found == [0, 900, 901, 902, 1000]
    assert times.dropped == 0


def test_pictures_are_not_shown_before_they_are_decoded() -> None:
    times = PacketTimes(strict=True, second=SECOND, continuous=False)
    assert times.place(0, 20, 10, None) is not None
    late = times.place(0, 0, 10, None)
    assert late is not None
    assert late.pts >= late.dts == 1
    again = times.place(10, 5, 1 << 40, None)
    assert again is not None
    assert (again.dts, again.pts, again.duration) == (10, 10, (1 << 31) - 1)


@given(
    stamps=st.lists(st.one_of(st.none(), st.integers(-1000, 3000), st.integers(-(1 << 63), 1 << 63)), max_size=40),
    length=st.integers(0, 100),
    strict=st.booleans(),
    continuous=st.booleans(),
)
def test_times_always_increase(stamps: list[int | None], length: int, strict: bool, continuous: bool) -> None:
    found = [
        time for time in placed(stamps, strict=strict, continuous=continuous, length=length)[0] if time is not None
    ]
    assert all(late - early >= strict for early, late in pairwise(found))
    assert bool(found) == bool(stamps)
