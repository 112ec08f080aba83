"""Accidents that are really made to happen: SIGKILL fifty times, a full disk, and once with the real network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from e2fgvi_cli.errors import InputError
from e2fgvi_cli.jobs import Event, run_batch
from e2fgvi_cli.jobs.model import ENGINE_MODULE
from tests.conftest import ROOT
from tests.factories import read_folder

from .clips import WINDOWS, expected, leftovers, make_job, settings

pytestmark = pytest.mark.slow
posix = pytest.mark.skipif(os.name != "posix", reason="SIGKILL and tmpfs are POSIX's")


@posix
def test_fifty_sigkills_lose_nothing_and_publish_nothing_half(tmp_path: Path) -> None:
    program = Path(__file__).with_name("kill_rounds.py")
    done = subprocess.run(
        [sys.executable, program, tmp_path, "50", "7"], capture_output=True, text=True, check=True, timeout=250
    )
    report = json.loads(done.stdout)
    assert report["faults"] == []
    assert report["kills"] == 50
    assert report["batches"] >= 1, "work adds up from kill to kill until a batch is complete"
    assert sum(n for states, n in report["states_when_killed"].items() if "running" in states) >= 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of 40 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@posix
def test_an_outputs_disk_that_fills_up_while_the_result_is_written(tmp_path: Path, small_disk: Path) -> None:
    """Noise, which PNG makes larger than the estimate that is checked beforehand: the disk is full at about frame 19 of
    20."""
    job = make_job(tmp_path, "clip", 20, size=(720, 1000))
    for n, file in enumerate(sorted(job.options.video.iterdir())):
        noise = np.random.default_rng(n).integers(0, 256, (720, 1000, 3), dtype=np.uint8)
        file.write_bytes(cv2.imencode(".png", noise)[1].tobytes())
    job = replace(job, options=replace(job.options, output=small_disk / "out"))
    record = run_batch([job], settings(tmp_path)).records[0]
    assert (record.outcome, record.exit_code) == ("failed", 3)
    assert "no space left for the output" in record.message
    assert list(small_disk.iterdir()) == []
    subprocess.run(["mount", "-o", "remount,size=80m", str(small_disk)], check=True)
    record = run_batch([job], settings(tmp_path)).records[0]
    assert (record.outcome, record.resumed) == ("done", 20)
    assert np.array_equal(read_folder(job.options.output), expected(job))


@posix
def test_a_full_disk_for_segments_and_journal(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything stops with one sentence; what was stored by then is used once there is space again."""
    job = make_job(tmp_path, "clip", 30)
    # The lease cannot be given back on a full disk, and its owner, this process, lives on: the second run waits for its
    # end.
    chosen = replace(settings(tmp_path, lease=2.0), state=small_disk / "state")
    monkeypatch.setenv(
        "E2FGVI_FAKE_SECONDS", "0.3"
    )  # time to fill the disk before the last segment, on a busy machine too
    ballast = small_disk / "ballast"

    def use_up(event: Event) -> None:
        if event.kind == "segment" and event.values["stop"] == 12:
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))

    with pytest.raises(InputError, match=r"full.*free space"):
        run_batch([job], chosen, on_event=use_up)
    assert not job.options.output.exists()
    assert [name for name in leftovers(tmp_path) if "partial" in name] == []
    ballast.unlink()
    record = run_batch([job], chosen).records[0]
    assert record.outcome == "done"
    assert 12 <= record.resumed < 30, "the disk was full before the last segment"
    assert np.array_equal(read_folder(job.options.output), expected(job))
    assert leftovers(tmp_path) == []


DRIVER = """
import json, sys
sys.path.insert(0, {root!r})
from tests.jobs.test_kills import real_job, real_settings
from e2fgvi_cli.jobs import run_batch
from pathlib import Path
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for_event = lambda e: print(json.dumps(e.record()), flush=True)
    run_batch([real_job(folder)], real_settings(folder), on_event=for_event)
"""


def real_job(folder: Path):  # type: ignore[no-untyped-def]
    job = make_job(folder, "clip", 15)
    return replace(job, options=replace(job.options, device="cpu", windows=replace(WINDOWS, neighbor_stride=3)))


def real_settings(folder: Path, **values: object):  # type: ignore[no-untyped-def]
    return settings(folder, engine_module=ENGINE_MODULE, segment_frames=3, **values)


@posix
def test_the_real_network_killed_and_split_gives_bit_for_bit_what_one_run_gives(tmp_path: Path) -> None:
    program = tmp_path / "driver.py"
    program.write_text(DRIVER.format(root=str(ROOT)), encoding="utf-8")
    job = real_job(tmp_path)
    driver = subprocess.Popen([sys.executable, program, tmp_path], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    for line in driver.stdout:
        if '"segment"' in line and json.loads(line)["stop"] == 6:
            driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL
    assert not job.options.output.exists()
    record = run_batch([job], real_settings(tmp_path)).records[0]
    assert (record.outcome, record.attempts) == ("done", 2)
    assert 6 <= record.resumed < 15
    split = replace(job, options=replace(job.options, output=tmp_path / "split"))
    assert run_batch([split], real_settings(tmp_path, split=6)).records[0].outcome == "done"

    import torch

    from e2fgvi_cli.api import inpaint

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the worker has: another number gives other last bits
    try:
        frames = np.stack([f.rgb for f in inpaint(job.options, write=False)])
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(read_folder(job.options.output), frames)
    assert np.array_equal(read_folder(split.options.output), frames)
    assert not np.array_equal(frames, read_folder(job.options.video)), "something was filled"
