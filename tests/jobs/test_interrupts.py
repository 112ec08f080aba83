"""Signals to a driver: the first ends the run as it did before, the next ones do not disturb what is let go of."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from e2fgvi_cli.jobs import interrupts
from e2fgvi_cli.jobs.interrupts import first_only, held_back

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Handlers as the command line has them, and those of the suite afterwards."""
    before = {number: signal.getsignal(number) for number in interrupts.ENDING}
    for number in interrupts.ENDING:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_second_signal_does_not_break_into_the_cleaning_up(number: int) -> None:
    cleaned = []

    def run() -> None:
        with first_only():
            try:
                send(number)
                raise AssertionError("the first signal was lost")
            finally:
                for other in interrupts.ENDING:
                    send(other)
                    cleaned.append(other)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert cleaned == list(interrupts.ENDING)
    assert signal.getsignal(number) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        send(number)


def test_a_cleaning_up_that_hangs_can_be_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "PATIENCE_SECONDS", 0.0)
    with first_only():
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                send(signal.SIGINT)


def test_signals_wait_while_a_process_is_started() -> None:
    reached = []

    def start() -> None:
        with first_only(), held_back():
            send(signal.SIGHUP)
            reached.append("the end of the block")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert reached == ["the end of the block"]


def test_what_was_ignored_stays_ignored() -> None:
    """As under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with first_only():
        send(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_an_interrupt_that_python_forgets_comes_again() -> None:
    class Thing:
        def __del__(self) -> None:
            send(signal.SIGINT)

    with first_only():
        thing = Thing()
        del thing
        with pytest.raises(KeyboardInterrupt):
            time.sleep(5)
