"""A function of tensors as one CUDA graph a shape: one launch instead of a thousand.

A window is some 1,500 kernels of a few microseconds; launching them one by one from Python costs more than running
them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from .._model import tables_used
from ..threads.capturing import CAPTURING

Tensors = Tensor | tuple[Tensor, ...]
R = TypeVar("R", Tensor, tuple[Tensor, Tensor])
Key = tuple[object, ...]

WARMUP_CALLS = 1
"""cuDNN and cuBLAS choose their algorithms and allocate workspaces, these for each stream, in the first call; a capture
must not contain that."""

MOST_DIFFERENCE = 0.02
"""Between a captured and a plain call, relative: far above float16's rounding, far below what a missing operator
changes."""

WORTH_REPLAYS = 3
"""A capture takes as long as about three plain calls. A shape whose graphs were dropped twice before they were replayed
so often gets
no more: of a frame with more crops of different sizes than graphs are kept each would be captured anew for each
window."""


@lru_cache
def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all captures: each stream that ever multiplies matrices keeps a workspace."""
    return torch.cuda.Stream(device)


@dataclass
class _Graph:
    """tables: what the captured kernels read besides their inputs and the weights. replays: since it was captured."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    results: Tensors
    tables: list[object]
    replays: int = 0


class GraphCache:
    """Calls of functions as captured graphs, from the first call on or from the second with the same shapes.

    Results lie in memory that the next call of that function with these shapes overwrites. Of each function at most
    `capacity` graphs are kept, the least recently used is dropped; all share one memory pool, so calls must not
    overlap. A shape whose capture fails or computes something else, or was hardly used, runs without a graph.

    Functions are given with each call, known by their names and not kept: a method of the cache's owner would make a
    circle of references, which keeps all of an engine's memory on the device until Python's collector comes by.

    budget: bytes that torch may take of the device, None: all that are free.
    """

    def __init__(self, device: torch.device, capacity: int = 4, budget: int | None = None) -> None:
        self._device, self._capacity, self._budget = device, capacity, budget
        self._graphs: OrderedDict[Key, _Graph] = OrderedDict()
        self._seen: set[Key] = set()
        self._wasted: set[Key] = set()
        self._refused: set[Key] = set()
        self._pool: Any = None

    def run(
        self,
        function: Callable[..., R],
        *tensors: Tensor,
        often: bool = False,
        on_refusal: Callable[[str], None] = lambda _: None,
    ) -> R:
        """`function(*tensors)`: one or more tensors. often: these shapes will come again. on_refusal: is told why there
        is no graph."""
        key = (function.__name__, *((tuple(t.shape), t.stride(), t.dtype) for t in tensors))
        if key in self._graphs:
            self._graphs.move_to_end(key)
            known = self._graphs[key]
            for mine, given in zip(known.inputs, tensors, strict=True):
                mine.copy_(given, non_blocking=True)
            known.graph.replay()
            known.replays += 1
            return cast(R, known.results)
        if not (often or key in self._seen) or key in self._refused:
            # Shapes that come once (the ends of a shot) are not worth a capture.
            self._seen.add(key)
            return function(*tensors)
        try:
            return cast(R, self._capture(key, function, tensors))
        except RuntimeError as error:  # out of memory during a capture is no OutOfMemoryError but an invalid capture
            self._refused.add(key)
            on_refusal((str(error).strip() or type(error).__name__).splitlines()[0])
        return function(*tensors)

    def clear(self) -> None:
        """Drop every graph and the memory it holds."""
        self._graphs.clear()
        self._seen.clear()
        self._wasted.clear()
        self._refused.clear()
        self._pool = None

    def _capture(self, key: Key, function: Callable[..., Tensors], tensors: tuple[Tensor, ...]) -> Tensors:
        """Capture a graph and keep it; what it gives for `tensors`."""
        same = [known for known in self._graphs if known[0] == key[0]]
        for oldest in same[: max(0, len(same) - self._capacity + 1)]:
            if self._graphs.pop(oldest).replays < WORTH_REPLAYS:
                (self._refused if oldest in self._wasted else self._wasted).add(oldest)
        with torch.cuda.device(self._device):
            known = self._graphs[key] = self._captured(function, tensors)
        return known.results

    def _is_room(self) -> bool:
        """Whether a capture finds memory while torch keeps what it has: it needs no more than was ever needed, but
        cannot use that again."""
        kept, (free, _) = torch.cuda.memory_reserved(self._device), torch.cuda.mem_get_info(self._device)
        return kept <= (free if self._budget is None else min(free, self._budget - kept))

    def _captured(self, function: Callable[..., Tensors], tensors: tuple[Tensor, ...]) -> _Graph:
        inputs = tuple(t.clone() for t in tensors)
        side = _capture_stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(WARMUP_CALLS):
                expected = function(*inputs)
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        # thread_local: a capture must not fail for what other threads ask of CUDA meanwhile: the one that fetches
        # finished frames, or another device's engine, which allocates.
        with tables_used() as tables, CAPTURING, torch.cuda.stream(side):
            # What `torch.cuda.graph` does; but that first waits for the device and gives back all memory that is not in
            # use, on the host too, where there is no need for it. Getting that anew takes longer than the capture.
            if not self._is_room():
                torch.cuda.empty_cache()
            graph.capture_begin(self._pool, capture_error_mode="thread_local")
            try:
                results = function(*inputs)
            finally:
                graph.capture_end()
        graph.replay()
        # An operator that launches on the legacy stream, as torchvision's deformable convolution does, is left out of
        # the capture without a word, and the result is wrong. So a graph is believed only after it has given the same
        # once.
        for result, plain in zip(_tuple(results), _tuple(expected), strict=True):
            error = float((result.float() - plain.float()).norm() / plain.float().norm().clamp_min(1e-12))
            if not error < MOST_DIFFERENCE:
                raise RuntimeError(f"the captured graph computes something else (relative difference {error:.2g})")
        return _Graph(graph, inputs, results, tables)


def _tuple(results: Tensors) -> tuple[Tensor, ...]:
    return (results,) if isinstance(results, Tensor) else results
