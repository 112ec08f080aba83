"""What training on the clip gains: `python -m measurements.adaptation CLIPS -o FOLDER [--seconds 18 --rates ...]`.

For clips whose holes hide known pixels, in the convention of `quality.clips`: dB in the hole of the network alone and
of the program (found pixels first, by OpenCV), by the start and by what was learned. A line of JSON a training, at
once, in FOLDER/adaptation.jsonl. The rates are compared on the first holes, the best one serves the others; then some
are trained for longer. Nothing is begun that does not end before `--until`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from e2fgvi_cli.engine import Engine, EngineSettings, choose_deform, choose_precision, read_weights, select_device
from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.fill.stream import Proposed, fill_rest
from e2fgvi_cli.propagation.options import PropagationOptions
from e2fgvi_cli.propagation.propagate import propagate
from e2fgvi_cli.quality.clips import EVAL_STRIDE, MeasuredClip, holed_frames
from e2fgvi_cli.quality.metrics import score_clip
from e2fgvi_cli.threads.opencv import one_thread_a_call
from e2fgvi_cli.types import Frame
from e2fgvi_cli.weights.known import resolve

from . import learning
from .sample import sample_clip

HOLES = (
    "cows/still", "scooter-black/drifting", "dog/still", "motocross-jump/drifting", "bmx-trees/still",
    "car-shadow/drifting", "paragliding-launch/still", "courtyard/drifting", "chair/still",
    "cows/drifting", "motocross-jump/still", "dog/drifting", "scooter-black/still", "bmx-trees/drifting",
    "car-shadow/still", "paragliding-launch/drifting", "courtyard/still", "chair/drifting",
)  # fmt: skip
"""In this order, so that one that is cut off has some of each."""
Frames = NDArray[np.uint8]
say = Console(width=160, highlight=False).print


@dataclass(frozen=True)
class Prepared:
    """A clip's frames (t, H, W, 3) with holes (t, H, W), and what other frames show of these."""

    frames: Frames
    holes: Frames
    proposed: list[Proposed]


def prepare(root: Path, hole: str, count: int | None) -> Prepared:
    """In a process of its own: the GPU is busy meanwhile."""
    name, kind = hole.split("/")
    clip = MeasuredClip(root / name)
    frames, holes = clip.frames()[:count], clip.holes(kind)[:count]
    with one_thread_a_call():
        proposed = list(propagate(holed_frames(frames, holes), PropagationOptions()))
    return Prepared(frames, holes, proposed)


class Bench:
    """One engine, whose weights are changed."""

    def __init__(self, weights: Path, device: torch.device) -> None:
        from e2fgvi_cli._model import load_network

        self.device, self.weights = device, weights
        checkpoint = read_weights(weights)
        self.start = {k: v.clone() for k, v in checkpoint.state_dict.items()}
        self.multiple = checkpoint.config.size_multiple
        precision = choose_precision("fp16" if device.type == "cuda" else "fp32", device)
        network = load_network(checkpoint, deform=choose_deform("auto", device))
        self.engine = Engine(network, device, EngineSettings(precision))

    def scores(self, state: dict[str, Tensor], clip: Prepared) -> dict[str, float]:
        """dB and SSIM in the hole, of the network alone and of the program."""
        self.engine.network.load_state_dict(state)
        options = WindowOptions()
        alone = [(item, None) for item in holed_frames(clip.frames, clip.holes)]
        found: dict[str, float] = {}
        for name, proposed in (("network", alone), ("program", clip.proposed)):
            filled = [np.asarray(f.rgb, np.uint8) for f in fill_rest(proposed, self.engine, options)]
            score = score_clip(filled, clip.frames, clip.holes, every=EVAL_STRIDE)
            found |= {name: float(score.hole_psnr or 0), f"{name} ssim": float(score.hole_ssim or 0)}
            found[f"{name} flicker"] = float(score.flicker or 0)
        return found

    def speeds(self, clip: Prepared) -> dict[str, list[float]]:
        """Seconds of the first steps, with cuDNN's algorithms tried and without."""
        found = {}
        for tuned in (False, True):
            adaptation = self.build(clip, 60.0, autotune=tuned)
            with learning.autotuning(tuned):
                times = []
                for _ in range(10):
                    started = time.perf_counter()
                    adaptation.step()
                    times.append(round(time.perf_counter() - started, 4))
            found["autotuned" if tuned else "plain"] = times
        return found

    def train(self, clip: Prepared, seconds: float, **changes: Any) -> learning.Adaptation:
        """For so many seconds."""
        adaptation = self.build(clip, seconds, **changes)
        adaptation.run(say)
        return adaptation

    def build(self, clip: Prepared, seconds: float, **changes: Any) -> learning.Adaptation:
        """One that has not begun."""
        from fractions import Fraction

        settings = learning.settings_for(seconds / 60, self.device, clip.frames.shape[1:3], self.multiple)
        settings = replace(settings, **changes)
        pairs = zip(clip.frames, clip.holes, strict=True)
        items = ((Frame(i, rgb, Fraction(i)), hole, False) for i, (rgb, hole) in enumerate(pairs))
        sample = sample_clip(items, settings.size)
        assert sample is not None, "the clips have holes"
        return learning.Adaptation(sample, self.weights, settings, self.device)


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, help="folder of NAME/frames, NAME/still, NAME/drifting")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the log")
    parser.add_argument("--seconds", type=float, default=18.0)
    parser.add_argument("--long", type=float, default=60.0, help="seconds of the longer trainings")
    parser.add_argument("--rates", default="6e-5,2e-4")
    parser.add_argument("--compared", type=int, default=2, help="holes that every rate is tried on")
    parser.add_argument("--longer", type=int, default=2, help="holes that are trained for longer")
    parser.add_argument("--holes", default=",".join(HOLES))
    parser.add_argument("--frames", type=int, help="only so many of each clip")
    parser.add_argument("--until", type=float, default=515.0, help="seconds after the start")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--checks", type=int, default=2, help="of the short trainings")
    parser.add_argument("--least-steps", type=int, default=learning.LEAST_STEPS)
    given = parser.parse_args()
    began = time.perf_counter()
    given.output.mkdir(parents=True, exist_ok=True)
    learning.LEAST_STEPS = given.least_steps
    bench = Bench(resolve("open"), select_device(given.device))
    holes, rates = given.holes.split(","), [float(rate) for rate in given.rates.split(",")]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(3, len(holes)), context) as pool:
        waiting = {hole: pool.submit(prepare, given.clips, hole, given.frames) for hole in holes}
        Measuring(bench, waiting, given.output / "adaptation.jsonl", given, began).run(holes, rates)
        pool.shutdown(cancel_futures=True)


class Measuring:
    """The order of it."""

    def __init__(
        self, bench: Bench, waiting: dict[str, Future[Prepared]], log: Path, given: argparse.Namespace, began: float
    ) -> None:
        self.bench, self.waiting, self.log, self.given, self.began = bench, waiting, log, given, began
        self.before: dict[str, dict[str, float]] = {}
        self.gains: dict[float, list[float]] = {}
        self.autotune = False
        self.overhead = 15.0
        """Seconds beside the training's own, as seen so far."""

    def run(self, holes: list[str], rates: list[float]) -> None:
        """Rates, a long one, the others, more long ones."""
        given = self.given
        if self.bench.device.type == "cuda":
            times = self.bench.speeds(self.waiting[holes[0]].result())
            self.write({"seconds a step": times})
            sums = {name: sum(values[:3]) + 300 * min(values) for name, values in times.items()}
            self.autotune = sums["autotuned"] < sums["plain"]
            say(f"seconds a step {times}; autotuned: {self.autotune}")
        for hole in holes[: given.compared]:
            for rate in rates:
                self.one(hole, given.seconds, rate, given.checks)
        best = max(self.gains, key=lambda rate: float(np.mean(self.gains[rate]))) if self.gains else rates[0]
        say(f"the best rate: {best:g} ({ {k: round(float(np.mean(v)), 3) for k, v in self.gains.items()} })")
        long = holes[: given.longer]
        for hole in long[:1]:
            self.one(hole, given.long, best, 4)
        for hole in holes[given.compared :]:
            self.one(hole, given.seconds, best, given.checks)
        for hole in long[1:]:
            self.one(hole, given.long, best, 4)

    def write(self, entry: dict[str, Any]) -> None:
        """A line of the log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def one(self, hole: str, seconds: float, rate: float, checks: int) -> None:
        """Train, fill, log; nothing where the time is short."""
        started = time.perf_counter()
        if started - self.began + seconds + self.overhead > self.given.until:
            say(f"no time left for {hole} of {seconds:g} s")
            return
        clip = self.waiting[hole].result()
        waited = time.perf_counter() - started
        if hole not in self.before:
            self.before[hole] = self.bench.scores(self.bench.start, clip)
        learning.CHECKS = checks
        if self.bench.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        building = time.perf_counter()
        adaptation = self.bench.train(clip, seconds, rate=rate, autotune=self.autotune)
        trained = time.perf_counter() - building
        peak = torch.cuda.max_memory_allocated() / 2**30 if self.bench.device.type == "cuda" else 0.0
        course, state = adaptation.course, adaptation.best_state
        settings = asdict(adaptation.settings)
        del adaptation
        after = self.bench.scores(state, clip) if state is not None else self.before[hole]
        before = self.before[hole]
        gained = sum(after[method] - before[method] for method in ("network", "program")) / 2
        self.gains.setdefault(rate, []).append(gained)
        whole = time.perf_counter() - started
        self.overhead = max(5.0, whole - waited - seconds + 2)
        entry = {
            "hole": hole, "rate": rate, "asked": seconds, "trained": trained, "waited": waited, "whole": whole,
            "peak_gib": peak, "course": asdict(course), "before": before, "after": after,
            "settings": settings,
        }  # fmt: skip
        self.write(entry)
        say(
            f"{hole:28} rate {rate:g}, {course.step} steps in {course.seconds:.1f} s (best {course.best}), held-out "
            f"{course.scores[0]:.2f} -> {course.best_score:.2f} ({course.part:g} of the way); network "
            f"{before['network']:.2f} -> {after['network']:.2f}, program "
            f"{before['program']:.2f} -> {after['program']:.2f} dB; "
            f"{peak:.1f} GiB, {whole:.0f} s with all"
        )


if __name__ == "__main__":
    main()
