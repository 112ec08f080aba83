"""How long batches take with 1, 2, 4, ... workers, as a program: `scaling.py WORK [--real] [--workers 1,2,4,8]`.

Without --real a window of the make-believe engine waits 0.25 s, as a worker waits for its GPU: what is measured is
everything else. With --real the network computes, one CPU thread a worker, on clips of 24x32: only meaningful on a
machine with as many idle cores as workers. The figures of docs/scaling.md come from here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from e2fgvi_cli.jobs import Job, run_batch
from e2fgvi_cli.jobs.model import ENGINE_MODULE
from tests.jobs.clips import FAKE, make_job, settings


def measure(what: str, jobs: list[Job], work: Path, workers: int, real: bool) -> None:
    for folder in ("out", "state"):
        shutil.rmtree(work / folder, ignore_errors=True)
    started = time.perf_counter()
    chosen = settings(
        work,
        workers=workers,
        segment_frames=15,
        engine_module=ENGINE_MODULE if real else FAKE,
        start_method="spawn" if real or os.name != "posix" else "fork",
    )
    done = sum(r.outcome == "done" for r in run_batch(jobs, chosen).records)
    print(f"{what}, {workers} workers: {time.perf_counter() - started:.1f} s, {done} of {len(jobs)} done", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--workers", default="1,2,4,8")
    given = parser.parse_args()
    os.environ["E2FGVI_FAKE_SECONDS"] = "0.25"
    frames, whole = (12, 60) if given.real else (60, 480)
    many = [make_job(given.work, f"clip{n}", frames) for n in range(8)]
    one = [make_job(given.work, "long", whole)]
    for what, jobs in ((f"8 clips of {frames} frames", many), (f"1 clip of {whole} frames", one)):
        for workers in map(int, given.workers.split(",")):
            measure(what, jobs, given.work, workers, given.real)


if __name__ == "__main__":
    main()
