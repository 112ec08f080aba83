"""Signals wait while a process is started, and reach neither it nor nobody."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from typing import Any

import pytest

from e2fgvi_cli.jobs.starting import held_back, let_through

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")


def test_a_signal_waits_until_the_process_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    reached = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def start() -> None:
        with held_back():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            reached.append("the end of the block")

    try:
        with pytest.raises(KeyboardInterrupt):
            start()
    finally:
        signal.signal(signal.SIGINT, before)
    assert reached == ["the end of the block"]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def live(pipe: Any, ready: bool) -> None:
    """A worker in small: says when it may be interrupted, and how that ended."""
    pipe.send("started")
    try:
        if ready:
            let_through()
            pipe.send("ready")
        time.sleep(1.0)
        pipe.send("undisturbed")
    except KeyboardInterrupt:
        pipe.send("interrupted")


@pytest.mark.parametrize(
    ("ready", "numbers", "end"),
    [
        (False, (signal.SIGINT, signal.SIGHUP, signal.SIGTERM), "undisturbed"),
        (True, (signal.SIGINT, signal.SIGHUP), "undisturbed"),
        (True, (signal.SIGTERM, signal.SIGTERM), "interrupted"),
    ],
)
def test_a_process_gets_signals_when_it_is_ready_and_only_its_own(
    ready: bool, numbers: tuple[int, ...], end: str
) -> None:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=live, args=(theirs, ready))
    with held_back():
        process.start()
    assert ours.recv() == "started"
    if ready:
        assert ours.recv() == "ready"
    for number in numbers:
        os.kill(process.pid or 0, number)
    assert ours.poll(30)
    assert ours.recv() == end
    process.join(30)
