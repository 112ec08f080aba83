"""`e2fgvi batch`: many clips from a manifest, resumable, on one machine or a cluster."""

from __future__ import annotations

import contextlib
import difflib
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import EXIT_BATCH, EXIT_WEIGHTS, UsageError, UserError
from ..system.arithmetic import published_environment
from ..system.cache import keep_bytecode

if TYPE_CHECKING:
    from ..jobs.manifest import Entry
    from ..jobs.model import BatchResult, BatchSettings, Event, Job
    from ..jobs.pool import Executor
    from ..options import InpaintOptions

WHAT, HOW, WHERE, OUT = "Jobs", "Running", "Cluster", "Output"


def batch(
    jobs: Path = typer.Argument(..., help="Manifest (.csv, .jsonl, .yaml), or a folder of clip.mp4 with clip_mask*."),
    output_dir: Path = typer.Option(
        Path("results"), help="Where outputs go that the manifest does not name.", rich_help_panel=WHAT
    ),
    state: Path = typer.Option(
        None, help="Folder of the journal and the segments (default: MANIFEST.e2fgvi).", rich_help_panel=WHAT
    ),
    dry_run: bool = typer.Option(
        False, "--dry-run/--no-dry-run", help="Check every job and print the plan; write nothing.", rich_help_panel=WHAT
    ),
    workers: int = typer.Option(
        None, "--jobs", "-j", metavar="N", help="Workers at a time (default: one a device).", rich_help_panel=HOW
    ),
    devices: str = typer.Option(
        None, metavar="LIST", help="Such as cuda:0,cuda:1 or cpu (default: every GPU).", rich_help_panel=HOW
    ),
    device: str = typer.Option(
        None, help="One device, as for `inpaint`: auto, cpu, cuda, cuda:N or mps.", rich_help_panel=HOW
    ),
    threads: int = typer.Option(
        None, help="CPU threads a worker (default: the cores shared out).", rich_help_panel=HOW
    ),
    split: str = typer.Option(
        "auto", metavar="auto|off|N", help="Parts of N frames of one clip to several workers.", rich_help_panel=HOW
    ),
    segment_frames: int = typer.Option(
        10, help="Frames that a stored segment has: the most work a crash costs.", rich_help_panel=HOW
    ),
    fail_fast: bool = typer.Option(
        False, "--fail-fast/--continue-on-error", help="Stop at the first failed job.", rich_help_panel=HOW
    ),
    max_retries: int = typer.Option(2, help="How often a job is tried again after a crash.", rich_help_panel=HOW),
    engine: str = typer.Option(
        "local", metavar="local|ray", help="Workers of this machine, or of a Ray cluster.", rich_help_panel=WHERE
    ),
    address: str = typer.Option(None, help="The Ray cluster, such as auto or 10.0.0.1:6379.", rich_help_panel=WHERE),
    shard: str = typer.Option(
        "1/1", metavar="I/N", help="Only every N-th job, from the I-th: for array jobs.", rich_help_panel=WHERE
    ),
    as_json: bool = typer.Option(
        False, "--json/--no-json", help="One JSON object an event on standard output.", rich_help_panel=OUT
    ),
    quiet: bool = typer.Option(False, "--quiet/--no-quiet", "-q", help="Failures only.", rich_help_panel=OUT),
) -> None:
    """Run many clips, and go on where it stopped when run again.

    A job is skipped if its inputs, settings and weights are unchanged and its output is there. Exit code 6: some
    failed.

    e2fgvi batch clips.csv --jobs 2
    """
    from ..jobs.journal import parse_shard
    from ..jobs.manifest import read_manifest, unique_names
    from ..jobs.model import BatchSettings

    keep_bytecode()  # of those that work for it, too
    entries = unique_names(read_manifest(jobs))
    made = _make_jobs(entries, output_dir)
    settings = BatchSettings(
        state=state or _default_state(jobs),
        workers=workers,
        devices=_chosen_devices(device, devices),
        threads=threads,
        split=_parse_split(split),
        segment_frames=segment_frames,
        max_retries=max_retries,
        fail_fast=fail_fast,
        shard=parse_shard(shard),
        manifest=jobs,
    )
    if dry_run:
        _dry_run(made, settings, as_json)
        return
    result = _run(made, settings, _executor(engine, address, settings), as_json, quiet)
    if result.failed:
        raise typer.Exit(EXIT_BATCH)


def _default_state(manifest: Path) -> Path:
    """Beside the manifest (in the folder, for a folder), so that running it again finds the journal."""
    return manifest / ".e2fgvi" if manifest.is_dir() else manifest.with_name(f"{manifest.name}.e2fgvi")


def _chosen_devices(device: str | None, devices: str | None) -> tuple[str, ...]:
    """The devices of the workers: what --devices lists, or the one that `inpaint --device` would choose."""
    if device is None:
        return _parse_devices("--devices", "auto" if devices is None else devices)
    if devices is not None:
        raise UsageError(f"--device {device} and --devices {devices}: give one of them")
    chosen = _parse_devices("--device", device)
    if len(chosen) > 1:
        raise UsageError(f"--device {device} names several: use --devices {device}")
    if chosen != ("auto",):
        return chosen
    from ..jobs.pool import devices_of_this_machine

    return devices_of_this_machine()[:1]


def _parse_devices(flag: str, text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    kinds = {name.partition(":")[0] for name in names}
    known = all(re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", name) for name in names)
    if not names or not known or ("auto" in kinds and len(names) > 1):
        raise UsageError(f"{flag} {text!r} is no list of devices: use auto, or names such as cuda:0,cuda:1 or cpu")
    if len(kinds) > 1:
        raise UsageError(
            f"{flag} {text!r} mixes kinds, whose results differ in the last bits: run two batches, one for each"
        )
    return names


def _parse_split(text: str) -> Any:
    if text in ("auto", "off"):
        return text
    if not re.fullmatch("[0-9]{1,9}", text):
        raise UsageError(f"--split {text!r} is unknown: use auto, off, or a number of frames")
    return int(text)


def _executor(engine: str, address: str | None, settings: BatchSettings) -> Executor | None:
    if engine == "local":
        if address is not None:
            raise UsageError("--address is for --engine ray: add it, or drop the address")
        return None
    if engine != "ray":
        raise UsageError(f"--engine {engine!r} is unknown: use local or ray")
    from ..jobs.cluster import RayCluster

    return RayCluster(settings, address)


# From entries to jobs: the options are parsed by the parser of `e2fgvi inpaint` itself.


def _make_jobs(entries: list[Entry], output_dir: Path) -> list[Job]:
    from typer.main import get_command

    from ..jobs.model import Job
    from ..options import default_output
    from .inpaint import inpaint
    from .inpaint_arguments import InpaintArguments
    from .inpaint_options import to_options

    single = typer.Typer(add_completion=False)
    single.command()(inpaint)
    command: Any = get_command(single)
    made = []
    for entry in entries:
        if not entry.values.get("output"):
            entry.values["output"] = str(output_dir / default_output(Path(entry.values["video"])).name)
        who = f"{entry.where} ({entry.name})"
        try:
            given = command.make_context("inpaint", _arguments(entry, command)).params
            options = to_options(InpaintArguments.of(given))
        except UserError as error:
            raise UsageError(f"{who}: {error}") from error
        except ValueError as error:  # a number of thousands of digits, say
            raise UsageError(f"{who}: {' '.join(str(error).split())}") from error
        except Exception as error:
            if not hasattr(error, "format_message"):
                raise
            raise UsageError(f"{who}: {error.format_message()}") from error
        if "-" in (options.output.name, options.video.name):
            raise UsageError(f"{who}: a batch reads and writes files: give names instead of -")
        if options.devices:
            raise UsageError(f"{who}: devices are the batch's: give `e2fgvi batch --devices`")
        made.append(Job(entry.name, options, _environment(options)))
    return made


_NOT_FOR_BATCH = frozenset({"as_json", "quiet", "help", "plan"})


def _arguments(entry: Entry, command: Any) -> list[str]:
    """The entry as arguments of `inpaint`. Raises `UsageError` for a name it does not have."""
    from ..jobs.manifest import as_bool

    known: dict[str, Any] = {}
    for parameter in command.params:
        if parameter.name not in _NOT_FOR_BATCH:
            for name in (*parameter.opts, *parameter.secondary_opts):
                if name.startswith("--"):
                    known[name.lstrip("-").replace("-", "_")] = (parameter, name)
    result: list[str] = []
    for key, value in entry.values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise UsageError(f"option {key!r} is unknown{f': did you mean {near[0]!r}?' if near else ''}")
        parameter, flag = known[key]
        if parameter.is_flag:
            wanted = as_bool(value, entry.where, key)
            opposite = parameter.secondary_opts if flag in parameter.opts else parameter.opts
            result += [flag] if wanted else list(opposite[:1])
            continue
        items = value if isinstance(value, list) else [value]
        if len(items) > 1 and not parameter.multiple:
            raise UsageError(f"option {key!r} takes one value, and {len(items)} are given: leave one")
        if any(isinstance(item, bool) for item in items):
            raise UsageError(f"option {key!r} is no switch: give a value instead of {str(items[0]).lower()}")
        result += [f"{flag}={item}" for item in items]
    return result


def _environment(options: InpaintOptions) -> tuple[tuple[str, str], ...]:
    """What has to be set before torch is imported by whoever fills the job."""
    return tuple(published_environment().items()) if options.windows.released else ()


# Running and reporting


def _run(
    made: list[Job], settings: BatchSettings, executor: Executor | None, as_json: bool, quiet: bool
) -> BatchResult:
    from ..jobs.report import write_reports
    from ..jobs.runner import run_batch
    from .batch_view import Lines, Panel

    panel = sys.stderr.isatty() and not quiet
    events = sys.stdout
    # Ray prints what happens to its nodes on standard output, which is for the events alone.
    with Panel() if panel else Lines(quiet) as view, contextlib.redirect_stdout(sys.stderr):

        def tell(event: Event) -> None:
            if as_json:
                events.write(json.dumps(event.record()) + "\n")
                events.flush()
            view.show(event)

        result = run_batch(made, settings, on_event=tell, executor=executor)
    reports = write_reports(result, settings)
    if not quiet:
        from .batch_view import print_result

        print_result(result, reports)
    return result


def _dry_run(made: list[Job], settings: BatchSettings, as_json: bool) -> None:
    from ..jobs.check import check_batch
    from ..jobs.journal import snapshot_of
    from ..jobs.pool import resolve_devices
    from ..jobs.selection import check_paths, jobs_of_shard, unfinished

    check_paths(made, settings)
    mine = jobs_of_shard(made, settings.shard)
    total = len(mine)
    devices = resolve_devices(settings)
    rates: dict[str, tuple[float, float]] = {}
    with snapshot_of(settings.journal) as journal:
        if journal is not None:
            rates = journal.rates()
            mine = unfinished(mine, journal, settings)
    workers = settings.workers or len(devices)
    found = check_batch(mine, settings.state, workers, devices[0].partition(":")[0], rates)
    if as_json:
        for job in found.jobs:
            typer.echo(json.dumps({"event": "job_checked", **asdict(job)}))
        summary = {"ok": found.ok, "problems": found.problems, "seconds": found.seconds, "measured": found.measured}
        typer.echo(
            json.dumps(
                {"event": "batch_checked", "jobs": total, "finished": total - len(mine), "workers": workers, **summary}
            )
        )
    else:
        from .batch_view import print_check

        print_check(found, devices, workers, total - len(mine))
    if not found.ok:
        raise typer.Exit(EXIT_WEIGHTS if {job.exit_code for job in found.jobs} == {EXIT_WEIGHTS} else EXIT_BATCH)
