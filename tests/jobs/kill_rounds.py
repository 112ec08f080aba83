"""Run a batch and SIGKILL its driver at a random moment, again and again. A program of its own: `kill_rounds.py FOLDER
ROUNDS SEED`.

Everything is imported once; each round forks a driver, which forks its worker, so that a round costs a fraction of a
second. Whenever a batch comes to its end it is compared and begun anew. Prints one JSON object: rounds, kills, batches,
faults.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import e2fgvi_cli.jobs.work  # noqa: F401  (so that the forked worker need not)
from e2fgvi_cli.jobs import Job, run_batch
from tests.factories import read_folder
from tests.jobs.clips import expected, leftovers, make_job, settings


def drive(jobs: list[Job], folder: Path) -> None:
    """The child: run the batch, end with 0 if all jobs have their output."""
    result = run_batch(jobs, settings(folder, start_method="fork", segment_frames=3, lease=600))
    print(*(f"{r.name}: {r.message}" for r in result.failed), file=sys.stderr, sep="\n", end="", flush=True)
    os._exit(0 if not result.failed else 3)


def faults(jobs: list[Job], truth: list[np.ndarray], complete: bool) -> list[str]:
    """What is wrong with the published outputs: one that is there must be whole and right."""
    found = []
    for job, frames in zip(jobs, truth, strict=True):
        output = job.options.output
        if output.exists():
            if len(list(output.iterdir())) != len(frames) or not np.array_equal(read_folder(output), frames):
                found.append(f"{job.name}: published, but not what one run gives")
        elif complete:
            found.append(f"{job.name}: not published")
    return found


def states(folder: Path) -> list[str]:
    path = folder / "state" / "journal.sqlite"
    if not path.exists():
        return []
    with sqlite3.connect(path) as journal:
        return [row[0] for row in journal.execute("SELECT state FROM jobs")]


def main(folder: Path, rounds: int, seed: int) -> None:
    rng = random.Random(seed)
    os.environ["E2FGVI_FAKE_SECONDS"] = "0.01"
    jobs = [make_job(folder, f"clip{n}", 18) for n in range(2)]
    truth = [expected(job) for job in jobs]
    killed: list[str] = []
    wrong: list[str] = []
    batches = 0
    while len(killed) < rounds:
        child = os.fork()
        if child == 0:
            drive(jobs, folder)
        # Now and then a long one, in which a batch comes to its end on a busy machine, too.
        deadline = time.monotonic() + rng.uniform(0.02, 0.5) * (1 if len(killed) % 10 else 8)
        status = None
        while status is None and time.monotonic() < deadline:
            pid, code = os.waitpid(child, os.WNOHANG)
            status = code if pid else None
            time.sleep(0.002)
        if status is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            killed.append("+".join(sorted(set(states(folder)))))
            wrong += faults(jobs, truth, complete=False)
            continue
        batches += 1
        # The worker of the driver killed last may have outlived it by a moment; the next run tidies up after it.
        time.sleep(0.1)
        run_batch(jobs, settings(folder, start_method="fork"))
        wrong += faults(jobs, truth, complete=True) + ([f"exit {status}"] if status else [])
        wrong += [f"left behind: {name}" for name in leftovers(folder)]
        shutil.rmtree(folder / "out")
        shutil.rmtree(folder / "state")
    counts = {state: killed.count(state) for state in sorted(set(killed))}
    print(json.dumps({"kills": len(killed), "states_when_killed": counts, "batches": batches, "faults": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
