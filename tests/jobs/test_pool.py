"""What becomes of a batch whose processes die as they start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from e2fgvi_cli.errors import DeviceError
from e2fgvi_cli.jobs import pool
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import os\nos._exit(7)", r"died \(exit code 7\): `e2fgvi check-env` looks for the reason"),
        ("import time\ntime.sleep(60)", "took longer than 1 s"),
    ],
)
def test_a_torch_that_breaks_as_it_is_imported_ends_the_question_for_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, words: str
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(body, encoding="utf-8")
    # What a spawned process has as its path is the parent's.
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(pool, "DEVICES_SECONDS", 1.0 if "sleep" in body else 60.0)
    with pytest.raises(DeviceError, match=words):
        pool.devices_of_this_machine()


def test_an_import_that_fails_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libc10.so: no such file')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"libc10\.so: no such file"):
        pool.devices_of_this_machine()


UNGUARDED = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from e2fgvi_cli import InpaintOptions
from e2fgvi_cli.jobs import BatchSettings, Job, run_batch
print("imported", flush=True)
folder = Path({folder!r})
(folder / "clip").mkdir(exist_ok=True)
(folder / "clip" / "0.png").touch()
job = Job("clip", InpaintOptions(folder / "clip", folder / "clip", folder / "out"))
{body}
"""


@pytest.mark.parametrize(
    "body",
    [
        "run_batch([job], BatchSettings(folder / 'state', devices=('cpu',), engine_module='tests.jobs.fake_engine'))",
        "from e2fgvi_cli.jobs.pool import devices_of_this_machine\ndevices_of_this_machine()",
    ],
)
def test_a_script_without_a_guard_is_told_so_and_ends(tmp_path: Path, body: str) -> None:
    """Each process it starts imports it, and would start processes in turn."""
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED.format(root=str(ROOT), folder=str(tmp_path), body=body), encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["imported"] * 2, "the script itself, and one process that ended at once"
    assert done.stderr.count("Traceback") == 1, done.stderr
    assert 'put what it does under `if __name__ == "__main__":`' in done.stderr
