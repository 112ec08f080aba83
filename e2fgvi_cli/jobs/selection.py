"""Which jobs a driver has to do: those of its shard, without those whose output is there and up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import InputError, UsageError, UserError
from ..paths import Read, Written
from ..paths import check_paths as check
from . import fingerprint
from .journal import Journal, Row
from .model import BatchSettings, Job


def jobs_of_shard(jobs: Sequence[Job], shard: tuple[int, int]) -> list[Job]:
    """Every n-th job, from the i-th: jobs that follow each other, often alike, go to different shards."""
    index, count = shard
    return list(jobs)[index - 1 :: count]


def check_paths(jobs: Sequence[Job], settings: BatchSettings) -> None:
    """Raise `UsageError` where a job would write over what any job of the batch reads or writes, or over the batch's own files.

    Permission to overwrite makes no difference: an output that is another job's input would be gone, or be there in time, by chance.
    """
    written = [Written(f"{one.name} of the batch", one.path, one.folder) for one in settings.writes()]
    read = [] if settings.manifest is None or settings.manifest.is_dir() else [Read("the manifest", settings.manifest)]
    for job in jobs:
        written += (replace(one, name=f"job {job.name!r}: {one.name}") for one in job.options.writes())
        read += (replace(one, name=f"{one.name} of job {job.name!r}") for one in job.options.reads())
    try:
        check(written, read)
    except InputError as error:
        raise UsageError(str(error)) from None


def is_intact(job: Job, row: Row) -> bool:
    """Whether the output is what the journal says was published there."""
    return row.stamp != "" and fingerprint.output_stamp(fingerprint.outputs_of(job.options)) == row.stamp


def is_done(job: Job, row: Row, snapshot: str) -> bool:
    """Whether there is nothing to do: same inputs and settings by their `snapshot`, output intact."""
    return row.state == "done" and row.snapshot == snapshot and is_intact(job, row)


def unfinished(jobs: Sequence[Job], journal: Journal) -> list[Job]:
    """The jobs that a run would begin. What this journal published may be replaced."""
    rest = []
    for job in jobs:
        row = journal.find(job.output)
        if row is not None:
            try:
                if is_done(job, row, fingerprint.snapshot(job.options)):
                    continue
            except UserError:
                rest.append(job)  # whoever checks it will say what is missing
                continue
            job = may_replace(job, row)
        rest.append(job)
    return rest


def may_replace(job: Job, row: Row) -> Job:
    """The job with permission to replace what this journal published, or was publishing when it was stopped; nothing else."""
    if row.state == "joining" or is_intact(job, row):
        return Job(job.name, fingerprint.allow_overwrite(job.options), job.environment)
    return job
