"""`benchmark --mode process`: the command of each run, its figures, and what a failing one leaves. A stub stands for
the program."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from e2fgvi_cli.bench import process, session
from e2fgvi_cli.bench.failures import CaseFailedError
from e2fgvi_cli.bench.process import command_line, measure_processes
from e2fgvi_cli.bench.request import Request
from e2fgvi_cli.bench.results import Measured, Probe
from e2fgvi_cli.bench.synthetic import SyntheticClip, write_frames
from e2fgvi_cli.errors import UsageError

SUMMARY = {"frames": 4, "seconds": 0.001, "peak_memory": 7, "peak_memory_of": "GPU", "device": "stub"}


def stub(folder: Path, source: str) -> tuple[str, ...]:
    """A program that does what `source` says, with the arguments that it got in the file `calls`."""
    path = folder / "stub.py"
    keep = f"import sys, json\nopen({str(folder / 'calls')!r}, 'a').write(json.dumps(sys.argv[1:]) + chr(10))\n"
    path.write_text(keep + source)
    return (sys.executable, "-I", str(path))


def run(request: Request, files: tuple[Path, Path], program: tuple[str, ...]) -> Measured:
    runs = measure_processes(request.options(None, files, "auto", ("cpu",)), request.repeats, program)
    steps = 0
    while True:
        try:
            next(runs)
            steps += 1
        except StopIteration as end:
            assert steps == request.repeats
            return end.value  # type: ignore[no-any-return]


def test_the_first_run_is_kept_apart_and_each_writes_to_an_empty_folder(tmp_path: Path) -> None:
    program = stub(tmp_path, f"print(json.dumps({SUMMARY!r}))")
    files = write_frames(SyntheticClip((16, 24), 2), tmp_path)
    found = run(Request(mode="process", repeats=2), files, program)
    assert len(found.timing.runs) == 2
    assert found.timing.own == (0.001, 0.001, 0.001)
    assert found.timing.frames == 4
    assert min(found.timing.runs) - 0.001 <= found.timing.start_up <= max(found.timing.runs)
    assert (found.memory.measured, found.memory.measured_of, found.memory.host) == (7, "GPU", None)
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    outputs = {call[call.index("--output") + 1] for call in calls}
    assert len(outputs) == len(calls) == 3
    assert all(Path(output).suffix == "" and not Path(output).parent.exists() for output in outputs)


@pytest.mark.parametrize(
    ("source", "message", "code"),
    [
        (
            "print('error: no such clip', file=sys.stderr); print('bye', file=sys.stderr); sys.exit(3)",
            "no such clip",
            3,
        ),
        ("print('hello')", "printed no summary: 'hello", 1),
        ("import os; os.kill(os.getpid(), 9)", "for want of memory", 5),
    ],
    ids=["error", "no-summary", "killed"],
)
def test_a_run_that_fails_says_why(tmp_path: Path, source: str, message: str, code: int) -> None:
    files = write_frames(SyntheticClip((16, 24), 2), tmp_path)
    with pytest.raises(CaseFailedError, match=message) as failed:
        run(Request(mode="process"), files, stub(tmp_path, source))
    assert failed.value.exit_code == code


@pytest.mark.parametrize(
    ("values", "said", "unsaid"),
    [
        ({}, ["--device", "cpu", "--mask-dilation", "0px"], ["--no-image-propagation", "--full-frame", "--threads"]),
        (
            {"image_propagation": False, "full_frame": True, "threads": 3},
            ["--no-image-propagation", "--full-frame", "--threads", "3"],
            [],
        ),
    ],
    ids=["default", "given"],
)
def test_the_command_line_is_what_was_asked_for(values: dict[str, Any], said: list[str], unsaid: list[str]) -> None:
    options = Request(mode="process", **values).options(None, (Path("a"), Path("b")), "auto", ("cpu",))
    line = command_line(options, Path("out"))
    assert not set(said) - set(line)
    assert not set(unsaid) & set(line)


def test_released_is_asked_for_by_name() -> None:
    options = Request(mode="process").options(None, (Path("a"), Path("b")), "auto", ("cpu",), released=True)
    line = command_line(options, Path("out"))
    assert line[line.index("--compat") + 1] == "released"


def test_processes_are_not_compared() -> None:
    with pytest.raises(UsageError, match="--check"):
        Request(mode="process", check=True)


def test_a_hand_held_camera_turns_and_moves_by_parts_of_a_pixel(tmp_path: Path) -> None:
    clip = SyntheticClip((60, 108), 12, hand_held=True)
    pictures = [cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb, _ in clip.pictures()]
    corners = cv2.goodFeaturesToTrack(pictures[0], 60, 0.01, 5)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(pictures[0], pictures[9], corners, None)
    affine, _ = cv2.estimateAffinePartial2D(corners[found > 0], moved[found > 0])
    assert 0.5 < abs(np.degrees(np.arctan2(affine[1, 0], affine[0, 0]))) < 3
    frames, masks = write_frames(clip, tmp_path)
    assert [len(list(folder.iterdir())) for folder in (frames, masks)] == [12, 12]


@pytest.mark.parametrize("works", [True, False], ids=["works", "fails"])
def test_the_whole_command_writes_its_record_and_keeps_the_exit_code(
    e2fgvi: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    source = f"print(json.dumps({SUMMARY!r}))" if works else "sys.stderr.write('error: no GPU\\n'); sys.exit(5)"
    monkeypatch.setattr(process, "PROGRAM", stub(tmp_path, source))
    probe = Probe({"cpu": "a processor", "packages": {"torch": "1"}, "command": "e2fgvi"}, ("cpu",), ("fp32",))
    monkeypatch.setattr(session, "isolated", lambda name, *_: {"probe": probe}[name])
    done = e2fgvi(
        "benchmark", "--mode", "process", "--sizes", "24x16", "--frames", 2, "--repeats", 1, "--json", "b.json"
    )
    (case,) = json.loads((tmp_path / "b.json").read_text())["cases"]
    assert case["mode"] == "process"
    if works:
        assert done.returncode == 0, done.stderr
        assert "Whole processes" in done.stdout
        assert case["own_seconds"] == [0.001, 0.001]
        assert case["first_run_seconds"] > 0
    else:
        assert done.returncode == 5
        assert case["failure"] == "exit code 5: no GPU"
        assert "no GPU" in done.stdout
