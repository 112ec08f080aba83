"""How far a job is, from the first moment on: looking, reading and windows of the network all move it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from e2fgvi_cli.commands.batch_view import Lines, Panel
from e2fgvi_cli.jobs import Event, progress
from e2fgvi_cli.jobs.model import ClipPlan, Task
from e2fgvi_cli.jobs.progress import JobProgress, Pace
from e2fgvi_cli.jobs.segments import segment_grid
from e2fgvi_cli.jobs.work import Worker

from .clips import FAKE, make_job


def test_a_worker_tells_of_frames_it_reads_and_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.0)
    job = make_job(tmp_path, "clip", 20)
    said: list[tuple[str, Any]] = []
    worker = Worker(FAKE, "cpu", 1)
    prepared: Any = worker.run(Task(1, "prepare", job, tmp_path), lambda kind, value: said.append((kind, value)))
    assert [(pace.done, pace.total) for _, pace in said] == [(n, 20) for n in range(1, 21)]
    said.clear()
    segments = segment_grid(prepared.plan, 10, 3)
    worker.run(Task(2, "fill", job, tmp_path, segments, prepared.plan), lambda kind, value: said.append((kind, value)))
    assert [value.stop for kind, value in said if kind == "segment"] == [12, 20]
    first = next(n for n, (kind, _) in enumerate(said) if kind == "segment")
    before = [value.done for kind, value in said[:first] if kind == "progress"]
    assert before[0] < 1, "one frame is read"
    assert len({round(done, 2) for done in before}) >= 15, "reading, windows and frames, before the first segment"
    after = [value.done for kind, value in said if kind == "progress"]
    assert after == sorted(after)
    assert after[-1] == 20


def test_the_share_grows_through_all_phases_and_never_falls() -> None:
    plan = ClipPlan(20, (24, 32), ((0, 19),), ((0, 19),), True)
    job = JobProgress()
    seen = [job.update(1, Pace(10, 20), None, 0)]
    seen.append(job.update(1, Pace(20, None), None, 0))
    job.enter("fill")
    seen += [job.update(2, Pace(5.0, None), plan, 20), job.update(3, Pace(2.5, None), plan, 20)]
    job.drop(2)
    seen.append(job.update(2, Pace(0, None), plan, 20))
    job.enter("join")
    seen += [job.update(4, Pace(0, 20), plan, 20), job.update(4, Pace(20, 20), plan, 20)]
    assert [v["share"] for v in seen] == [0.025, 0.025, 0.263, 0.369, 0.369, 0.9, 1.0]
    assert [(v["phase"], v["done"], v["total"]) for v in seen[:4]] == [
        ("prepare", 10, 20),
        ("prepare", 20, None),
        ("fill", 5, 20),
        ("fill", 7, 20),
    ]


def events(share: float) -> list[Event]:
    values = {"phase": "fill", "done": 5, "total": 20, "share": share, "worker": "worker 1"}
    return [
        Event("batch_started", values={"jobs": 2, "workers": 1}, time=0.0),
        Event("job_started", "a", {"output": "o", "attempt": 1}, time=0.0),
        Event("progress", "a", values, time=1.0),
        Event("progress", "a", {**values, "share": share + 0.1}, time=31.0),
    ]


def test_the_panel_shows_the_job_and_the_whole() -> None:
    with Panel() as panel:
        for event in events(0.4):
            panel.show(event)
        whole, one = panel._progress.tasks
        assert (whole.completed, whole.total, whole.fields["what"]) == (0.5, 2, "0/2")
        assert (one.completed, one.total, one.fields["what"]) == (0.5, 1.0, "filling 5/20")
        failed = {"message": "m", "exit_code": 1, "attempts": 1}
        panel.show(Event("job_failed", "a", failed))
        assert [(task.completed, task.fields["what"]) for task in panel._progress.tasks] == [(1, "1/2")]


def test_lines_say_now_and_then_how_far_a_job_is(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (False, True):
        lines = Lines(quiet)
        for event in events(0.4):
            lines.show(event)
    assert capsys.readouterr().err.splitlines() == ["2 jobs, 1 workers", "a: filling, 50%"]
