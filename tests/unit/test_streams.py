"""Standard streams that are closed, full or without a reader cost nothing but what was to be shown there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="descriptors of POSIX")

PROGRAM = """
import contextlib, os, sys
from e2fgvi_cli.system import streams
streams.guard()
for number in range(2000):
    print("line", number, file=sys.stderr)
print("result " * 5000)
with open("done", "wb") as file:
    assert file.fileno() > 2
    with contextlib.suppress(OSError):
        os.write(2, b"a library speaks")
    file.write(b"whole")
sys.exit(streams.finish(0))
"""


def shell(tmp_path: Path, redirection: str) -> tuple[int, bytes]:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{sys.executable}' -c \"$PROGRAM\" {redirection}"],
        capture_output=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PROGRAM": PROGRAM},
        timeout=60,
        check=False,
    )
    assert (tmp_path / "done").read_bytes() == b"whole"
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "redirection",
    [">&- 2>&-", "2>&-", ">&- 2>&- <&-", "2>/dev/full", "| true", "2>&1 >/dev/null | true", "| head -c 1"],
)
def test_the_work_is_done_all_the_same(tmp_path: Path, redirection: str) -> None:
    code, said = shell(tmp_path, redirection)
    assert code == 0
    assert b"Traceback" not in said
    assert b"Exception ignored" not in said


def test_a_result_that_finds_no_room_is_an_error(tmp_path: Path) -> None:
    code, said = shell(tmp_path, ">/dev/full")
    assert code == 1
    assert said.endswith(
        b"error: standard output could not be written: No space left on device; the work itself is done\n"
    )


def test_a_pipe_that_does_not_wait_gets_everything(tmp_path: Path) -> None:
    code = (
        "import os, sys, time, subprocess\nos.set_blocking(1, False)\n"
        "from e2fgvi_cli.system import streams\nstreams.guard()\nprint('x' * 300000)\nsys.exit(streams.finish(0))"
    )
    slow = "import sys, time\ntime.sleep(0.3)\nprint(len(sys.stdin.read()))"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{sys.executable}' -c \"$CODE\" | '{sys.executable}' -c \"$SLOW\""],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CODE": code, "SLOW": slow},
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "300001\n")


def test_names_that_are_no_text_are_escaped(tmp_path: Path) -> None:
    code = "import sys\nfrom e2fgvi_cli.system import streams\nstreams.guard()\nprint('caf\\udce9', '\\u6f22')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii:strict"},
        timeout=60,
        check=True,
    )
    assert done.stdout == b"caf\\udce9 \\u6f22\n"
