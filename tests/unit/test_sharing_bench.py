"""Sleeps in place of work: what sharing by itself costs."""

from __future__ import annotations

from measurements.sharing import Pace, measure_sharing


def test_two_sleeping_devices_share_a_clip() -> None:
    pace = Pace(read=0.0, compute=0.002, write=0.0)
    one, two = measure_sharing(200, 1, pace, 400), measure_sharing(200, 2, pace, 400)
    assert one.windows == (40,)
    assert one.whole >= 40 * 5 * pace.compute
    assert min(two.windows) >= 8
    assert sum(two.windows) == 40
    assert two.quarter < two.whole


def test_a_devices_first_two_windows_take_longer() -> None:
    pace = Pace(read=0.0, compute=0.0, write=0.0, first=0.2)
    run = measure_sharing(120, 2, pace, 400)
    assert min(run.windows) >= 3
    assert 2 * 0.2 <= run.whole < 4 * 0.2, "both at the same time"
