"""Which jobs a driver has to do: those of its shard, without those whose output is there and up to date."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UsageError, UserError
from . import fingerprint
from .journal import Journal, Row
from .model import Job


def jobs_of_shard(jobs: Sequence[Job], shard: tuple[int, int]) -> list[Job]:
    """Every n-th job, from the i-th: jobs that follow each other, often alike, go to different shards."""
    index, count = shard
    return list(jobs)[index - 1 :: count]


def require_distinct_outputs(jobs: Sequence[Job]) -> None:
    """Raise `UsageError` if two jobs would write the same file."""
    seen: dict[str, str] = {}
    for job in jobs:
        for output in (str(path.resolve()) for path in fingerprint.outputs_of(job.options)):
            if output in seen:
                raise UsageError(
                    f"jobs {seen[output]!r} and {job.name!r} would both write {output}: give each its own output"
                )
            seen[output] = job.name


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
