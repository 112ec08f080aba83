"""Shared fixtures. Vector width is fixed first, before anything imports torch: see docs/decisions/0003-parity-and-rounding.md."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if platform.machine().lower() in ("x86_64", "amd64"):
    os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx2")
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def shared(*parts: str) -> Path:
    """A path in ../shared; the test is skipped, with the reason, where it is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not on this machine (the shared design data does not travel with the project)")
    return path


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def e2fgvi(tmp_path: Path) -> Run:
    """Run the command line as a user would: a process of its own, in an empty folder."""

    def run(
        *arguments: object, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "e2fgvi_cli", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200", **(env or {})}
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=cwd or tmp_path, timeout=280, check=False
        )

    return run
