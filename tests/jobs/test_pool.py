"""A worker's own life."""

from __future__ import annotations

import os
import signal
import sys
import time
import weakref

import pytest

from e2fgvi_cli.jobs import pool


class Thing:
    """Something that can be referred to weakly."""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupt_inside_a_callback_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python prints and forgets it there. 2 of 238 batches that were interrupted printed a traceback so."""
    monkeypatch.setattr(sys, "unraisablehook", pool._raise_again)
    before = signal.getsignal(signal.SIGTERM)
    thing = Thing()
    reference = weakref.ref(thing, pool._interrupt)
    try:
        del thing
        assert reference() is None
        with pytest.raises(KeyboardInterrupt):
            time.sleep(5)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "Traceback" not in capfd.readouterr().err


def test_other_errors_that_cannot_be_raised_are_still_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        raise ValueError("from a callback")

    monkeypatch.setattr(sys, "unraisablehook", pool._raise_again)
    thing = Thing()
    reference = weakref.ref(thing, fail)
    del thing
    assert reference() is None
    assert "from a callback" in capfd.readouterr().err
