"""Sleeps in place of work: what sharing by itself costs."""

from __future__ import annotations

from e2fgvi_cli.bench.sharing import Pace, measure_sharing


def test_two_sleeping_devices_share_a_clip() -> None:
    pace = Pace(read=0.0, compute=0.002, write=0.0)
    one, two = measure_sharing(200, 1, pace, 400), measure_sharing(200, 2, pace, 400)
    assert one.windows == (40,)
    assert one.whole >= 40 * 5 * pace.compute
    assert min(two.windows) >= 8
    assert sum(two.windows) == 40
    assert two.quarter < two.whole


def test_captures_take_turns() -> None:
    """Two devices, two captures each: the last one is over after four at the earliest."""
    run = measure_sharing(120, 2, Pace(0.0, 0.0, 0.0, capture=0.05), 400)
    assert min(run.windows) >= 3
    assert run.whole >= 4 * 0.05
