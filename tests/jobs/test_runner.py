"""The driver with local workers and a make-believe engine: resume, retries, failures, locks, accidents."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.jobs import Event, Job, journal, run_batch
from e2fgvi_cli.jobs.journal import Journal, is_dead, parse_shard
from e2fgvi_cli.jobs.thumbnails import thumbnail_of
from e2fgvi_cli.video.span import Moment, Span
from tests.factories import clip, read_folder

from .clips import expected, leftovers, make_job, settings


class Events(list[Event]):
    """Collects what a run says."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def of(self, kind: str) -> list[Event]:
        return [e for e in self if e.kind == kind]


def outputs_are_right(*jobs: Job) -> bool:
    return all(np.array_equal(read_folder(job.options.output), expected(job)) for job in jobs)


def test_jobs_run_once_and_give_what_inpaint_gives(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, "first", 20), make_job(tmp_path, "second", 7)]
    events = Events()
    result = run_batch(jobs, settings(tmp_path), on_event=events)
    assert [(r.outcome, r.frames, r.filled, r.attempts) for r in result.records] == [
        ("done", 20, 20, 1),
        ("done", 7, 7, 1),
    ]
    assert outputs_are_right(*jobs)
    assert leftovers(tmp_path) == []
    assert [e.values["stop"] for e in events.of("segment")] == [6, 12, 18, 20, 6, 7]
    again = run_batch(jobs, settings(tmp_path))
    assert [r.outcome for r in again.records] == ["skipped", "skipped"]
    assert [r.frames for r in again.records] == [20, 7]
    assert [(r.seconds, r.finished) for r in again.records] == [(r.seconds, r.finished) for r in result.records]
    assert all(0 <= time.time() - r.finished < 600 for r in again.records)
    for job in jobs:
        picture = cv2.imread(str(thumbnail_of(tmp_path / "state" / "thumbnails", job.output)))
        assert picture.shape == (150, 400, 3)
        assert not np.array_equal(picture[:, :200], picture[:, 200:]), "before and after"


@pytest.mark.parametrize(("workers", "split"), [(2, "auto"), (2, 5), (1, 6), (2, "off")])
def test_a_clip_split_among_workers_is_identical(tmp_path: Path, workers: int, split: object) -> None:
    job = make_job(tmp_path, "clip", 40)
    events = Events()
    result = run_batch([job], settings(tmp_path, workers=workers, split=split), on_event=events)
    assert result.records[0].outcome == "done"
    assert events.of("job_planned")[0].values["parts"] == {"auto": 2, 5: 7, 6: 7, "off": 1}[split]
    assert outputs_are_right(job)


def test_a_part_of_a_clip_is_split_as_a_clip_of_its_own(tmp_path: Path) -> None:
    job = make_job(tmp_path, "clip", 60)
    job = replace(job, options=replace(job.options, span=Span(Moment(frame=20), Moment(frame=51))))
    events = Events()
    run_batch([job], settings(tmp_path, workers=2, split=8), on_event=events)
    assert events.of("job_planned")[0].values["frames"] == 32
    assert outputs_are_right(job)
    assert [file.name for file in sorted(job.options.output.iterdir())] == [f"{n:05d}.png" for n in range(20, 52)]


def test_shots_are_filled_apart_as_inpaint_does(tmp_path: Path) -> None:
    job = make_job(tmp_path, "clip", 24, size=(48, 64))
    after_the_cut = clip(24, 48, 64, seed=99)[:, ::-1]
    for i, file in enumerate(sorted(job.options.video.iterdir())):
        if i >= 11:
            assert cv2.imwrite(str(file), after_the_cut[i] // 3)
    job = replace(job, options=replace(job.options, detect_cuts=True))
    events = Events()
    run_batch([job], settings(tmp_path, workers=2, split=7), on_event=events)
    assert events.of("job_planned")[0].values["shots"] == 2
    assert [e.values["start"] for e in events.of("segment") if e.values["start"] >= 11][:1] == [11]
    assert outputs_are_right(job)
    joined = replace(job, options=replace(job.options, output=tmp_path / "out" / "one shot", detect_cuts=False))
    run_batch([joined], settings(tmp_path))
    assert not np.array_equal(read_folder(joined.options.output), read_folder(job.options.output))


def test_video_files_are_joined_to_the_same_bytes_as_in_one_run(tmp_path: Path) -> None:
    """FFV1 in Matroska of all frames filled in one part, against seven parts by two workers."""
    whole = make_job(tmp_path, "clip", 30, output="whole.mkv")
    parts = replace(whole, options=replace(whole.options, output=tmp_path / "out" / "parts.mkv"))
    run_batch([whole], settings(tmp_path, split="off"))
    run_batch([parts], settings(tmp_path, workers=2, split=4))
    from e2fgvi_cli.video import open_reader

    with open_reader(whole.options.output) as a, open_reader(parts.options.output) as b:
        pairs = [np.array_equal(x.rgb, y.rgb) and x.time == y.time for x, y in zip(a, b, strict=True)]
    assert pairs == [True] * 30


def test_changed_inputs_settings_or_outputs_run_again(tmp_path: Path) -> None:
    job = make_job(tmp_path, "clip", 6)
    run = lambda job: run_batch([job], settings(tmp_path)).records[0].outcome  # noqa: E731
    assert run(job) == "done"
    os.utime(job.options.video / "00003.png", (1, 1))
    assert run(job) == "skipped", "the same bytes with another time are the same job"
    assert run(job) == "skipped"
    wider = replace(job, options=replace(job.options, masking=replace(job.options.masking, feather=2.0)))
    assert run(wider) == "done"
    assert outputs_are_right(wider)
    (job.options.output / "00002.png").unlink()
    assert run(wider) == "failed", "an output that is not what was published is never replaced"
    for file in job.options.output.iterdir():
        file.unlink()
    assert run(wider) == "done"
    assert outputs_are_right(wider)


def test_a_foreign_output_is_never_replaced(tmp_path: Path) -> None:
    job = make_job(tmp_path, "clip", 4)
    job.options.output.mkdir(parents=True)
    (job.options.output / "mine.png").write_bytes(b"precious")
    record = run_batch([job], settings(tmp_path)).records[0]
    assert (record.outcome, record.exit_code) == ("failed", 3)
    assert "exists" in record.message
    assert (job.options.output / "mine.png").read_bytes() == b"precious"


def test_failures_do_not_stop_the_others_unless_asked(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, name, 5) for name in ("a", "b", "c")]
    (jobs[0].options.video / "00002.png").write_bytes(b"no picture")
    result = run_batch(jobs, settings(tmp_path))
    assert [r.outcome for r in result.records] == ["failed", "done", "done"]
    assert "00002.png" in result.records[0].message
    assert result.records[0].attempts == 1, "a damaged file is not tried again"
    jobs = [make_job(tmp_path / "fast", name, 5) for name in ("a", "b", "c")]
    jobs[0] = replace(jobs[0], options=replace(jobs[0].options, mask=tmp_path / "nowhere"))
    result = run_batch(jobs, settings(tmp_path / "fast", fail_fast=True))
    assert [r.outcome for r in result.records] == ["failed", "cancelled", "cancelled"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [("kill", "SIGKILL"), ("memory", "out of memory"), ("crash", "RuntimeError: as told by the test")],
)
def test_a_worker_that_breaks_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, words: str
) -> None:
    job = make_job(tmp_path, "clip", 30)
    trigger = tmp_path / "trigger"
    monkeypatch.setenv("E2FGVI_FAKE_ACCIDENT", f"{kind}:{trigger}")
    monkeypatch.setenv("E2FGVI_FAKE_SECONDS", "0.02")
    events = Events()

    def pull_at_third_segment(event: Event) -> None:
        events(event)
        if event.kind == "segment" and event.values["stop"] == 12 and not events.of("job_retry"):
            trigger.touch()

    record = run_batch([job], settings(tmp_path), on_event=pull_at_third_segment).records[0]
    assert record.outcome == "done"
    assert words in events.of("job_retry")[0].values["message"]
    stored = [e.values["stop"] for e in events.of("segment")]
    assert stored == sorted(set(stored)), "no segment was computed twice"
    assert outputs_are_right(job)


def test_a_job_that_always_breaks_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [make_job(tmp_path, "clip", 5), make_job(tmp_path, "good", 5)]
    trigger = tmp_path / "trigger"
    trigger.touch()
    monkeypatch.setenv("E2FGVI_FAKE_ACCIDENT", f"memory:{trigger}")

    def again(event: Event) -> None:
        if event.kind == "job_retry":
            trigger.touch()

    result = run_batch(jobs, settings(tmp_path, max_retries=3), on_event=again)
    assert [(r.outcome, r.exit_code) for r in result.records] == [("failed", 5), ("done", 0)]
    assert "out of memory" in result.records[0].message


def test_an_interrupted_clip_goes_on_at_its_last_segment(tmp_path: Path) -> None:
    job = make_job(tmp_path, "clip", 30)

    def stop(event: Event) -> None:
        if event.kind == "segment" and event.values["stop"] == 18:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch([job], settings(tmp_path), on_event=stop)
    assert not job.options.output.exists()
    assert [name for name in leftovers(tmp_path) if "partial" in name] == []
    record = run_batch([job], settings(tmp_path)).records[0]
    assert (record.outcome, record.attempts) == ("done", 2)
    assert record.resumed >= 18
    assert outputs_are_right(job)
    assert leftovers(tmp_path) == []


def test_a_damaged_segment_is_computed_again(tmp_path: Path) -> None:
    job = make_job(tmp_path, "clip", 30)
    events = Events()

    def spoil(event: Event) -> None:
        events(event)
        if event.kind == "segment" and event.values["stop"] == 12 and not events.of("job_retry"):
            file = next((tmp_path / "state" / "segments").rglob("00000000-00000006.zip"))
            file.write_bytes(file.read_bytes()[:-30])

    assert run_batch([job], settings(tmp_path), on_event=spoil).records[0].outcome == "done"
    assert "is damaged" in events.of("job_retry")[0].values["message"]
    assert outputs_are_right(job)


def test_an_input_that_vanishes_or_changes_meanwhile_publishes_nothing(tmp_path: Path) -> None:
    vanishing, changing, good = (make_job(tmp_path, name, 40) for name in ("gone", "other", "good"))

    def meddle(event: Event) -> None:
        if event.kind == "segment" and event.values["stop"] == 6:
            if event.job == "gone":
                for file in sorted(vanishing.options.video.iterdir())[8:]:
                    file.unlink()
            if event.job == "other":
                os.utime(changing.options.video / "00001.png", (1, 1))

    result = run_batch([vanishing, changing, good], settings(tmp_path), on_event=meddle)
    assert [r.outcome for r in result.records] == ["failed", "failed", "done"]
    assert "were changed while it ran" in result.records[1].message
    assert not vanishing.options.output.exists()
    assert not changing.options.output.exists()
    assert outputs_are_right(good)
    again = run_batch([changing], settings(tmp_path)).records[0]
    assert (again.outcome, again.resumed) == ("done", 40), "the bytes are the same: the segments are still good"


def test_two_drivers_share_the_jobs_and_do_none_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [make_job(tmp_path, f"clip{n}", 12) for n in range(6)]
    monkeypatch.setenv("E2FGVI_FAKE_SECONDS", "0.02")
    events = [Events(), Events()]
    outcomes: list[list[str]] = [[], []]

    def drive(n: int) -> None:
        result = run_batch(jobs, settings(tmp_path), on_event=events[n])
        outcomes[n] = [r.outcome for r in result.records]

    threads = [threading.Thread(target=drive, args=(n,)) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    done = [e.job for per in events for e in per.of("job_done")]
    assert sorted(done) == [f"clip{n}" for n in range(6)]
    assert all(set(o) <= {"done", "skipped"} and len(o) == 6 for o in outcomes)
    assert all(events[n].of("job_done") for n in (0, 1)), "both did something"
    assert outputs_are_right(*jobs)


def test_two_drivers_may_create_the_journal_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite refuses the change to a write-ahead log at once while another writes, whatever the connection's
    timeout."""
    path = tmp_path / "journal.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(journal, "_BUSY_SECONDS", 0.0)
    with pytest.raises(InputError, match="database is locked"):
        Journal(path)
    monkeypatch.setattr(journal, "_BUSY_SECONDS", 30.0)
    later = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    later.start()
    with Journal(path) as opened:
        opened.add("/out", "job")
    later.join()
    other.close()


def test_leases(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    far = "another-machine:1:x"
    with Journal(path, far) as first, Journal(path) as second:
        first.add("/out", "job")
        second.add("/out", "job")
        assert first.claim("/out", 0.3)
        assert first.claim("/out", 0.3), "an owner may claim again"
        assert not second.claim("/out", 60)
        first.renew(0.3)
        time.sleep(0.4)
        assert second.claim("/out", 60), "the lease has run out"
        assert not first.claim("/out", 60)
        assert not first.is_ours("/out")
        first.update("/out", state="done")
        assert second.row("/out").state == "pending", "who lost a job cannot write to it"
        second.release("/out")
        assert first.claim("/out", 60)


def test_the_dead_are_known_on_their_own_machine(tmp_path: Path) -> None:
    process = os.fork()
    if process == 0:
        os._exit(0)
    os.waitpid(process, 0)
    import socket

    assert is_dead(f"{socket.gethostname()}:{process}:x")
    assert not is_dead(f"{socket.gethostname()}:{os.getpid()}:x")
    assert not is_dead(f"not-{socket.gethostname()}:{process}:x")


def test_shards_cover_every_job_once_and_their_number_may_change(tmp_path: Path) -> None:
    jobs = [make_job(tmp_path, f"c{n}", 3) for n in range(7)]
    done = []
    for index in (1, 2, 3):
        result = run_batch(jobs, settings(tmp_path, shard=(index, 3)))
        done += [r.name for r in result.records if r.outcome == "done"]
        assert settings(tmp_path, shard=(index, 3)).journal.is_file()
    assert sorted(done) == [f"c{n}" for n in range(7)]
    assert [r.outcome for r in run_batch(jobs, settings(tmp_path, shard=(2, 2))).records] == ["skipped"] * 3
    assert [r.outcome for r in run_batch(jobs, settings(tmp_path)).records] == ["skipped"] * 7


@pytest.mark.parametrize("text", ["0/3", "4/3", "x", "1/", "1/x", "-1/2"])
def test_wrong_shards(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        settings(tmp_path, shard=parse_shard(text))


def test_two_jobs_may_not_share_an_output(tmp_path: Path) -> None:
    job = make_job(tmp_path, "clip", 3)
    with pytest.raises(UsageError, match="job 'clip': the output and job 'other': the output are both"):
        run_batch([job, replace(job, name="other")], settings(tmp_path))


def test_a_journal_that_is_none_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "journal.sqlite").write_bytes(
        b"not a database at all, but long enough to be read as one" * 20
    )
    with pytest.raises(InputError, match="journal"):
        run_batch([make_job(tmp_path, "clip", 3)], settings(tmp_path))


def test_workers_that_compute_otherwise_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of one arithmetic are not joined with those of another: after a change of threads they are made anew."""
    job = make_job(tmp_path, "clip", 18)

    def stop(event: Event) -> None:
        if event.kind == "segment" and event.values["stop"] == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch([job], settings(tmp_path), on_event=stop)
    monkeypatch.setenv("E2FGVI_FAKE_ARITHMETIC", "other")
    record = run_batch([job], settings(tmp_path)).records[0]
    assert (record.outcome, record.resumed) == ("done", 0)


def test_threads_of_a_job_are_those_it_is_computed_with_and_filed_under(tmp_path: Path) -> None:
    job = make_job(tmp_path, "clip", 18)
    two = replace(job, options=replace(job.options, threads=2))

    def stop(event: Event) -> None:
        if event.kind == "segment" and event.values["stop"] == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch([two], settings(tmp_path, threads=1), on_event=stop)
    record = run_batch([job], settings(tmp_path, threads=2)).records[0]
    assert record.resumed >= 12, "the worker's two threads are the job's two"
    job.options.output.rename(tmp_path / "kept")
    with pytest.raises(KeyboardInterrupt):
        run_batch([two], settings(tmp_path, threads=1), on_event=stop)
    assert run_batch([job], settings(tmp_path, threads=1)).records[0].resumed == 0
