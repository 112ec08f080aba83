"""Weights that learn the clip, in a batch: one worker fills a clip, and parts of other weights do not mix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from e2fgvi_cli.jobs.model import ClipPlan, Segment, Task
from e2fgvi_cli.jobs.work import Worker, segment_folder
from e2fgvi_cli.options import InpaintOptions

from ..jobs.clips import FAKE, make_job


def test_parts_are_filed_under_the_weights_that_filled_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(tmp_path, "clip", 6)
    job = replace(job, options=replace(job.options, adapt=1.0))
    asked: list[str | None] = []

    def adapted(options: InpaintOptions, device: str | None = None) -> InpaintOptions:
        asked.append(device)
        file = tmp_path / f"learned_{len(asked)}.safetensors"
        file.write_text(str(len(asked)))
        return replace(options, weights=str(file))

    monkeypatch.setattr("e2fgvi_cli.adaptation.adapt.adapted", adapted)
    plan = ClipPlan(6, (24, 32), ((0, 5),), ((0, 5),), True, (), 8)
    task = Task(1, "fill", job, tmp_path / "state", segments=(Segment(0, 6, 0),), plan=plan)
    worker = Worker(FAKE, "cpu", 1)
    first, second = (worker.run(task, lambda kind, value: None) for _ in range(2))
    assert asked == ["cpu", "cpu"]
    assert first.weights == str(tmp_path / "learned_1.safetensors")  # type: ignore[union-attr]
    assert first.computed == second.computed == 6  # type: ignore[union-attr]
    folders = {segment_folder(task.folder, filled.arithmetic) for filled in (first, second)}  # type: ignore[union-attr]
    assert len(folders) == 2
    assert all(list(folder.glob("*.zip")) for folder in folders)
    plain = replace(task, job=replace(job, options=replace(job.options, adapt=None)))
    assert "weights" not in worker.run(plain, lambda kind, value: None).arithmetic  # type: ignore[union-attr]
    assert len(asked) == 2
