"""The proof on real clips, as a program: `eval_batch.py CLIPS WORK [--size WxH] [--kills N] [--number N] [--workers N]
[--no-ray | --only-ray]`.

CLIPS is a folder of NAME/frames and NAME/object (such as ../shared/eval). Writes a manifest of all of them, runs
`e2fgvi batch` undisturbed, again with SIGKILL at random moments, again on a local Ray cluster one of whose nodes is
killed, and compares every pixel of the three results. Prints one JSON object. One CPU thread a worker, so that all
three compute alike.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
LAUNCH = "import sys; sys.path.insert(0, {root!r}); from e2fgvi_cli.app import main; main()"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", LAUNCH.format(root=str(ROOT)), "batch", *map(str, arguments)]


def write_manifest(clips: list[Path], path: Path, size: str | None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"# size: {size}"] if size else []
    lines += ["# lossless: true", "# deform: torchvision", "name,video,mask,output"]
    lines += [f"{c.name},{c / 'frames'},{c / 'object'},out/{c.name}.mkv" for c in clips]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def local(manifest: Path, workers: int, *more: object) -> list[str]:
    return command(manifest, "--devices", "cpu", "--jobs", workers, "--threads", 1, *more, "--json", "-q")


def undisturbed(manifest: Path, workers: int) -> dict[str, Any]:
    started = time.perf_counter()
    done = subprocess.run(local(manifest, workers), stdout=subprocess.PIPE, check=False)
    return {"exit": done.returncode, "seconds": round(time.perf_counter() - started, 1)}


def killed(manifest: Path, workers: int, kills: int, rng: random.Random, seconds: float) -> dict[str, Any]:
    """Runs until it ends by itself; the first `kills` runs are killed, driver and worker, at a random moment."""
    resumed = done = 0
    for n in range(1000):
        run = subprocess.Popen(local(manifest, workers, "--segment-frames", 10), stdout=subprocess.PIPE, text=True)
        try:
            out, _ = run.communicate(timeout=rng.uniform(6, seconds / max(kills, 1) * 2) if n < kills else None)
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            out, _ = run.communicate()
        events = [json.loads(line) for line in out.splitlines() if line.endswith("}")]
        finished = [e for e in events if e["event"] == "job_done"]
        resumed += sum(e["resumed"] for e in finished)
        done += len(finished)
        if run.returncode >= 0:
            return {"exit": run.returncode, "kills": n, "frames_resumed": resumed, "jobs_done": done}
    raise RuntimeError("the batch never ended")


def on_ray(manifest: Path) -> dict[str, Any]:
    """Two nodes of one CPU; one is killed after the fifth segment and another one joins."""
    os.environ["PYTHONPATH"] = str(ROOT)
    from ray.cluster_utils import Cluster

    small: dict[str, Any] = {"object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    nodes = [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
    cluster.wait_for_nodes()
    arguments = ("--engine", "ray", "--address", cluster.address, "--devices", "cpu", "--segment-frames", 10)
    run = subprocess.Popen(command(manifest, *arguments, "--json", "-q"), stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    stored: list[tuple[str, int]] = []
    outcomes: dict[str, int] = {}
    for line in run.stdout:
        event = json.loads(line)
        if event["event"] == "segment":
            stored.append((event["job"], event["start"]))
            if len(stored) == 5:
                cluster.remove_node(nodes.pop(), allow_graceful=False)
        outcomes[event["event"]] = outcomes.get(event["event"], 0) + 1
    code = run.wait()
    cluster.shutdown()
    return {
        "exit": code,
        "nodes_left": len(nodes),
        "segments": len(stored),
        "computed_twice": len(stored) - len(set(stored)),
        "events": outcomes,
    }


def differences(one: Path, other: Path) -> dict[str, Any]:
    """Number of frames compared, and of those that differ in any bit."""
    import numpy as np

    from e2fgvi_cli.video import open_reader

    frames = different = 0
    for file in sorted(one.iterdir()):
        with open_reader(file) as a, open_reader(other / file.name) as b:
            for x, y in zip(a, b, strict=True):
                frames += 1
                different += not np.array_equal(x.rgb, y.rgb)
    return {"frames": frames, "different": different}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clips", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--size")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--number", type=int, default=None, help="only the first N clips")
    parser.add_argument("--workers", type=int, default=1, help="of the two local runs; the Ray cluster has two nodes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--only-ray", action="store_true", help="the other two results are there from an earlier run")
    given = parser.parse_args()
    clips = [c for c in sorted(given.clips.resolve().iterdir()) if (c / "object").is_dir()][: given.number]
    names = ["whole", "killed"] + ([] if given.no_ray else ["ray"])
    manifests = {n: write_manifest(clips, given.work / n / "clips.csv", given.size) for n in names}
    report: dict[str, Any] = {"clips": len(clips), "size": given.size}
    if not given.only_ray:
        report["whole"] = undisturbed(manifests["whole"], given.workers)
        rng = random.Random(given.seed)
        report["killed"] = killed(manifests["killed"], given.workers, given.kills, rng, report["whole"]["seconds"])
        report["killed"].update(differences(given.work / "whole" / "out", given.work / "killed" / "out"))
    if "ray" in names:
        report["ray"] = on_ray(manifests["ray"])
        report["ray"].update(differences(given.work / "whole" / "out", given.work / "ray" / "out"))
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
