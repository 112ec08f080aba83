"""`e2fgvi inpaint` as people run it: a process a clip, from the shell's command to its exit. Imports neither torch nor
PyAV.

What a run in a warm process leaves out is in these figures: the interpreter's start, imports, the network loaded,
kernels compiled or found in a cache, the last frame published. The first run is kept apart: on a machine that has
not run the program before it also fills the caches that later ones find full.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..errors import EXIT_INTERRUPTED
from ..options import InpaintOptions
from .failures import CaseFailedError, death
from .results import Measured, Memory, Timing

PROGRAM = (sys.executable, "-m", "e2fgvi_cli")


@dataclass(frozen=True)
class ProcessRun:
    """One run: wall-clock seconds of the process, and the record that `inpaint --json` printed."""

    seconds: float
    record: dict[str, Any]


def command_line(options: InpaintOptions, output: Path) -> list[str]:
    """The arguments of `e2fgvi` for `options` as `Request.options` makes them; where they have the default, nothing is
    said."""
    default = InpaintOptions(options.video, options.mask, options.output)
    windows = options.windows
    found = ["inpaint", "--video", str(options.video), "--mask", str(options.mask), "--output", str(output)]
    found += ["--overwrite", "--quiet", "--json"]
    values = {
        "--weights": (options.weights, default.weights),
        "--deform": (options.deform, default.deform),
        "--precision": (options.precision, default.precision),
        "--max-memory": (options.max_memory, default.max_memory),
        "--threads": (options.threads, default.threads),
    }
    for flag, (value, usual) in values.items():
        if value != usual:
            found += [flag, str(value)]
    found += ["--devices", ",".join(options.devices)] if options.devices else ["--device", options.device]
    if options.size is not None:
        found += ["--size", "{1}x{0}".format(*options.size)]
    if options.compile:
        found.append("--compile")
    if windows.released:
        return [*found, "--compat", "released"]
    if not windows.crops.enabled:
        found.append("--full-frame")
    if windows.propagation is None:
        found.append("--no-image-propagation")
    if windows.smoothing is None:
        found.append("--no-temporal-smoothing")
    if options.masking != default.masking:  # a synthetic clip's holes are as they are to be
        found += ["--mask-dilation", "0px"]
    return found


def run_once(command: list[str]) -> ProcessRun:
    """Run a command that ends with a JSON object on standard output. Raises `CaseFailedError` with the command's own
    last sentence and exit code."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    seconds = time.perf_counter() - began
    if done.returncode == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if done.returncode < 0:
        raise death(done.returncode)
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("error: ")] or said or ["it said nothing"]
        raise CaseFailedError(f"exit code {done.returncode}: {errors[-1].removeprefix('error: ')}", done.returncode)
    try:
        record = json.loads(done.stdout)
        record["frames"], record["seconds"]
    except (ValueError, KeyError, TypeError):
        raise CaseFailedError(f"the process ended well, but printed no summary: {done.stdout[:80]!r}") from None
    return ProcessRun(seconds, record)


def measure_processes(
    options: InpaintOptions, repeats: int, program: tuple[str, ...] | None = None
) -> Generator[None, None, Measured]:
    """The first run and `repeats` later ones, each a process with an empty folder to write to. Stops before each later
    one, until it is its turn.

    program: what stands for `e2fgvi`.
    """
    runs = []
    for number in range(repeats + 1):
        if number:
            yield
        with TemporaryDirectory(prefix="e2fgvi-benchmark-") as folder:
            # Frames in, frames out; a film for a film.
            output = Path(folder) / ("filled" if options.video.is_dir() else "filled.mp4")
            runs.append(run_once([*(program or PROGRAM), *command_line(options, output)]))
    return _measured(runs)


def _measured(runs: list[ProcessRun]) -> Measured:
    record, own = runs[-1].record, tuple(float(run.record["seconds"]) for run in runs)
    peak = int(record.get("peak_memory", 0))
    timing = Timing(
        frames=int(record["frames"]),
        first=runs[0].seconds,
        runs=tuple(run.seconds for run in runs[1:]),
        start_up=statistics.median(run.seconds - seconds for run, seconds in zip(runs[1:], own[1:], strict=True)),
        own=own,
    )
    return Measured(
        timing=timing,
        memory=Memory(None, peak, str(record.get("peak_memory_of", "process")), None, None),
        device=str(record.get("device", "")),
        deform=str(record.get("deform_backend", "")),
        notices=tuple(map(str, record.get("notices", ()))),
    )
