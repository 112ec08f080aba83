"""Parts of a page, without a browser."""

from __future__ import annotations

import re

import numpy as np
import pytest

from e2fgvi_cli.report.graphs import MOST_POINTS, clock, line_graph
from e2fgvi_cli.report.moments import outstanding
from e2fgvi_cli.report.page import ViewedFrame, page, table, viewer
from e2fgvi_cli.report.pictures import FILLED, NEVER, PROPAGATED, error_map, origin_map

from ..factories import texture


def test_words_of_others_are_only_words() -> None:
    evil = "</script><b onload=x>"
    shown = page(
        evil, [viewer([ViewedFrame(0, evil, {evil: b"1", "b": b"2"}, b"3")], evil, "b"), table([evil], [[evil]])]
    )
    assert evil not in shown
    assert shown.count("</script>") == 2


def test_a_page_loads_nothing() -> None:
    shown = page("title", [viewer([ViewedFrame(3, "three", {"a": b"1", "b": b"2"}, b"3")], "a", "b")])
    assert "default-src 'none'" in shown
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", shown)
    assert "http" not in re.sub(r"http-equiv", "", shown)


def test_a_line_breaks_where_nothing_is_known() -> None:
    shown = line_graph(
        "flicker", {"one": [1.0, 2.0, None, 4.0, 5.0], "two": [0.0] * 5}, rate=25, marks=[(3, 4)], frames=[1]
    )
    assert shown.count("<path") == 3
    assert 'data-frame="1"' in shown
    assert shown.count('class="mark"') == 1
    assert line_graph("none", {"one": [None, None]}, rate=25) == ""
    assert line_graph("flat", {"one": [0.0, 0.0]}, rate=None).count("<path") == 1


def test_a_long_line_keeps_its_peaks() -> None:
    values = [0.0] * 10_000
    values[7777] = 9.0
    shown = line_graph("long", {"one": values}, rate=25)
    (line,) = re.findall(r' d="M(.*?)"', shown)
    points = [tuple(map(float, point.split())) for point in line.split(" L")]
    assert len(points) <= MOST_POINTS
    assert min(y for _, y in points) == 22.0


def test_time_is_shown_in_minutes_and_seconds() -> None:
    assert clock(1830, 30) == "1:01.0"
    assert clock(7, None) == "frame 7"


def test_moments_are_what_stands_out() -> None:
    rng = np.random.default_rng(2)
    values: list[float | None] = list(rng.normal(1, 0.2, 300))
    values[100:104] = [9.0, 12.0, None, 8.0]
    values[200] = 5.0
    found = outstanding(values, "flicker", least=2.0)
    assert [(m.first, m.last, m.worst, m.value) for m in found] == [(100, 103, 101, 12.0), (200, 200, 200, 5.0)]
    assert outstanding([1.0] * 50, "flicker", least=2.0) == []
    assert outstanding([None] * 3, "flicker", least=2.0) == []


def test_maps_show_where_and_how_much() -> None:
    truth, hole = texture(24, 32), np.zeros((24, 32), bool)
    hole[4:12, 4:20] = True
    result = truth.copy()
    result[hole] ^= 255
    shown = error_map(result, truth, hole)
    assert shown[hole].mean() > 100
    assert error_map(truth, truth, hole)[hole].max() < 10
    some, rest = hole.copy(), hole.copy()
    some[:, 12:], rest[:, :12] = False, False
    origins = origin_map(np.zeros_like(truth), some, rest, np.zeros_like(hole))
    assert origins[5, 5] == pytest.approx(np.array(PROPAGATED) * 0.75, abs=1)
    assert origins[5, 15] == pytest.approx(np.array(FILLED) * 0.75, abs=1)
    nothing = np.zeros_like(hole)
    assert origin_map(np.zeros_like(truth), nothing, nothing, hole)[5, 5] == pytest.approx(
        np.array(NEVER) * 0.75, abs=1
    )
    assert (origins[20] == 0).all()
