"""The steps: from the chosen weights, on windows of the clip, as far as fixed holes of known pixels get better by it.

What is judged, and what comes out, is the moving average of the weights. The start is judged first, so that nothing
comes out that does worse there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from e2fgvi_cli.engine import describe_device, read_weights, total_memory
from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.planner import padded_size
from e2fgvi_cli.training.config import DataConfig, LossConfig, OptimizerConfig, PhaseConfig, SpeedConfig, TrainingConfig
from e2fgvi_cli.training.learner import Learner
from e2fgvi_cli.training.losses import masked_squared
from e2fgvi_cli.training.parallel import World
from e2fgvi_cli.training.schedule import learning_rate
from e2fgvi_cli.training.shapes import Draw
from e2fgvi_cli.training.step import autocast_for, fill_window

from .sample import ClipSample
from .windows import ClipWindows

LARGEST = {"cuda": (240, 432), "cpu": (120, 216)}
"""Height and width of the crops that are learned from, at most."""
LEARNED = ("encoder", "decoder", "feat_prop_module", "ss", "sc", "transformer")
"""All but the flow, which is trained on whole frames and has nothing to learn from holes."""
FRAME_BYTES = 0.55 * 2**30
"""Of GPU memory, a frame of 240x432 of a batch: above what training in bf16 was seen to take."""
LEAST_STEPS = 24
"""Fewer teach nothing that the fixed holes show."""
MEASURED = 3
"""Steps, the first ones, by which the others are planned."""
CHECKS = 4
"""How often the average is judged, evenly over the steps; the last time after the last one."""
PARTS = (0.5,)
"""Of the way from the start to the best average: also judged, for where the steps were too large."""
OVERTIME = 1.25
"""Where something else slows the device down, no step begins after so many times the minutes."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What decides the result besides the clip, its holes and the start. The fields are `training.config`'s."""

    minutes: float
    size: tuple[int, int]
    batch: int = 4
    local: int = 8
    reference: int = 3
    optimizer: Literal["adam", "muon"] = "muon"
    rate: float = 1.5e-4
    squared: float = 1.0
    ema: float = 0.99
    deform: str = "auto"
    autotune: bool = False
    """cuDNN tries its algorithms at the first step: seconds, for faster ones after."""
    judged_holes: int = 2
    judged_windows: int = 4
    seed: int = 0

    def config(self, weights: Path) -> TrainingConfig:
        """As `train` takes it: the recipe of `examples/train/continue.toml`, without flow and discriminator."""
        return TrainingConfig(
            minutes=self.minutes,
            seed=self.seed,
            start=str(weights),
            data=DataConfig(clips=("the clip itself",)),
            loss=LossConfig(hole=1.0, valid=0.5, flow=0.0, squared=self.squared, adversarial=0.0),
            optimizer=OptimizerConfig(
                kind=self.optimizer,
                learning_rate=self.rate,
                matrix_factor=2.5,
                betas=(0.9, 0.99),
                warmup_steps=10,
                final_factor=0.02,
                ema=self.ema,
                only=LEARNED,
            ),
            speed=SpeedConfig(deform=self.deform),
            network=read_weights(weights).config,
            phase=(
                PhaseConfig(
                    size=self.size,
                    batch=self.batch,
                    local=self.local,
                    reference=self.reference,
                    adversarial=False,
                ),
            ),
        )


def settings_for(
    minutes: float, device: torch.device, frame: tuple[int, int], multiple: tuple[int, int], *, seed: int = 0
) -> Settings:
    """For frames of this (height, width) on this device. multiple: the network's."""
    limits = LARGEST.get(device.type, LARGEST["cpu"])
    height, width = (
        min(padded, max(m, limit // m * m))
        for padded, limit, m in zip(padded_size(frame, multiple), limits, multiple, strict=True)
    )
    settings = Settings(minutes, (height, width), seed=seed)
    if device.type != "cuda":
        # A step is dear: few frames, and as few judged ones. Muon's products alone would take most of it.
        return replace(
            settings,
            optimizer="adam",
            deform="torch",
            batch=1,
            local=5,
            reference=2,
            judged_holes=1,
            judged_windows=2,
        )
    window = FRAME_BYTES * (settings.local + settings.reference) * height * width / (240 * 432)
    room = int((total_memory(device) - 2 * 2**30) / window)
    return replace(settings, batch=max(1, min(settings.batch, room)))


@dataclass
class Course:
    """How far the steps are. planned: all of them, 0 before it is known. scores: dB in the fixed holes by step, the
    start's first; parts: those of the best average, only so far from the start. best: the step of the best; 0 is the
    start; part: how far from the start."""

    step: int = 0
    planned: int = 0
    seconds: float = 0.0
    scores: dict[int, float] = field(default_factory=dict)
    parts: dict[float, float] = field(default_factory=dict)
    best: int = 0
    part: float = 1.0

    @property
    def best_score(self) -> float:
        """dB in the fixed holes."""
        return self.scores[self.best] if self.part == 1.0 else self.parts[self.part]


class Adaptation:
    """One training on one clip."""

    def __init__(self, sample: ClipSample, weights: Path, settings: Settings, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self._config = settings.config(weights)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            self._learner = Learner(self._config, World(0, 1, device))
        network = self._learner.network.state_dict()
        self._start = {k: v.detach().to("cpu", copy=True) for k, v in network.items()}
        (self._phase,) = self._config.phase
        self._learner.enter(self._phase)
        self._generator = torch.Generator(device).manual_seed(settings.seed)
        self._windows = ClipWindows(sample, self._phase, Draw(device, self._generator), judged=settings.judged_holes)
        self._judged = list(self._windows.judged(settings.judged_windows))
        self._autocast = autocast_for(self._config.speed, device)
        self.course = Course()
        self.best_state: dict[str, Tensor] | None = None
        """On the CPU; None while the start is the best."""

    def run(self, say: Say = lambda _: None) -> None:
        """All steps that are left. Raises `DivergedError`, and `UsageError` where the minutes are too few."""
        with autotuning(self.settings.autotune):
            self._run(say)

    def _run(self, say: Say) -> None:
        course, began = self.course, time.perf_counter()
        self._judge()
        judging = time.perf_counter() - began
        if self.device.type == "cuda":  # the first time prepares much
            started = time.perf_counter()
            self._score()
            judging = time.perf_counter() - started
        times: list[float] = []
        while not course.planned or course.step < course.planned:
            started = time.perf_counter()
            self.step()
            times.append(time.perf_counter() - started)
            course.seconds = time.perf_counter() - began
            if not course.planned:
                self._plan(times, judging, say)
            late = course.seconds > OVERTIME * 60 * self.settings.minutes
            if course.planned and (late or self._is_due()):
                self._judge()
                say(self._progress())
                if late:
                    break
            course.seconds = time.perf_counter() - began
        self._judge_parts()
        course.seconds = time.perf_counter() - began

    def step(self) -> None:
        """One, whatever is planned."""
        course = self.course
        # While nothing is planned the rate only warms up.
        fraction = course.step / course.planned if course.planned else 0.0
        rate = learning_rate(fraction, course.step, self._config.optimizer)
        self._learner.update(self._windows.next(), rate)
        course.step += 1

    def _plan(self, times: list[float], judging: float, say: Say) -> None:
        """Once the first steps are measured. On a GPU the first one prepares much; on a CPU it tells at once what is
        hopeless."""
        seconds = 60 * self.settings.minutes
        hopeless = self.device.type != "cuda" and times[0] > seconds / LEAST_STEPS
        if len(times) < MEASURED and not hopeless:
            return
        a_step, beside = min(times), judging * CHECKS + self.course.seconds - sum(times)
        steps = len(times) + int((seconds - beside - sum(times)) / a_step)
        if steps < LEAST_STEPS:
            needed = (LEAST_STEPS * a_step + beside) / 60
            raise UsageError(
                f"{self.settings.minutes:g} minutes are too few: a step takes about {a_step:.2g} s on "
                f"{describe_device(self.device)}, and fewer than {LEAST_STEPS} teach nothing; give {needed:.1f} or more"
            )
        self.course.planned = on_grid(steps)
        say(f"training on the clip: {self.course.planned} steps of about {a_step:.2g} s")

    def _is_due(self) -> bool:
        course = self.course
        return course.step == course.planned or course.step * CHECKS % course.planned < CHECKS

    def _judge(self) -> None:
        """Score the average; the best so far is kept, on the CPU."""
        course, average = self.course, self._learner.average.network
        course.scores[course.step] = score = self._score()
        if course.step and score > course.scores[course.best]:
            course.best = course.step
            self.best_state = {k: v.detach().to("cpu", copy=True) for k, v in average.state_dict().items()}

    def _judge_parts(self) -> None:
        """Whether less than the whole way does better. The average is spent by this."""
        course, average = self.course, self._learner.average.network
        learned = self.best_state or {k: v.detach().to("cpu", copy=True) for k, v in average.state_dict().items()}
        for part in PARTS:
            mixed = {k: between(self._start[k], value, part) for k, value in learned.items()}
            average.load_state_dict(mixed)
            course.parts[part] = score = self._score()
            if score > course.best_score:
                course.best, course.part, self.best_state = course.best or course.step, part, mixed

    @torch.no_grad()
    def _score(self) -> float:
        """Mean PSNR of what the fixed holes hide, in dB."""
        decibels = []
        for judged in self._judged:
            prediction, _ = fill_window(
                self._learner.average.network, judged.batch.masked, judged.local, self._autocast
            )
            truth = judged.batch.frames[:, : judged.local]
            hidden, _ = judged.batch.marked(judged.local)
            decibels.append(psnr_of(float(masked_squared(prediction, truth, hidden))))
        return sum(decibels) / len(decibels)

    def _progress(self) -> str:
        course = self.course
        left = course.seconds / course.step * (course.planned - course.step)
        after = f", about {left:.0f} s left" if left >= 1 else ""
        return (
            f"training on the clip: {course.step} of {course.planned} steps, held-out pixels "
            f"{course.scores[0]:.2f} -> {course.scores[course.step]:.2f} dB{after}"
        )


@contextmanager
def autotuning(wanted: bool) -> Iterator[None]:
    """Inside, cuDNN tries every algorithm for every new shape, or does not."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = wanted
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def between(start: Tensor, end: Tensor, part: float) -> Tensor:
    """`part` of the way from one to the other; what is no weight stays."""
    return torch.lerp(start, end, part) if start.is_floating_point() else start


def psnr_of(squared: float) -> float:
    """dB of a mean squared error of values in [-1, 1]; at most 100, and -100 of one that is not finite."""
    if not math.isfinite(squared):
        return -100.0
    return min(100.0, -10 * math.log10(max(squared / 4, 1e-10)))


def on_grid(steps: int) -> int:
    """At most `steps`, and 4, 5, 6 or 7 times a power of two: small swings of a machine's speed plan as many."""
    power = 1
    while 8 * power <= steps:
        power *= 2
    return steps // power * power
