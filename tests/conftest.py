"""Shared fixtures. Vector width is fixed first, before anything imports torch: see
docs/decisions/0003-parity-and-rounding.md."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from e2fgvi_cli.system.interrupts import SIGNALS

settings.register_profile(
    "untimed", deadline=None
)  # a busy machine is no failure, nor is the first import inside a test
settings.load_profile("untimed")

if platform.machine().lower() in ("x86_64", "amd64"):
    os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx2")
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")

os.environ["E2FGVI_CONFIG"] = ""  # not the settings of whoever runs the tests

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers share two cores

# A suite started in the background of a script ignores Ctrl-C, and so would the programs whose Ctrl-C is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first, half of them for each of two workers, which get a half of the list each: none is left to one
    worker at the end."""
    slow = [item for item in items if item.get_closest_marker("slow")]
    quick = [item for item in items if not item.get_closest_marker("slow")]
    cut = max(len(items) // 2 - len(slow[::2]), 0)
    items[:] = [*slow[::2], *quick[:cut], *slow[1::2], *quick[cut:]]


SHARED = ROOT.parent / "shared"


def shared(*parts: str) -> Path:
    """A path in ../shared; the test is skipped, with the reason, where it is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not on this machine (the shared design data does not travel with the project)")
    return path


@dataclass(frozen=True)
class Done:
    """What a finished command left: exit code and both streams."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def e2fgvi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process (torch is imported once), in an empty folder, with its real entry point."""

    def run(*arguments: object, env: dict[str, str] | None = None) -> Done:
        from e2fgvi_cli import app

        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            for name, value in {"NO_COLOR": "1", "COLUMNS": "200", **(env or {})}.items():
                patch.setenv(name, value)
            patch.setattr("sys.argv", ["e2fgvi", *map(str, arguments)])
            capfd.readouterr()
            # The entry point expects to end the process, and leaves it with handlers for that.
            handlers = {number: signal.getsignal(number) for number in SIGNALS}
            patch.setattr(sys, "unraisablehook", sys.unraisablehook)
            try:
                with pytest.raises(SystemExit) as ended:
                    app.main()
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        captured = capfd.readouterr()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0 if code is None else 1, captured.out, captured.err)

    return run


@pytest.fixture
def e2fgvi_process(tmp_path: Path) -> Run:
    """Run the command line as a user would: a process of its own, in an empty folder."""

    def run(*arguments: object, env: dict[str, str] | None = None) -> Done:
        command = [sys.executable, "-m", "e2fgvi_cli", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200", **(env or {})}
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=280, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run
