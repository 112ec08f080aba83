"""Which phase a run is in and how large its steps are, from the part of its minutes that has passed. Pure numbers.

A run is planned in time, not in iterations: what is given is a machine for so many minutes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .config import OptimizerConfig, PhaseConfig


def phase_at(fraction: float, phases: Sequence[PhaseConfig]) -> int:
    """The index of the phase at `fraction` (0..1) of the run; the last one with a share from 1 on."""
    total = sum(p.share for p in phases)
    passed = 0.0
    last = 0
    for index, phase in enumerate(phases):
        if phase.share <= 0:
            continue
        last = index
        passed += phase.share / total
        if fraction < passed:
            return index
    return last


def learning_rate(fraction: float, step: int, config: OptimizerConfig, factor: float = 1.0) -> float:
    """The rate of one step: schedule over the run's time, times a linear warm-up over the first steps, times
    `factor`."""
    fraction = min(max(fraction, 0.0), 1.0)
    if config.schedule == "cosine":
        scale = config.final_factor + (1 - config.final_factor) * 0.5 * (1 + math.cos(math.pi * fraction))
    elif config.schedule == "step":
        scale = 0.1 if fraction >= config.step_at else 1.0
    else:
        scale = 1.0
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps > 0 else 1.0
    return config.learning_rate * factor * scale * warmup


def ema_decay(step: int, decay: float) -> float:
    """The decay of the moving average at a step: it starts low, so that the first weights are forgotten soon."""
    return min(decay, (1 + step) / (10 + step))
