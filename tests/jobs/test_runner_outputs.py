"""Which outputs are the batch's own: published in the last moment, a stranger's, changed meanwhile, gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from e2fgvi_cli.jobs import Event, Job, run_batch
from e2fgvi_cli.jobs.journal import Journal
from e2fgvi_cli.jobs.report import write_reports
from e2fgvi_cli.jobs.selection import ANNOUNCEMENT
from e2fgvi_cli.system import publication

from .clips import make_job, settings
from .test_runner import outputs_are_right


def stopped_after_publishing(folder: Path, job: Job) -> Path:
    """The state as it is when everything was killed between publishing and the journal: the announcement alone knows
    the output."""
    chosen = settings(folder)
    with Journal(chosen.journal) as opened:
        assert opened.claim(job.output, 60)
        row = opened.row(job.output)
        opened.update(job.output, state="joining", stamp="", record={})
        opened.release(job.output)
    announced = chosen.segments_of(job, row.key) / ANNOUNCEMENT
    announced.parent.mkdir(parents=True)
    announced.write_text(row.stamp, encoding="utf-8")
    return announced


def test_an_output_published_in_the_last_moment_is_known_as_ours(tmp_path: Path) -> None:
    job = make_job(tmp_path, "clip", 6)
    assert run_batch([job], settings(tmp_path)).records[0].outcome == "done"
    stopped_after_publishing(tmp_path, job)
    assert run_batch([job], settings(tmp_path)).records[0].outcome == "done"
    assert outputs_are_right(job)


@pytest.mark.parametrize("announced", [True, False])
def test_a_strangers_file_is_not_ours_because_we_were_joining(tmp_path: Path, announced: bool) -> None:
    job = make_job(tmp_path, "clip", 6, output="clip.mkv")
    assert run_batch([job], settings(tmp_path)).records[0].outcome == "done"
    announcement = stopped_after_publishing(tmp_path, job)
    if not announced:
        announcement.unlink()
    job.options.output.write_bytes(b"somebody else's")
    for _ in range(2):
        record = run_batch([job], settings(tmp_path)).records[0]
        assert (record.outcome, record.exit_code) == ("failed", 3)
        assert "exists; give another name" in record.message
        assert job.options.output.read_bytes() == b"somebody else's"


def test_an_output_that_somebody_changes_while_it_is_made_anew_is_kept(tmp_path: Path) -> None:
    job = make_job(tmp_path, "clip", 12, output="clip.mkv")
    assert run_batch([job], settings(tmp_path)).records[0].outcome == "done"
    wider = replace(job, options=replace(job.options, masking=replace(job.options.masking, feather=2.0)))

    def edit(event: Event) -> None:
        if event.kind == "segment" and event.values["stop"] == 6:
            job.options.output.write_bytes(b"edited")

    record = run_batch([wider], settings(tmp_path), on_event=edit).records[0]
    assert (record.outcome, record.exit_code) == ("failed", 3)
    assert "was changed while this ran and is not replaced: move it away" in record.message
    assert job.options.output.read_bytes() == b"edited"
    job.options.output.unlink()
    record = run_batch([wider], settings(tmp_path)).records[0]
    assert (record.outcome, record.resumed) == ("done", 12), "nothing of the work was lost"


def test_a_side_output_that_is_gone_is_made_again(tmp_path: Path) -> None:
    job = make_job(tmp_path, "clip", 6)
    job = replace(job, options=replace(job.options, frames_dir=tmp_path / "side"))
    assert run_batch([job], settings(tmp_path)).records[0].outcome == "done"
    shutil.rmtree(tmp_path / "side")
    assert run_batch([job], settings(tmp_path)).records[0].outcome == "done"
    assert len(list((tmp_path / "side").iterdir())) == 6
    assert run_batch([job], settings(tmp_path)).records[0].outcome == "skipped"


def test_names_that_mean_something_elsewhere_are_plain_names_to_a_batch(tmp_path: Path) -> None:
    """To SQLite (#, ?, %), to FFmpeg (%d, a colon), to glob (brackets), and bytes that are no text."""
    folder = tmp_path / "reel #2 50% off?mode=ro [x]"
    jobs = [make_job(folder, name, 4, output=f"{name}.mkv") for name in ("take1:final %03d", "12:30:05 #1?")]
    odd = make_job(folder, "odd", 4)
    name = folder / "out" / os.fsdecode(b"caf\xe9.mkv")
    jobs.append(replace(odd, options=replace(odd.options, output=name, encoding=jobs[0].options.encoding)))
    before = sorted(tmp_path.iterdir())
    result = run_batch(jobs, settings(folder, shard=(1, 1)))
    assert [(r.outcome, r.message) for r in result.records] == [("done", "")] * 3
    assert sorted(p.name for p in (folder / "out").iterdir()) == sorted(job.options.output.name for job in jobs)
    assert [r.outcome for r in run_batch(jobs, settings(folder)).records] == ["skipped"] * 3
    assert [r.outcome for r in run_batch(jobs, settings(folder, shard=(1, 2))).records] == ["skipped"] * 2
    write_reports(result, settings(folder))
    assert sorted(tmp_path.iterdir()) == before


def test_what_a_killed_worker_left_of_a_picture_goes_with_the_next_report(tmp_path: Path) -> None:
    """Also when its job has been done again since, so that nobody writes that picture any more."""
    chosen = settings(tmp_path)
    result = run_batch([make_job(tmp_path, "a")], chosen)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (picture,) = chosen.thumbnails.iterdir()
    left = [
        picture.with_name(f".{picture.stem}.{process}-{publication._machine()}-1.partial.jpg")
        for process in (dead.pid, os.getppid())
    ]
    for path in left:
        path.write_bytes(b"half")
    write_reports(result, chosen)
    assert [path.exists() for path in (picture, *left)] == [True, False, True]
