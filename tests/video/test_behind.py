"""Writing in a thread: order, bounded, errors reach the producer, nothing is consumed after `finish` or `abandon`."""

from __future__ import annotations

import threading
import time

import pytest

from e2fgvi_cli.threads.behind import WriteBehind


def test_everything_is_consumed_in_order_before_finish_returns() -> None:
    seen: list[int] = []

    def consume(item: int) -> None:
        time.sleep(0.002)
        seen.append(item)

    behind = WriteBehind(consume, depth=3)
    for n in range(20):
        behind.put(n)
        assert n - len(seen) <= 3 + 1, "three may wait while one is being consumed"
    behind.finish()
    assert seen == list(range(20))


def test_an_error_reaches_the_producer_and_ends_consumption() -> None:
    seen: list[int] = []

    def consume(item: int) -> None:
        if item == 2:
            raise OSError("disk full")
        seen.append(item)

    def produce() -> None:
        for n in range(1000):
            behind.put(n)

    behind = WriteBehind(consume, depth=1)
    with pytest.raises(OSError, match="disk full"):
        produce()
    behind.abandon()
    assert seen == [0, 1]


def test_an_error_of_the_last_item_is_raised_by_finish() -> None:
    def consume(item: int) -> None:
        raise OSError("disk full")

    behind = WriteBehind(consume, depth=4)
    behind.put(0)
    with pytest.raises(OSError, match="disk full"):
        behind.finish()


def test_abandon_drops_what_waits_and_outlives_what_is_being_consumed() -> None:
    started, go_on = threading.Event(), threading.Event()
    seen: list[int] = []

    def consume(item: int) -> None:
        started.set()
        go_on.wait(10)
        seen.append(item)

    behind = WriteBehind(consume, depth=5)
    for n in range(4):
        behind.put(n)
    assert started.wait(10)
    threading.Timer(0.1, go_on.set).start()
    behind.abandon()
    assert seen == [0], "abandon waits for it: its file is closed next"
