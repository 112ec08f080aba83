"""Gauges of memory: what torch has allocated on a GPU, tensors counted on any device, and the peak of each stage of a
network."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from e2fgvi_cli._model import E2FGVIHQ


class Gauge(Protocol):
    """Counts bytes in use. `reset` lets the peak start again from what is in use now."""

    def peak(self) -> int: ...

    def reset(self) -> None: ...


class CudaGauge:
    """What torch has allocated on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def peak(self) -> int:
        return int(torch.cuda.max_memory_allocated(self._device))

    def reset(self) -> None:
        torch.cuda.reset_peak_memory_stats(self._device)


class TensorCount(TorchDispatchMode):
    """The storages of all tensors that operators return while it is active.

    Composite operators are taken apart, so that what they make in between counts, but for those whose parts depend on
    the device.
    """

    WHOLE = ("upsample", "scaled_dot_product_attention")

    def __init__(self) -> None:
        super().__init__()
        self._alive: dict[int, weakref.ref[Any]] = {}
        self._used = self._peak = 0

    def peak(self) -> int:
        return self._peak

    def reset(self) -> None:
        self._peak = self._used

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors, each storage once."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key not in self._alive:
                self._alive[key] = weakref.ref(storage, partial(self._remove, key, size))
                self._used += size
        self._peak = max(self._peak, self._used)

    def _remove(self, key: int, size: int, _: object) -> None:
        del self._alive[key]
        self._used -= size

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if not any(name in str(func) for name in self.WHOLE):
            with self:
                parts = func.decompose(*args, **given)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **given)
        self.add(x for x in tree_leaves(result) if isinstance(x, Tensor))
        return result


class StagePeaks:
    """The largest peak of each stage of a network. A stage inside another counts for both."""

    def __init__(self, gauge: Gauge) -> None:
        self.peaks: dict[str, int] = {}
        self._gauge = gauge
        self._running: list[str] = []

    @contextmanager
    def watch(self, network: E2FGVIHQ) -> Iterator[None]:
        """Record the network's stages, and everything together as "window"."""
        stages: list[tuple[str, nn.Module]] = [
            ("encoder", network.encoder),
            ("flow", network.update_spynet),
            ("propagation", network.feat_prop_module),
            *(("attention", block.get_submodule("attn")) for block in network.transformer),
            *(("feed-forward", block.get_submodule("mlp")) for block in network.transformer),
            ("composition", network.sc),
            ("decoder", network.decoder),
        ]
        handles = []
        for name, module in stages:
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: self._enter(name)))
            handles.append(module.register_forward_hook(lambda *_: self._leave()))
        self._enter("window")
        try:
            yield
        finally:
            self._leave()
            for handle in handles:
                handle.remove()

    def _enter(self, name: str) -> None:
        self._note()
        self._running.append(name)

    def _leave(self) -> None:
        self._note()
        self._running.pop()

    def _note(self) -> None:
        peak = self._gauge.peak()
        for name in self._running:
            self.peaks[name] = max(self.peaks.get(name, 0), peak)
        self._gauge.reset()
