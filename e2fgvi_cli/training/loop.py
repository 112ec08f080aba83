"""A training run: phases by time, steps, log, validation, state. Knows nothing of the terminal: it reports events."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..engine import Engine, peak_memory
from ..errors import UsageError
from .batches import BatchMaker
from .config import TrainingConfig
from .export import export_weights, licence_line
from .learner import DivergedError, Learner, use_tf32, without_autotuning
from .material import Material
from .parallel import World
from .schedule import learning_rate, phase_at
from .shapes import Draw
from .sheets import batch_rows, write_sheet
from .state import RunFolder
from .step import StepResult
from .validation import Validator

BEST_METRICS = ("still/network/hole_psnr", "drifting/network/hole_psnr")
RUN_LICENCE = "As its starting weights and its training material allow"


@dataclass(frozen=True)
class Event:
    """Something a run reports. kind: notice, log, validation, saved, done. `fraction` of the run's minutes has
    passed."""

    kind: str
    message: str
    fraction: float
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class Progress:
    """What a run counts; all of it is saved and resumed. Times are seconds of training."""

    step: int = 0
    seconds: float = 0.0
    samples: int = 0
    phase: int = -1
    phase_step: int = 0
    best: float = float("-inf")
    last_save: float = 0.0
    last_validation: float = 0.0
    last_sheet: float = 0.0


@dataclass
class _Sums:
    """Losses since the last line of the log, kept on the device: reading them would make the CPU wait."""

    parts: dict[str, tuple[Tensor, int]] = field(default_factory=dict)
    norm: float = 0.0
    steps: int = 0
    samples: int = 0
    started: float = 0.0

    def add(self, result: StepResult, norm: float, samples: int) -> None:
        for name, value in result.parts.items():
            total, count = self.parts.get(name, (torch.zeros_like(value), 0))
            self.parts[name] = (total + value, count + 1)
        self.norm += norm
        self.steps += 1
        self.samples += samples


class Trainer:
    """One process of a run. Raises UserErrors of its parts: weights, device, configuration."""

    def __init__(
        self,
        config: TrainingConfig,
        material: Material,
        world: World,
        *,
        licences: dict[str, int] | None = None,
        report: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self.config, self.material, self.world, self.report = config, material, world, report
        self.licences = licences or {}
        self.folder = RunFolder(config.path(config.folder))
        self.progress = Progress()
        if world.device.type == "cuda":
            use_tf32(config.speed.tf32)
        self.generator = torch.Generator(world.device).manual_seed(config.seed * 1000 + world.rank)
        self.learner = Learner(config, world)
        self.validator = Validator(material.validation if world.leads else (), config.validation)
        self._batches: BatchMaker | None = None
        self._sums = _Sums()
        self._clock = 0.0

    def run(self, *, call_seconds: float | None = None, max_steps: int | None = None, keep: bool = True) -> bool:
        """Train until the run's minutes are used, or this call's `call_seconds` of wall clock, or `max_steps` of the
        run.

        True when the run is complete; else a later call resumes its state, which is saved in any case (also when
        DivergedError or an interruption ends it). Not `keep`: steps only, nothing scored before or saved after them.
        """
        began = time.perf_counter()
        budget = self.config.minutes * 60
        complete = False
        if keep and self.world.leads and self.progress.step == 0:
            self._notice("network, teacher and optimizers are built")
            if self.validator:
                self.validator.fill_baselines()
                self._notice("held-out clips are filled by Telea and median")
            self.validate()  # what the run has to beat; `best.safetensors` is never worse than the start
        self._restart_clock()
        try:
            while not complete:
                passed = self.world.agree(time.perf_counter() - began)
                self.progress.seconds = self.world.agree(self.progress.seconds)
                complete = self.progress.seconds >= budget
                enough = max_steps is not None and self.progress.step >= max_steps
                if complete or enough or (call_seconds is not None and passed >= call_seconds):
                    break
                self._one_step(self.progress.seconds / budget)
                if self.world.leads:
                    self._housekeeping()
            if keep and self.world.leads:
                self._finish(complete)
        except (KeyboardInterrupt, DivergedError) as error:
            if keep and self.world.leads:
                self.save()
                error.add_note(f"the state at step {self.progress.step} is kept, continue it with --resume")
            raise
        self.world.wait()
        return complete

    def _one_step(self, fraction: float) -> None:
        progress = self.progress
        phase = phase_at(fraction, self.config.phase)
        if phase != progress.phase:
            progress.phase, progress.phase_step = phase, 0
            self._enter_phase()
        assert self._batches is not None
        batch = self._batches.next()
        factor = self.config.phase[phase].rate_factor
        rate = learning_rate(fraction, progress.phase_step, self.config.optimizer, factor)
        result, norm = self.learner.update(batch, rate)
        samples = len(batch.frames) * self.world.size
        progress.step += 1
        progress.phase_step += 1
        progress.samples += samples
        self._sums.add(result, norm, samples)
        self._tick()
        if not self.world.leads:
            return
        if progress.step % self.config.log_every == 0:
            self._log(rate)
        if self._due(progress.last_sheet, self.config.sheet_every_minutes):
            progress.last_sheet = progress.seconds
            rows = batch_rows(batch.frames, batch.holes, result.filled)
            write_sheet(self.folder.samples / f"batch_{progress.step:07d}.png", rows)

    def _enter_phase(self) -> None:
        phase = self.config.phase[self.progress.phase]
        self._batches = None  # its memory first
        self.learner.enter(phase)
        self._batches = BatchMaker(self.material, self.config, phase, Draw(self.world.device, self.generator))
        height, width = phase.size
        self._notice(
            f"phase {phase.name}: {width}x{height}, batch {phase.batch}, {phase.local}+{phase.reference} frames"
        )
        # Compiling and capturing are not training.
        self._restart_clock()

    # -- clock, log, files -----------------------------------------------------------------------------------------

    def _restart_clock(self) -> None:
        self._clock = time.perf_counter()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.progress.seconds += now - self._clock
        self._clock = now

    def _due(self, last: float, minutes: float) -> bool:
        return minutes > 0 and self.progress.seconds - last >= minutes * 60

    def _event(self, kind: str, message: str, values: dict[str, Any] | None = None) -> None:
        """Report, and put `values` into the log."""
        progress = self.progress
        if values is not None:
            # "clock" shows what lies between: decoding, compiling, capturing, scoring are not training, but are waited
            # for.
            clock = {"seconds": round(progress.seconds, 2), "clock": round(time.time(), 1)}
            values = {"event": kind, "step": progress.step, **clock, **values}
            self.folder.append(values)
        self.report(Event(kind, message, min(progress.seconds / (self.config.minutes * 60), 1.0), values or {}))

    def _notice(self, text: str) -> None:
        if self.world.leads:
            self._event("notice", text, {"text": text})

    def _log(self, rate: float) -> None:
        sums, progress = self._sums, self.progress
        seconds = max(progress.seconds - sums.started, 1e-9)
        losses = {name: round(float(total) / count, 5) for name, (total, count) in sums.parts.items()}
        speed = sums.samples / seconds
        values = {
            "phase": self.config.phase[progress.phase].name,
            "learning_rate": rate,
            **{f"loss/{name}": value for name, value in losses.items()},
            "gradient_norm": round(sums.norm / sums.steps, 4),
            "samples_per_second": round(speed, 2),
            "seconds_per_step": round(seconds / sums.steps, 4),
            "peak_memory_gib": round(peak_memory(self.world.device) / 2**30, 2),
        }
        self._sums = _Sums(started=progress.seconds)
        words = " ".join(f"{name} {value:.4f}" for name, value in losses.items())
        minutes = progress.seconds / 60
        self._event("log", f"step {progress.step} {minutes:.2f} min: {words}, {speed:.2f} samples/s", values)

    def _housekeeping(self) -> None:
        if self._due(self.progress.last_validation, self.config.validation.every_minutes):
            self.validate()
        if self._due(self.progress.last_save, self.config.save_every_minutes):
            self.save()
        self._restart_clock()

    def validate(self) -> dict[str, float]:
        """Score the moving average on the held-out clips; the best one so far is exported. Its figures, {} without
        clips."""
        progress = self.progress
        progress.last_validation = progress.seconds
        if not self.validator:
            return {}
        # A copy: an engine converts the network that it is given to what suits it.
        average = copy.deepcopy(self.learner.average.network)
        with without_autotuning():
            figures, rows = self.validator.score(Engine(average, self.world.device))
        write_sheet(self.folder.samples / f"validation_{progress.step:07d}.png", rows)
        text = ", ".join(
            f"{kind} {figures[f'{kind}/network/hole_psnr']:.2f} dB (Telea {figures[f'{kind}/telea/hole_psnr']:.2f}, "
            f"median {figures[f'{kind}/median/hole_psnr']:.2f})"
            for kind in ("still", "drifting")
        )
        last = None if self._batches is None else self._batches.last()
        if last is not None and (losses := self.learner.compare(last)):
            # What is scored and exported has to do what the steps say: the average of five runs did not, unseen.
            figures |= {f"last_batch/{whose}/hole": round(value, 5) for whose, value in losses.items()}
            text += f"; hole of the last batch {losses['network']:.4f}, of the average {losses['average']:.4f}"
        score = sum(figures[m] for m in BEST_METRICS) / len(BEST_METRICS)
        if score > progress.best:
            progress.best = score
            self._export(self.folder.best_file)
            text += ", the best so far"
        self._event("validation", f"step {progress.step}, held out: {text}", dict(figures))
        return figures

    def _finish(self, complete: bool) -> None:
        if complete and self.progress.step and self.progress.last_validation != self.progress.seconds:
            self.validate()
        self.save()
        word = "complete" if complete else "paused, continue it with --resume"
        self._event("done", f"run {word}: {self.progress.step} steps, {self.progress.seconds / 60:.2f} min", {})

    def _export(self, path: Path) -> None:
        average = self.learner.average.network
        licence = licence_line(self.licences, RUN_LICENCE)
        export_weights(path, average.state_dict(), average.config, licence=licence, training=self.summary())

    def summary(self) -> dict[str, Any]:
        """What exported weights say about their training."""
        config, device = self.config, self.world.device
        return {
            "start": config.start,
            "steps": self.progress.step,
            "samples": self.progress.samples,
            "minutes": round(self.progress.seconds / 60, 2),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "processes": self.world.size,
            "classes": list(config.data.classes) if config.data.manifest else ["own"],
            "loss": vars(config.loss),
            "ema": config.optimizer.ema,
            "learning_rate": config.optimizer.learning_rate,
            "validation_hole_psnr": round(self.progress.best, 3) if self.progress.best > float("-inf") else None,
        }

    # -- state -----------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Everything a later call needs to go on as if it had not stopped."""
        self.progress.last_save = self.progress.seconds
        generator, used = (self.generator.get_state(), 0) if self._batches is None else self._batches.state()
        self.folder.save_state(
            {
                **self.learner.state_dict(),
                "progress": vars(self.progress),
                "network_config": self.learner.network.config.to_dict(),
                "licences": self.licences,
                "summary": self.summary(),
                "generator": generator,
                "batches_used": used,
            }
        )
        self._event("saved", f"state saved at step {self.progress.step}")

    def resume(self) -> None:
        """Take up the state in the run's folder. Raises UsageError if there is none or it is of another network."""
        state = self.folder.load_state(self.world.device)
        if state["network_config"] != self.learner.network.config.to_dict():
            raise UsageError(
                f"{self.folder.state_file} holds another network than the configuration's: change `folder`"
            )
        self.learner.load_state_dict(state)
        self.progress = Progress(**state["progress"])
        self._sums = _Sums(started=self.progress.seconds)
        if not 0 <= self.progress.phase < len(self.config.phase):
            return
        self._enter_phase()
        assert self._batches is not None
        if self.world.leads:
            self._batches.restore(state["generator"], state["batches_used"])
        else:  # the others go on with batches that nobody has seen, not with those of step 0
            self.generator.manual_seed((self.config.seed * 1000 + self.world.rank) * 10_000_019 + self.progress.step)
