"""What a run costs the host: measured without a network, and as if a device answered image propagation's lookups."""

from __future__ import annotations

import pytest

from e2fgvi_cli.propagation.options import PropagationOptions
from e2fgvi_cli.propagation.query import Answer, Query
from measurements import host
from measurements.host import measure_host


def test_the_host_is_measured_without_a_network() -> None:
    found = measure_host((48, 64), 12)
    assert 0 < found.driver < found.wall, "the driving thread waits for others at times"
    assert found.cpu > 0


def test_the_host_is_measured_as_if_a_device_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, asked = host._black, []

    def noted(query: Query) -> Answer:
        asked.append(query.number)
        return answer(query)

    monkeypatch.setattr(host, "_black", noted)
    for looks_up, expected in ((True, list(range(12))), (False, [])):
        asked.clear()
        assert measure_host((96, 128), 12, propagation=PropagationOptions(), looks_up=looks_up).cpu > 0
        assert asked == expected
