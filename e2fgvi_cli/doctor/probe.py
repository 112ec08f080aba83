"""Runs something that may crash, hang or print anything, in a process of its own, and says what became of it.

The probe's answer comes through a file, because libraries print on standard output; the process gets an empty working
folder, the same interpreter flags, faulthandler, and a time limit that also ends its children.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .model import Text, say

PROBES = Path(__file__).with_name("probes")
TAIL = 16_384
LAUNCHER = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
WINDOWS_CODES = {
    0xC0000005: "exit.access_violation",
    0xC000001D: "exit.illegal_instruction",
    0xC0000135: "exit.dll_missing",
    0xC0000139: "exit.entry_point",
    0xC000007B: "exit.bad_image",
    0xC0000142: "exit.dll_init",
    0xC00000FD: "exit.stack_overflow",
    0xC06D007E: "exit.delay_dll",
    0xC06D007F: "exit.delay_symbol",
    3: "exit.abort",
}
SIGNALS = {
    "SIGSEGV": "exit.segfault", "SIGBUS": "exit.bus", "SIGABRT": "exit.abort", "SIGILL": "exit.illegal_instruction",
    "SIGKILL": "exit.killed", "SIGFPE": "exit.fpe", "SIGTERM": "exit.terminated",
}  # fmt: skip


@dataclass
class ProbeResult:
    """`answer` is what the probe wrote, {} if it did not get that far. `seconds` is wall time."""

    returncode: int | None
    answer: dict[str, Any] = field(default_factory=dict)
    output: str = ""
    seconds: float = 0.0
    timed_out: bool = False

    @property
    def died(self) -> bool:
        """True when the process did not end by itself with status 0."""
        return self.timed_out or self.returncode != 0

    def reason(self) -> Text:
        """How the process ended, in words: a decoded signal, Windows status, or the exit code."""
        if self.timed_out:
            return say("exit.timeout", seconds=round(self.seconds))
        return decode_exit(self.returncode or 0)

    def last_lines(self, count: int = 3) -> str:
        """What it printed last; of faulthandler's report the line that names the error, not the interpreter's own
        frames."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        fatal = [line for line in lines if line.startswith(("Fatal Python error", "Windows fatal exception"))]
        return " | ".join(fatal[:1] or lines[-count:])


def decode_exit(code: int, platform: str = sys.platform) -> Text:
    """Words for a return code: negative is a signal, large numbers are Windows' NTSTATUS."""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return say(SIGNALS.get(name, "exit.signal"), name=name)
    status = code & 0xFFFFFFFF
    if status in WINDOWS_CODES and (status > 0xFF or platform == "win32"):
        return say(WINDOWS_CODES[status], name=f"{status:#010X}" if status > 0xFF else str(status))
    return say("exit.code", name=code)


def interpreter_flags() -> list[str]:
    """The flags of this interpreter that change what is importable (-I, -E, -s, -P), so that a probe sees the same."""
    flags = ["-X", "faulthandler"]
    if sys.flags.isolated:
        flags.append("-I")
    elif sys.flags.no_user_site:
        flags.append("-s")
    if getattr(sys.flags, "safe_path", False):
        flags.append("-P")
    return flags


def run_probe(
    script: str,
    *arguments: str,
    executable: str = sys.executable,
    timeout: float = 60.0,
    environ: dict[str, str] | None = None,
) -> ProbeResult:
    """Run `probes/SCRIPT.py ARGUMENTS... ANSWER_FILE`. Never raises for what the probe does; OSError if it cannot
    start."""
    with tempfile.TemporaryDirectory(prefix="e2fgvi-probe-", ignore_cleanup_errors=True) as folder:
        answer, printed, empty = (Path(folder) / name for name in ("answer.json", "output.txt", "cwd"))
        empty.mkdir()
        command = [
            executable,
            *interpreter_flags(),
            "-c",
            LAUNCHER,
            str(PROBES / f"{script}.py"),
            *arguments,
            str(answer),
        ]
        start = time.monotonic()
        with open(printed, "wb") as output:
            process = subprocess.Popen(
                command,
                cwd=empty,
                env={**os.environ, **(environ or {}), "PYTHONIOENCODING": "utf-8"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=os.name == "posix",
            )
            timed_out = _wait(process, timeout)
        return ProbeResult(
            returncode=process.returncode,
            answer=_read_answer(answer),
            output=_tail(printed),
            seconds=time.monotonic() - start,
            timed_out=timed_out,
        )


def _wait(process: subprocess.Popen[bytes], timeout: float) -> bool:
    """Wait for the end; at the limit end the process and its children. True if the limit was reached."""
    try:
        process.wait(timeout)
        return False
    except subprocess.TimeoutExpired:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        return True


def _read_answer(path: Path) -> dict[str, Any]:
    try:
        answer = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _tail(path: Path) -> str:
    with open(path, "rb") as handle:
        handle.seek(0, os.SEEK_END)
        handle.seek(max(0, handle.tell() - TAIL))
        return handle.read().decode("utf-8", "replace")
