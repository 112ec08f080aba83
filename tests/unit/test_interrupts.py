"""Signals: the first one ends the work, further ones leave the cleaning up alone, and what must not be interrupted is
not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2fgvi_cli.system.interrupts import SIGNALS, Interrupted, deferred, exit_code

from ..conftest import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def run(code: str, *, ignored: signal.Signals | None = None) -> subprocess.CompletedProcess[str]:
    """A program of its own, with the handlers of the command line."""
    head = "import os, signal, sys, time\nfrom e2fgvi_cli.system import interrupts\n"

    def ignore() -> None:
        if ignored is not None:
            signal.signal(ignored, signal.SIG_IGN)

    return subprocess.run(
        [sys.executable, "-c", head + code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
        check=False,
        preexec_fn=ignore,
    )


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 130), ("SIGHUP", 129)])
def test_every_signal_unwinds_and_has_its_code(name: str, code: int) -> None:
    done = run(
        f"interrupts.install()\ntry:\n    os.kill(os.getpid(), signal.{name})\n    time.sleep(9)\n"
        "except KeyboardInterrupt as error:\n    print('clean')\n    sys.exit(interrupts.exit_code(error.number))"
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "clean\n", "")
    assert exit_code(getattr(signal, name)) == code


def test_a_second_signal_does_not_break_into_the_cleaning_up() -> None:
    done = run(
        "interrupts.install()\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(9)\n"
        "except KeyboardInterrupt:\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(0.05)\n    print('saved')"
    )
    assert (done.returncode, done.stdout) == (0, "saved\n")


def test_after_the_grace_a_signal_ends_the_process() -> None:
    done = run(
        "interrupts.install()\ninterrupts.GRACE_SECONDS = 0.0\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(9)\nexcept KeyboardInterrupt:\n    time.sleep(0.01)\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(9)\n    print('hangs')"
    )
    assert (done.returncode, done.stdout) == (130, "")


def test_what_nohup_ignores_stays_ignored() -> None:
    code = "interrupts.install()\nos.kill(os.getpid(), signal.SIGHUP)\ntime.sleep(0.05)\nprint('goes on')"
    assert run(code, ignored=signal.SIGHUP).stdout == "goes on\n"
    assert run(code).returncode != 0


def test_a_signal_swallowed_by_a_destructor_comes_again() -> None:
    done = run(
        "interrupts.install()\nclass Thing:\n    def __del__(self):\n        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(0.01)\nthing = Thing()\ntry:\n    del thing\n    time.sleep(9)\n"
        "except KeyboardInterrupt:\n    print('answered')"
    )
    assert (done.stdout, done.stderr) == ("answered\n", "")


def test_before_the_work_a_signal_ends_the_process_with_a_sentence() -> None:
    done = run(
        "interrupts.leave_at_once(message=b'error: early\\n')\nos.kill(os.getpid(), signal.SIGHUP)\ntime.sleep(9)"
    )
    assert (done.returncode, done.stderr) == (129, "error: early\n")


def test_deferred_answers_after_the_block() -> None:
    happened = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 (that the block is finished is the point)
        with deferred():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            happened.append("finished")
        happened.append("went on")
    assert happened == ["finished"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_deferred_leaves_handlers_as_they_were() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ValueError, match="own"), deferred():
        raise ValueError("own")
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("arguments", [["-m", "e2fgvi_cli", "--help"], ["-m", "e2fgvi_cli", "inpaint", "-v", "no"]])
def test_signals_while_the_program_starts_leave_no_traceback(arguments: list[str]) -> None:
    """From before the command line is imported on. (What comes before Python has read the package, Python answers.)"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for delay in (0.06, 0.09, 0.12, 0.16, 0.2, 0.3):
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=ROOT / "tests",
            text=True,
        )
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        if "<frozen " in said and "e2fgvi_cli" not in said:
            continue  # the interpreter was still loading its own library
        assert "Traceback" not in said, (delay, said)
        assert process.returncode in (-signal.SIGINT, 130, 0, 2), (delay, said)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_the_interpreters_own_end_does_not_decide_the_exit_code(number: int) -> None:
    """Modules are taken down after Python has taken its handlers away."""
    last = f"class Last:\n    def __del__(self, kill=os.kill, me=os.getpid()):\n        kill(me, {int(number)})\n"
    done = run(
        f"{last}interrupts.install()\nkept = Last()\nsys.last = kept\ninterrupts.leave_at_once(6)\nsys.exit(6)\n"
    )
    assert (done.returncode, done.stderr) == (6, "")


def test_interrupted_is_a_keyboard_interrupt_that_knows_its_signal() -> None:
    assert Interrupted(signal.SIGTERM).number == signal.SIGTERM
    assert issubclass(Interrupted, KeyboardInterrupt)


def test_the_entry_point_of_the_package_is_the_guarded_one() -> None:
    assert 'e2fgvi = "e2fgvi_cli.__main__:main"' in (Path(ROOT) / "pyproject.toml").read_text(encoding="utf-8")
