"""The timeline of a run: what happened is in it, and afterwards nobody watches."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from e2fgvi_cli.engine import Engine
from e2fgvi_cli.fill.sharing import fill_shot_on
from measurements.timeline import Timeline, gpu_lines

from .test_engine import CPU, WHOLE, clip, network

GPU = torch.autograd.DeviceType.CUDA  # type: ignore[attr-defined]


def test_a_run_is_watched() -> None:
    plain = Engine.fill
    timeline = Timeline()
    with timeline.watching():
        engines = [Engine(network(), CPU), Engine(network(), CPU)]
        assert len(list(fill_shot_on(engines, clip(24), WHOLE, shortest=12))) == 24
    lines = list(timeline.lines())
    assert sum("window 0-2 launched, took" in line for line in lines) == 1
    assert sum(" launched, took " in line for line in lines) == 12
    assert any("; read 24; [" in line for line in lines)
    assert lines[-1].startswith("longest wait for the interpreter")
    assert Engine.fill is plain


def event(name: str, start: float, seconds: float, gpu: int | None) -> Any:
    return SimpleNamespace(
        name=lambda: name,
        start_ns=lambda: (1000 + start) * 1e9,
        duration_ns=lambda: seconds * 1e9,
        device_type=lambda: torch.autograd.DeviceType.CPU if gpu is None else GPU,  # type: ignore[attr-defined]
        device_index=lambda: gpu,
    )


def test_how_busy_a_gpu_was() -> None:
    """What overlaps counts once, what reaches into several cells in each of them."""
    events = [
        event("kernel", 0.0, 0.125, 0),
        event("kernel", 0.0625, 0.125, 0),
        event("kernel", 0.375, 0.625, 0),
        event("kernel", 0.5, 0.125, 1),
        event("cudaMalloc", 0.25, 0.5, None),
        event("cudaLaunchKernel", 0.25, 0.001, None),
    ]
    profile: Any = SimpleNamespace(profiler=SimpleNamespace(kineto_results=SimpleNamespace(events=lambda: events)))
    lines = list(gpu_lines(profile, 1000.0))
    assert lines[0].split() == ["0.250", "cudaMalloc", "took", "0.500", "s"]
    assert lines[1] == "calls: cudaMalloc 1, cudaLaunchKernel 1"
    assert lines[2] == "GPU 0, % busy, from each second on: 0: 75, 0.25: 50, 0.5: 100, 0.75: 100"
    assert lines[3] == "GPU 1, % busy, from each second on: 0.5: 50"
    assert len(lines) == 4


def test_only_a_gpu_can_be_busy(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from measurements import timeline

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["timeline", "--busy", "out.txt", "inpaint"])
    with pytest.raises(SystemExit) as ended:
        timeline.main()
    assert ended.value.code == 2
    assert "--busy needs a CUDA device" in capsys.readouterr().err
