"""Which jobs a driver has to do: those of its shard, without those whose output is there and up to date."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import InputError, UsageError, UserError
from ..system.paths import Read, Written
from ..system.paths import check_paths as check
from ..system.publication import replace_file
from . import fingerprint
from .journal import Journal, Row
from .model import BatchSettings, Job

ANNOUNCEMENT = "publishing.json"


def jobs_of_shard(jobs: Sequence[Job], shard: tuple[int, int]) -> list[Job]:
    """Every n-th job, from the i-th: jobs that follow each other, often alike, go to different shards."""
    index, count = shard
    return list(jobs)[index - 1 :: count]


def check_paths(jobs: Sequence[Job], settings: BatchSettings) -> None:
    """Raise `UsageError` where a job would write over what any job of the batch reads or writes, or over the batch's
    own files.

    Permission to overwrite makes no difference: an output that is another job's input would be gone, or be there in
    time, by chance.
    """
    written = [Written(f"{one.name} of the batch", one.path, one.folder) for one in settings.writes()]
    read = [] if settings.manifest is None or settings.manifest.is_dir() else [Read("the manifest", settings.manifest)]
    seen = set()  # weights and masks are often those of all jobs
    for job in jobs:
        written += (replace(one, name=f"job {job.name!r}: {one.name}") for one in job.options.writes())
        for one in job.options.reads():
            if one.path not in seen:
                seen.add(one.path)
                read.append(replace(one, name=f"{one.name} of job {job.name!r}"))
    try:
        check(written, read)
    except InputError as error:
        raise UsageError(str(error)) from None


def is_intact(job: Job, row: Row) -> bool:
    """Whether all outputs are there and are what the journal says was published."""
    outputs = fingerprint.outputs_of(job.options)
    now, known = fingerprint.output_stamps(outputs), stamps_of(row.stamp)
    return len(now) == len(outputs) and all(known.get(path) == stamp for path, stamp in now.items())


def is_done(job: Job, row: Row, snapshot: str) -> bool:
    """Whether there is nothing to do: same inputs and settings by their `snapshot`, output intact."""
    return row.state == "done" and row.snapshot == snapshot and is_intact(job, row)


def unfinished(jobs: Sequence[Job], journal: Journal, settings: BatchSettings) -> list[Job]:
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
            job, _ = may_replace(job, row, settings.segments_of(job, row.key))
        rest.append(job)
    return rest


def may_replace(
    job: Job, row: Row, folder: Path, known: dict[str, str] | None = None
) -> tuple[Job, dict[str, str] | None]:
    """The job with permission to replace what is there, if all of it is what this journal published, or was publishing
    when it was stopped; and the stamps of what may be replaced. known: stamps of what is known to be, besides.

    folder: of the job's segments, where a worker writes what it is about to publish. A job that was given the
    permission itself has
    no such stamps: None. Anything else that is there is somebody else's, and the job will say so.
    """
    if job.options.encoding.overwrite:
        return job, None
    now = fingerprint.output_stamps(fingerprint.outputs_of(job.options))
    published, publishing = stamps_of(row.stamp), read_announcement(folder)
    ours = (published, publishing, known or {})
    if now and all(any(one.get(path) == stamp for one in ours) for path, stamp in now.items()):
        return replace(job, options=fingerprint.allow_overwrite(job.options)), now
    return job, {}


def stamps_of(text: str) -> dict[str, str]:
    """Stamps by path from their JSON; none from what is no such thing."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {path: stamp for path, stamp in value.items() if isinstance(stamp, str)} if isinstance(value, dict) else {}


def read_announcement(folder: Path) -> dict[str, str]:
    """The stamps of what a worker was about to publish, by path; none if nothing was."""
    try:
        return stamps_of((folder / ANNOUNCEMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def announce(folder: Path, results: Iterable[tuple[Path, Path]], replaceable: dict[str, str] | None) -> None:
    """Write what is about to be published, as (finished file or folder, target), before any of it has its name.

    Should the process end in between, the next one knows them for its own. Raises `InputError` for a target that is
    not, or no more, one of those that may be replaced; nothing is lost by that, for the stored fills are kept.
    """
    pairs = list(results)
    if replaceable:
        for path, stamp in fingerprint.output_stamps(target for _, target in pairs).items():
            if replaceable.get(path) != stamp:
                raise InputError(
                    f"the output {path} was changed while this ran and is not replaced: move it away and run again"
                )
    folder.mkdir(parents=True, exist_ok=True)
    stamps = {os.path.realpath(target): fingerprint.stamp_of(finished, target) for finished, target in pairs}
    replace_file(folder / ANNOUNCEMENT, json.dumps(stamps))
