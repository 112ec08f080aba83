"""The driver: claims jobs in the journal, hands their tasks to workers, retries, and says what happens.

One thread; everything it decides from is in the journal and in the segment files, so that it may be killed at any
moment.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from ..errors import UserError
from ..types import Summary
from . import fingerprint
from .active import Active
from .journal import Journal, Row, sibling_journals
from .model import (
    BatchResult,
    BatchSettings,
    Event,
    Failure,
    Filled,
    Job,
    JobRecord,
    Message,
    Prepared,
    Segment,
    Task,
    record_of,
)
from .pool import Executor, LocalPool, require_guard, resolve_devices
from .progress import Pace
from .segments import segment_grid
from .selection import check_paths, is_done, is_intact, jobs_of_shard, may_replace
from .thumbnails import thumbnail_of

OnEvent = Callable[[Event], None]
POLL_SECONDS = 0.5
ELSEWHERE_SECONDS = 2.0


def run_batch(
    jobs: Sequence[Job],
    settings: BatchSettings,
    *,
    on_event: OnEvent = lambda event: None,
    executor: Executor | None = None,
) -> BatchResult:
    """Run all jobs of this shard that are not done yet, and return what became of each, in order.

    `executor` None: processes on this machine. A failed job is in the result, it raises nothing. Raises `UsageError`
    for jobs that write over each other's files, `InputError` for a journal that cannot be written, `KeyboardInterrupt`
    after everything was let go.
    """
    require_guard()
    mine = jobs_of_shard(jobs, settings.shard)
    check_paths(jobs, settings)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(settings.journal))
        journal.adopt_finished(sibling_journals(settings.journal))
        stack.callback(journal.release_all)
        workers = executor or LocalPool(settings, resolve_devices(settings))
        stack.callback(workers.close)
        workers.start()
        return _Driver(mine, settings, journal, workers, on_event).run()


class _Driver:
    """One run over a list of jobs."""

    def __init__(
        self, jobs: list[Job], settings: BatchSettings, journal: Journal, workers: Executor, on_event: OnEvent
    ) -> None:
        self._jobs, self._settings, self._journal, self._workers = jobs, settings, journal, workers
        self._tell = on_event
        self._pending = deque(jobs)
        self._elsewhere: list[Job] = []
        self._active: dict[str, Active] = {}
        self._owner_of: dict[int, tuple[Active, Task]] = {}
        self._records: dict[str, JobRecord] = {}
        self._next_task = 0
        self._renewed = self._looked = time.monotonic()
        self._stopping = False

    def run(self) -> BatchResult:
        """Until nothing is left to do or to wait for."""
        started = time.perf_counter()
        self._journal.add_all((job.output, job.name) for job in self._jobs)
        for job in self._jobs:
            self._sweep(job)
        self._tell(Event("batch_started", values={"jobs": len(self._jobs), "workers": self._workers.size}))
        while not self._stopping:
            self._dispatch()
            if not self._active and not self._pending and not self._elsewhere:
                break
            for message in self._workers.wait(POLL_SECONDS):
                self._handle(message)
            self._keep_alive()
        for job in self._jobs:
            self._records.setdefault(
                job.output, JobRecord(job.name, job.output, "cancelled", message="stopped by --fail-fast")
            )
        result = BatchResult(
            tuple(self._records[job.output] for job in self._jobs), time.perf_counter() - started, self._workers.size
        )
        self._tell(Event("batch_finished", values={**result.counts, "seconds": round(result.seconds, 3)}))
        return result

    # Claiming

    def _dispatch(self) -> None:
        """Give every free worker something: first to active jobs, then to the next one that can be claimed."""
        for worker in self._workers.free():
            if self._stopping:
                return
            active = next((a for a in self._active.values() if a.ready), None) or self._claim_next()
            if active is None:
                return
            task = active.ready.popleft()
            if task.kind == "join" and not self._journal.is_ours(active.job.output):
                self._lose(active)
                continue
            pid = self._workers.ready(task, worker)
            if task.kind == "join":
                self._will_join(active, pid)
            self._workers.submit(task, worker)
            active.running.add(task.id)
            self._owner_of[task.id] = (active, task)
            self._tell_progress(active, task, Pace(0, None), worker)

    def _will_join(self, active: Active, pid: int) -> None:
        """In the journal before the worker hears of it: whatever it publishes or leaves unfinished is known to be
        ours."""
        active.pids.append(pid)
        self._journal.update(active.job.output, state="joining", pids=active.pids)

    def _claim_next(self) -> Active | None:
        now = time.monotonic()
        if not self._pending and self._elsewhere and now - self._looked > ELSEWHERE_SECONDS:
            self._looked = now
            self._pending.extend(self._elsewhere)
            self._elsewhere.clear()
        while self._pending and not self._stopping:
            job = self._pending.popleft()
            try:
                snapshot = fingerprint.snapshot(job.options)
            except UserError as error:
                self._record_failure(job, 0, Failure(str(error), error.exit_code, True))
                continue
            row = self._journal.row(job.output)
            if is_done(job, row, snapshot):
                self._record_skipped(job, row)
            elif not self._journal.claim(job.output, self._settings.lease):
                if not any(e.output == job.output for e in self._elsewhere):
                    self._elsewhere.append(job)
                    self._tell(Event("job_elsewhere", job.name, {"owner": self._journal.row(job.output).owner}))
            else:
                row = self._journal.row(job.output)  # another driver may have finished it since
                if not is_done(job, row, snapshot):
                    return self._begin(job, row)
                self._journal.release(job.output)
                self._record_skipped(job, row)
        return None

    def _begin(self, job: Job, row: Row) -> Active:
        active = Active(job, row, pids=list(row.pids))
        self._permit(active, row)
        job = active.job
        self._active[job.output] = active
        attempts = row.attempts + 1
        state = row.state if row.state in ("joining", "done") else "running"
        self._journal.update(job.output, state=state, attempts=attempts, message="", exit_code=0)
        active.row = replace(row, attempts=attempts)
        self._add_task(active, kind="prepare")
        self._tell(Event("job_started", job.name, {"output": str(job.options.output), "attempt": attempts}))
        return active

    def _permit(self, active: Active, row: Row) -> None:
        """Let a job replace what this journal published."""
        folder = self._settings.segments_of(active.job, row.key)
        job, stamps = may_replace(active.job, row, folder, active.replaceable)
        if stamps is not None:  # else it has the permission of its own
            active.job, active.replaceable = job, stamps

    def _lose(self, active: Active) -> None:
        """Another driver took the job while this one slept past its lease."""
        self._forget(active)
        self._elsewhere.append(active.job)
        self._tell(Event("job_elsewhere", active.job.name, {"owner": self._journal.row(active.job.output).owner}))

    def _forget(self, active: Active) -> None:
        self._active.pop(active.job.output, None)
        for task in active.running:
            self._owner_of.pop(task, None)

    def _keep_alive(self) -> None:
        if time.monotonic() - self._renewed > self._settings.lease / 4:
            self._renewed = time.monotonic()
            self._journal.renew(self._settings.lease)

    # Tasks

    def _add_task(self, active: Active, **values: Any) -> None:
        self._next_task += 1
        folder = self._settings.segments_of(active.job, active.prepared.key if active.prepared else "")
        active.ready.append(Task(self._next_task, job=active.job, folder=folder, **values))

    def _sweep(self, job: Job) -> None:
        """Remove what the worker of a killed driver stored in its last moments, after another driver had finished the
        job."""
        row = self._journal.row(job.output)
        if row.state == "done":
            shutil.rmtree(self._settings.segments_of(job, row.key), ignore_errors=True)

    def _add_parts(self, active: Active) -> None:
        """Tasks that fill the clip: one, or several if workers would stand idle."""
        assert active.prepared is not None
        plan, windows = active.prepared.plan, active.job.options.windows
        active.progress.enter("fill")
        active.segments = segment_grid(plan, self._settings.segment_frames, windows.neighbor_stride)
        holed = [s for s in active.segments if plan.has_hole(s.start, s.stop)]
        parts = min(self._part_count(plan.filled), len(holed))
        for n in range(parts):
            part = tuple(holed[len(holed) * n // parts : len(holed) * (n + 1) // parts])
            self._add_task(active, kind="fill", segments=part, plan=plan)
        if not parts:
            self._add_join(active)

    def _part_count(self, filled: int) -> int:
        split, clips = self._settings.split, len(self._active) + len(self._pending)
        if split == "off":
            return 1
        if split != "auto":
            return -(-filled // split)
        return 1 if clips >= self._workers.size else -(-self._workers.size // clips)

    def _add_join(self, active: Active) -> None:
        assert active.prepared is not None
        active.progress.enter("join")
        self._add_task(
            active,
            kind="join",
            segments=active.segments,
            plan=active.prepared.plan,
            arithmetic=active.filled[0].arithmetic if active.filled else "",
            filled=tuple(active.filled),
            seconds=active.prepared.seconds + sum(f.seconds for f in active.filled),
            leftovers=tuple(active.pids),
            snapshot=active.prepared.snapshot,
            thumbnail=thumbnail_of(self._settings.thumbnails, active.job.output),
            replaceable=active.replaceable,
        )

    # Messages

    def _handle(self, message: Message) -> None:
        active, task = self._owner_of.get(message.task, (None, None))
        if active is None or task is None:
            return  # of a job that has failed meanwhile
        if message.kind == "progress":
            self._progress(active, task, message)
        elif message.kind == "segment":
            segment: Segment = message.value
            self._tell(Event("segment", active.job.name, {"start": segment.start, "stop": segment.stop}))
        elif message.kind in ("done", "failed"):
            del self._owner_of[task.id]
            active.running.discard(task.id)
            if message.kind == "failed":
                self._failed(active, task, message.value)
            else:
                self._done(active, task, message.value)

    def _progress(self, active: Active, task: Task, message: Message) -> None:
        if task.kind == "join" and message.pid and message.pid not in active.pids:
            self._will_join(active, message.pid)
        self._tell_progress(active, task, message.value, message.worker)

    def _tell_progress(self, active: Active, task: Task, pace: Pace, worker: str) -> None:
        plan = active.prepared.plan if active.prepared else None
        values = active.progress.update(task.id, pace, plan, active.frames_to_fill)
        self._tell(Event("progress", active.job.name, {**values, "worker": worker}))

    def _done(self, active: Active, task: Task, value: Any) -> None:
        if isinstance(value, Prepared):
            self._prepared(active, value)
        elif isinstance(value, Filled):
            active.filled.append(value)
            if not active.ready and not active.running:
                self._add_join(active)
        elif isinstance(value, Summary):
            self._finished(active, value)

    def _prepared(self, active: Active, prepared: Prepared) -> None:
        row, job = active.row, active.job
        if row.state == "done" and row.key == prepared.key and is_intact(job, row):
            # Touched or copied, but the same bytes.
            self._journal.update(job.output, snapshot=prepared.snapshot)
            self._journal.release(job.output)
            self._forget(active)
            self._record_skipped(job, row)
            return
        if active.replaceable:  # the announcement it may be known by goes with the old segments
            self._journal.update(job.output, stamp=json.dumps(active.replaceable))
        if row.key not in ("", prepared.key):
            shutil.rmtree(self._settings.segments_of(job, row.key), ignore_errors=True)
        state = "joining" if row.state == "joining" else "running"
        self._journal.update(job.output, state=state, key=prepared.key, snapshot=prepared.snapshot)
        active.prepared = prepared
        self._add_parts(active)
        plan = prepared.plan
        values = {"frames": plan.frames, "filled": plan.filled, "shots": len(plan.shots), "parts": len(active.ready)}
        self._tell(Event("job_planned", job.name, values))

    def _finished(self, active: Active, summary: Summary) -> None:
        assert active.prepared is not None
        job, plan = active.job, active.prepared.plan
        record = {
            "frames": summary.frames,
            "filled": summary.filled,
            "seconds": round(summary.seconds, 3),
            "finished": round(time.time(), 3),
            "device": summary.device,
            "height": summary.size[0],
            "width": summary.size[1],
            "peak_memory": summary.peak_memory,
            "notices": list(summary.notices),
            "scores": summary.scores,
            "resumed": max(0, active.frames_to_fill - sum(f.computed for f in active.filled)),
        }
        stamp = json.dumps(fingerprint.output_stamps(fingerprint.outputs_of(job.options)))
        self._journal.update(job.output, state="done", stamp=stamp, record=record, pids=[])
        self._journal.release(job.output)
        shutil.rmtree(self._settings.segments_of(job, active.prepared.key), ignore_errors=True)
        self._forget(active)
        self._records[job.output] = record_of(job, record, "done", active.row.attempts)
        values = {**record, "attempts": active.row.attempts, "shots": len(plan.shots)}
        self._tell(Event("job_done", job.name, {"output": str(job.options.output), **values}))

    # Failures

    def _failed(self, active: Active, task: Task, failure: Failure) -> None:
        active.progress.drop(task.id)
        if not failure.final and active.tries < self._settings.max_retries:
            active.tries += 1
            values = {"message": failure.message, "retry": active.tries, "of": self._settings.max_retries}
            self._tell(Event("job_retry", active.job.name, values))
            if task.kind == "join":  # perhaps a stored segment was damaged: whatever is missing is computed again
                active.filled.clear()
                if active.replaceable is not None:
                    active.job = replace(active.job, options=fingerprint.allow_overwrite(active.job.options, False))
                    self._permit(active, self._journal.row(active.job.output))
                self._add_parts(active)
            else:
                arithmetic = active.filled[0].arithmetic if active.filled else task.arithmetic
                self._next_task += 1
                active.ready.append(replace(task, id=self._next_task, arithmetic=arithmetic))
            return
        self._forget(active)
        self._journal.update(
            active.job.output,
            # A join that broke may have published: the next run may then replace what is there.
            state="joining"
            if task.kind == "join" and (active.row.state == "joining" or not failure.final)
            else "failed",
            message=failure.message,
            exit_code=failure.exit_code,
        )
        self._journal.release(active.job.output)
        self._record_failure(active.job, active.row.attempts, failure)

    def _record_failure(self, job: Job, attempts: int, failure: Failure) -> None:
        self._records[job.output] = JobRecord(
            job.name, job.output, "failed", attempts=attempts, message=failure.message, exit_code=failure.exit_code
        )
        values = {"message": failure.message, "exit_code": failure.exit_code, "attempts": attempts}
        self._tell(Event("job_failed", job.name, values))
        self._stopping = self._stopping or self._settings.fail_fast

    def _record_skipped(self, job: Job, row: Row) -> None:
        self._records[job.output] = record_of(job, row.record, "skipped", row.attempts)
        self._tell(Event("job_skipped", job.name, {"output": str(job.options.output)}))
