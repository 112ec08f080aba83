"""What learns: the network, its moving average, its teacher and its critic, and one update of all of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..errors import UserError
from .batches import Batch
from .config import PhaseConfig, TrainingConfig
from .discriminator import TemporalPatchGAN
from .losses import masked_l1
from .parallel import World
from .schedule import ema_decay
from .setup import MovingAverage, build_adam, build_network, build_optimizers, build_teacher
from .step import GraphedStep, Step, StepResult, autocast_for, compile_parts, fill_window


class DivergedError(UserError):
    """The loss or the gradient is not finite and stays so: going on would destroy the weights."""


class Learner:
    """Weights and optimizers of one process. `enter` a phase, then `update` batch by batch.

    steps, discriminator_steps: updates so far. skipped: updates in a row that were left out because the gradient was
    not finite.
    """

    def __init__(self, config: TrainingConfig, world: World) -> None:
        self.config, self.world = config, world
        self.steps = self.discriminator_steps = self.skipped = 0
        device = world.device
        self.network = build_network(config, device)
        self.teacher = build_teacher(config, self.network, device)
        world.share([p.detach() for p in self.network.parameters()])
        self.average = MovingAverage(self.network, copy.deepcopy(self.network))
        fused = config.speed.fused_optimizer
        self.optimizers = build_optimizers(self.network, config.optimizer, fused=fused)
        self.discriminator: TemporalPatchGAN | None = None
        self.discriminator_optimizer: torch.optim.Adam | None = None
        if config.loss.adversarial > 0 and any(p.adversarial and p.mode == "joint" for p in config.phase):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.seed + 1)
                self.discriminator = TemporalPatchGAN().to(device)
            rate, betas = config.optimizer.learning_rate, config.optimizer.discriminator_betas
            self.discriminator_optimizer = build_adam(self.discriminator.parameters(), rate, betas, fused=fused)
        compile_parts(self.network, config.speed.compile)
        self._autocast = autocast_for(config.speed, device)
        self._step: Step | None = None
        self._run: Step | GraphedStep | None = None

    def enter(self, phase: PhaseConfig) -> None:
        """Prepare for a phase's batches; a CUDA graph is captured here."""
        self._step = self._run = None
        self.network.zero_grad(set_to_none=True)
        critic = self.discriminator if phase.adversarial and phase.mode == "joint" else None
        self._step = Step(self.network, self.teacher, critic, phase, self.config.loss, self._autocast)
        self._run = self._step
        if self.config.speed.cuda_graph and self.world.device.type == "cuda":
            if critic is not None:
                critic.requires_grad_(False)
            shape = (phase.batch, phase.local + phase.reference)
            zeros = [torch.zeros(*shape, c, *phase.size, device=self.world.device) for c in (3, 1)]
            self._run = GraphedStep(self._step, Batch(*zeros))

    def update(self, batch: Batch, rate: float) -> tuple[StepResult, float]:
        """One step of the generator, and of the discriminator where there is one. The losses and the gradient's norm.

        A gradient that is not finite changes nothing; too many in a row raise DivergedError.
        """
        assert self._step is not None, "enter() comes first"
        assert self._run is not None, "enter() comes first"
        critic = self._step.discriminator
        if critic is not None:
            ready = self.discriminator_steps >= self.config.loss.discriminator_warmup
            self._step.adversarial_weight.fill_(self.config.loss.adversarial if ready else 0.0)
            critic.requires_grad_(False)
        if not isinstance(self._run, GraphedStep):
            self.network.zero_grad(set_to_none=True)
        result = self._run(batch)
        norm = self._apply(self._step.parameters(), self.optimizers, rate)
        self.steps += 1
        if math.isfinite(norm):
            self.average.update(ema_decay(self.steps, self.config.optimizer.ema))
            self.skipped = 0
        else:
            self._skip(result)
        if critic is not None:
            assert self.discriminator_optimizer is not None
            critic.requires_grad_(True)
            critic.zero_grad(set_to_none=True)
            result.parts["discriminator"] = self._step.discriminate(batch, result.filled)
            own_rate = rate * self.config.optimizer.discriminator_factor
            self._apply(list(critic.parameters()), [self.discriminator_optimizer], own_rate)
            self.discriminator_steps += 1
        return result, norm

    @torch.no_grad()
    def compare(self, batch: Batch) -> dict[str, float]:
        """The loss in the hole of the network and of its average on the same batch, by name; neither from a graph. {}
        without holes."""
        assert self._step is not None, "enter() comes first"
        if self._step.phase.mode != "joint":
            return {}
        local = self._step.phase.local
        truth, hole = batch.frames[:, :local], batch.holes[:, :local]
        found = {}
        for name, network in (("network", self.network), ("average", self.average.network)):
            prediction, _ = fill_window(network, batch.masked, local, self._autocast)
            found[name] = float(masked_l1(prediction.float(), truth, hole))
        return found

    def _apply(self, parameters: list[nn.Parameter], optimizers: list[torch.optim.Optimizer], rate: float) -> float:
        """Average, clip and apply the gradients, unless they are not finite. Returns their norm before clipping."""
        self.world.average([p.grad for p in parameters if p.grad is not None])
        limit = self.config.optimizer.clip_norm
        # Reading the norm waits for the device, once a step: the price of never writing NaN into the weights.
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, limit if limit > 0 else math.inf))
        if math.isfinite(norm):
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate * group.get("factor", 1.0)
                optimizer.step()
        return norm

    def _skip(self, result: StepResult) -> None:
        self.skipped += 1
        if self.skipped < self.config.optimizer.max_skipped:
            return
        bad = [name for name, value in result.parts.items() if not bool(torch.isfinite(value))]
        cause = f"the loss {', '.join(bad)} is" if bad else "the gradient is"
        raise DivergedError(
            f"{cause} not finite in {self.skipped} steps in a row, the last one is step {self.steps}: the run "
            "stopped with its last good weights saved; use --resume with a lower optimizer.learning_rate, or "
            "with speed.precision=float32"
        )

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizers and counts."""
        state: dict[str, Any] = {
            "network": self.network.state_dict(),
            "ema": self.average.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "counts": [self.steps, self.discriminator_steps, self.skipped],
        }
        if self.discriminator is not None and self.discriminator_optimizer is not None:
            state["discriminator"] = self.discriminator.state_dict()
            state["discriminator_optimizer"] = self.discriminator_optimizer.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave. A discriminator that the state lacks starts anew."""
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["ema"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.steps, self.discriminator_steps, self.skipped = state["counts"]
        self.skipped = 0
        if self.discriminator is None or self.discriminator_optimizer is None:
            return
        if "discriminator" in state:
            self.discriminator.load_state_dict(state["discriminator"])
            self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        else:
            self.discriminator_steps = 0


def use_tf32(allowed: bool) -> None:
    """Whether float32 products on a GPU may use TF32 (10 bits of mantissa): convolutions and matrix products alike."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cudnn.benchmark = True


@contextmanager
def without_autotuning() -> Iterator[None]:
    """Inside, cuDNN does not try every algorithm for every new shape: that pays for steps, not for a score, whose
    windows have many shapes once."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
