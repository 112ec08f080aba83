"""How long each stage of a window takes by itself, on the shapes of a real run: launched one kernel at a time and, on
CUDA, as a graph.

The difference between the two is what launching costs; what the stages leave over of a window's measured time is
everything else: upload, merging, waiting for the host.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..engine import Engine
from ..engine.precision import products
from .results import StageTime, WindowWork
from .roofline import median_seconds, synchronise
from .synthetic import SyntheticClip
from .work import STAGES

GRAPH_CALLS = 10
"""Replays timed as one: a single one is too short for the clock of the host."""


def measure_stages(engine: Engine, work: WindowWork, *, seconds: float = 1.0) -> list[StageTime]:
    """Every stage that the window has, for about `seconds` each. Only `engine.network` is used, with its dtypes and
    kernels.

    A stage that runs out of memory here is a line with a note.
    """
    found = []
    with torch.inference_mode(), products(engine.settings.precision, engine.device):
        frames = {
            "encode": work.encoded,
            "flow": work.pairs,
            "propagate": work.local,
            "transform": work.local + work.references,
            "decode": work.decoded,
        }
        for name in STAGES:
            if not frames[name]:
                continue
            try:
                call = _call(engine, work, name)
                eager = median_seconds(call, engine.device, seconds=seconds)
                graph, note = _graph_seconds(call, engine.device, seconds)
                found.append(StageTime(name, frames[name], eager, graph, note))
            except torch.cuda.OutOfMemoryError:
                found.append(StageTime(name, frames[name], None, None, "out of memory when measured by itself"))
            if engine.device.type == "cuda":
                torch.cuda.empty_cache()
    return found


def _call(engine: Engine, work: WindowWork, stage: str) -> Callable[[], object]:
    """One stage of the window as a function without arguments. Its inputs are what earlier stages make of a synthetic
    clip."""
    network, plan = engine.network, engine.planner.plan(work.size)
    network.limit_chunks(plan.max_keys, plan.max_tokens)

    def chunks(count: int, size: int | None) -> list[int]:
        step = size or count
        return [min(step, count - start) for start in range(0, count, step)]

    if stage == "encode":
        frames = _masked_frames(work.size, max(chunks(work.encoded, plan.encode_batch)), engine.device)

        def encode() -> None:
            for n in chunks(work.encoded, plan.encode_batch):
                network.encode(frames[:, :n])
                network.shrink(frames[:, :n])

        return encode
    if stage == "flow":
        small = _small_frames(engine, work.size, max(chunks(work.pairs, plan.flow_batch)) + 1)

        def flow() -> None:
            for n in chunks(work.pairs, plan.flow_batch):
                network.flow_between(small[:, : n + 1])

        return flow
    if stage == "propagate":
        flow_fwd, flow_bwd = network.flow_between(_small_frames(engine, work.size, work.local))
        local = _features(engine, work.size, work.local)
        return lambda: network.propagate(local, flow_fwd, flow_bwd)
    count = work.local + work.references if stage == "transform" else max(chunks(work.decoded, plan.decode_batch))
    features = _features(engine, work.size, count)
    if stage == "transform":
        return lambda: network.transform(features)

    def decode() -> None:
        for n in chunks(work.decoded, plan.decode_batch):
            network.decode(features[:, :n])

    return decode


def _masked_frames(size: tuple[int, int], count: int, device: torch.device) -> Tensor:
    """(1, count, 3, H, W) in [-1, 1], holes 0."""
    made = []
    for rgb, hole in SyntheticClip(size, count).pictures():
        picture = torch.from_numpy(rgb).to(device).permute(2, 0, 1).float() / 127.5 - 1
        made.append(picture * (1 - torch.from_numpy(hole).to(device).float()))
    return torch.stack(made)[None]


def _small_frames(engine: Engine, size: tuple[int, int], count: int) -> Tensor:
    """(1, count, 3, h, w): what flow is estimated on. Shrunk one at a time, as whole clips of 4K frames are large."""
    made = []
    for rgb, hole in SyntheticClip(size, count).pictures():
        picture = torch.from_numpy(rgb).to(engine.device).permute(2, 0, 1).float() / 127.5 - 1
        masked = picture * (1 - torch.from_numpy(hole).to(engine.device).float())
        made.append(engine.network.shrink(masked[None, None])[0, 0])
    return torch.stack(made)[None]


def _features(engine: Engine, size: tuple[int, int], count: int) -> Tensor:
    """(1, count, c, h, w): one frame's features, over and over."""
    one = engine.network.encode(_masked_frames(size, 1, engine.device))
    return one.expand(-1, count, -1, -1, -1).contiguous()


def _graph_seconds(call: Callable[[], object], device: torch.device, seconds: float) -> tuple[float | None, str]:
    """(seconds of one replay, why there is none)."""
    if device.type != "cuda":
        return None, ""
    try:
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(2):
                call()
        torch.cuda.current_stream(device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            call()
    except torch.cuda.OutOfMemoryError:
        return None, "no memory left for a graph"
    except RuntimeError as error:
        synchronise(device)
        return None, f"no graph: {(str(error).strip() or type(error).__name__).splitlines()[0][:120]}"

    def replay() -> None:
        for _ in range(GRAPH_CALLS):
            graph.replay()

    return median_seconds(replay, device, seconds=seconds) / GRAPH_CALLS, ""
