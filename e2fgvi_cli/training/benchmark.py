"""How fast a step is under each switch, measured on this machine: what decides a configuration's [speed].

Every variant is built anew, warmed up (compilation and graph capture are timed apart), then run for some seconds. A
variant that fails is a line with the reason, not the end of the measurement.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..engine import peak_memory
from .batches import BatchMaker
from .config import PhaseConfig, SpeedConfig, TrainingConfig
from .learner import Learner, use_tf32
from .material import Material
from .parallel import World
from .shapes import Draw

WARMUP_STEPS = 4
PLAIN = SpeedConfig(precision="float32", compile=(), fused_optimizer=False, tf32=False, batches_per_draw=1)


@dataclass(frozen=True)
class Measurement:
    """One variant in one phase. Times in seconds a step; `prepare` is what building, compiling and capturing took
    once."""

    phase: str
    variant: str
    samples_per_second: float
    step: float
    batch: float
    prepare: float
    peak_gib: float
    failure: str = ""


def variants(speed: SpeedConfig) -> dict[str, SpeedConfig]:
    """Switches to compare: none, one more at a time, and the configuration's own."""
    base = replace(PLAIN, deform=speed.deform)
    tf32 = replace(base, tf32=True)
    bf16 = replace(tf32, precision="bf16")
    batched = replace(bf16, batches_per_draw=8)
    fused = replace(batched, fused_optimizer=True)
    return {
        "float32": base,
        "+ tf32": tf32,
        "+ bf16": bf16,
        "+ 8 batches a draw": batched,
        "+ fused Adam": fused,
        "... + channels_last": replace(fused, channels_last=True),
        "... + compile encoder, decoder": replace(fused, compile=("encoder", "decoder")),
        "... + compile flow, propagation": replace(fused, compile=("flow", "propagation")),
        "... + compile feedforward": replace(fused, compile=("feedforward",)),
        "... + CUDA graph": replace(fused, cuda_graph=True),
        "... + CUDA graph, compile encoder, decoder, feedforward": replace(
            fused, cuda_graph=True, compile=("encoder", "decoder", "feedforward")
        ),
        "the configuration's": speed,
    }


def run(
    config: TrainingConfig,
    material: Material,
    world: World,
    *,
    seconds: float,
    only: tuple[str, ...] = (),
    on_result: Callable[[Measurement], None] = lambda _: None,
) -> list[Measurement]:
    """Measure every variant (whose name contains one of `only`) in every phase, about `seconds` each after its
    warm-up."""
    results = []
    for phase in config.phase:
        for name, speed in variants(config.speed).items():
            if only and not any(text in name for text in only):
                continue
            if speed.cuda_graph and world.device.type != "cuda":
                continue
            result = measure(replace(config, speed=speed), phase, name, material, world, seconds)
            results.append(result)
            on_result(result)
    return results


def measure(
    config: TrainingConfig, phase: PhaseConfig, name: str, material: Material, world: World, seconds: float
) -> Measurement:
    """One variant in one phase."""
    device = world.device
    if device.type == "cuda":
        use_tf32(config.speed.tf32)
        torch.cuda.reset_peak_memory_stats(device)
    began = time.perf_counter()
    try:
        learner = Learner(config, world)
        learner.enter(phase)
        draw = Draw(device, torch.Generator(device).manual_seed(0))
        batches = BatchMaker(material, config, phase, draw)
        for _ in range(WARMUP_STEPS):
            learner.update(batches.next(), 0.0)
        _wait(device)
        prepared = time.perf_counter() - began
        steps, step_time, batch_time = _time_steps(learner, batches, device, seconds)
    except Exception as error:  # whatever a backend throws is this variant's result
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        return Measurement(
            phase.name, name, 0.0, 0.0, 0.0, time.perf_counter() - began, 0.0, f"{type(error).__name__}: {reason}"
        )
    finally:
        torch._dynamo.reset()
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return Measurement(
        phase=phase.name,
        variant=name,
        samples_per_second=phase.batch * steps / step_time,
        step=step_time / steps,
        batch=batch_time,
        prepare=prepared,
        peak_gib=peak_memory(device) / 2**30,
    )


def _time_steps(
    learner: Learner, batches: BatchMaker, device: torch.device, seconds: float
) -> tuple[int, float, float]:
    """(steps, their seconds in all, seconds of one batch made alone)."""
    began, steps = time.perf_counter(), 0
    # Whole draws, so that making them is counted in proportion.
    while not steps or steps % batches.per_draw or time.perf_counter() - began < seconds:
        learner.update(batches.next(), 0.0)
        steps += 1
        if steps >= batches.per_draw and time.perf_counter() - began > 3 * seconds:
            break
    _wait(device)
    total = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(batches.per_draw):
        batches.next()
    _wait(device)
    return steps, total, (time.perf_counter() - began) / batches.per_draw


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def profiled(output: Path, device: torch.device) -> Iterator[Callable[[], None]]:
    """Profile the steps of the block with torch.profiler; call what is yielded after each. Writes OUTPUT.txt and
    OUTPUT.trace.json.gz.

    The first step is skipped, the second warms the profiler up, the next three are recorded.
    """
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    schedule = torch.profiler.schedule(wait=1, warmup=1, active=3, repeat=1)
    tables: list[str] = []

    def keep(profile: Any) -> None:
        order = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
        events = profile.key_averages()
        tables.append(events.table(sort_by=order, row_limit=40, max_name_column_width=60))
        tables.append(events.table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=60))
        profile.export_chrome_trace(str(output.with_suffix(".trace.json.gz")))

    with torch.profiler.profile(activities=activities, schedule=schedule, on_trace_ready=keep) as profiler:
        yield profiler.step
    output.with_suffix(".txt").write_text("\n\n".join(tables), encoding="utf-8")
