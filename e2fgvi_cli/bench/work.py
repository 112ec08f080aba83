"""What a clip asks of the network: its windows, and the arithmetic and memory traffic of each. Counted, not measured.

Windows and crops come from the stream itself, run with an engine that only takes notes. Arithmetic is counted by
torch's FLOP counter on tensors without data (the meta device), so it is that of the network, whichever kernels run it:
matrix products and convolutions, a multiplication and an addition being two. Traffic is what every operator reads and
writes, attention and deformable convolution counted as one operator each; views are free. Fused kernels need less, and
a cache may hide some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from .._model import E2FGVIHQ, ENCODER_STRIDE, DeformBackend, E2FGVIConfig
from ..engine.core import nearest_references
from ..engine.precision import Precision, convert
from ..fill.blending import Blender, Prediction
from ..fill.stream import Wanted
from ..planner import Planner, padded_size
from ..types import Box, HoleArray, PixelArray, Window
from .results import Cost, WindowWork

STAGES = ("encode", "flow", "propagate", "transform", "decode")


@dataclass
class ClipWork:
    """The windows of a clip, each with how often it came."""

    windows: Counter[WindowWork] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """Windows, those of several crops counted a crop."""
        return sum(self.windows.values())

    def typical(self) -> WindowWork | None:
        """The window on which most pixels are computed, over all its repetitions; None where there was nothing to
        fill."""
        return max(
            self.windows,
            key=lambda w: self.windows[w] * prod(w.size) * (w.local + w.references),
            default=None,
        )

    def sizes(self) -> set[tuple[int, int]]:
        """Padded sizes of the crops."""
        return {w.size for w in self.windows}

    def cost(self, config: E2FGVIConfig, precision: Precision) -> Cost:
        """Of all windows."""
        return sum(
            (sum(window_cost(config, precision, w).values(), Cost()) * times for w, times in self.windows.items()),
            Cost(),
        )


class NotingEngine:
    """A `fill.stream.WindowEngine` that computes nothing: feed it to `fill_shot`, then look at `work`."""

    def __init__(self, size_multiple: tuple[int, int], planner: Planner) -> None:
        self.work = ClipWork()
        self.size_multiple, self._planner = size_multiple, planner
        self._encoded: dict[Box, set[int]] = {}
        self._pairs: dict[Box, set[int]] = {}

    @property
    def max_pixels(self) -> int | None:
        """As the planner has it."""
        return self._planner.max_pixels(self.size_multiple)

    def blender(self) -> Blender:
        """One that merges nothing."""
        return _NoBlender()

    def lookup(self) -> None:
        """Lookups are not the network's work."""

    def start_shot(self) -> None:
        """Nothing is known of the next shot's frames."""
        self._encoded.clear()
        self._pairs.clear()

    def use_crops(self, crops: Iterable[Box]) -> None:
        """What was computed for other crops is lost."""
        kept = set(crops)
        for known in (self._encoded, self._pairs):
            for box in [box for box in known if box not in kept]:
                del known[box]

    def forget(self, before: int, keep: Callable[[int], bool]) -> None:
        """As `Engine.forget`."""
        for box, indices in self._encoded.items():
            self._encoded[box] = {i for i in indices if i >= before or keep(i)}
        for box, indices in self._pairs.items():
            self._pairs[box] = {i for i in indices if i >= before}

    def fill(
        self, window: Window, frame: Callable[[int], tuple[PixelArray, HoleArray]], crop: Box, wanted: Wanted
    ) -> list[tuple[int, Prediction[Any]]]:
        """Note what `Engine.fill` would compute."""
        size = self._padded(crop)
        window = replace(window, reference=nearest_references(window, self._planner.plan(size).references))
        encoded, pairs = self._encoded.setdefault(crop, set()), self._pairs.setdefault(crop, set())
        new, new_pairs = set(window.frames) - encoded, set(window.local[:-1]) - pairs
        encoded |= new
        pairs |= new_pairs
        decoded = len({i for i, _ in wanted})
        self._note(window, size, len(new), len(new_pairs), decoded)
        return [(i, Prediction(box, box)) for i, box in wanted]

    def fill_whole_window(
        self, window: Window, frame: Callable[[int], tuple[PixelArray, HoleArray]], crop: Box, wanted: Wanted
    ) -> list[tuple[int, Prediction[Any]]]:
        """Note what `Engine.fill_whole_window` would compute."""
        frames = len(window.frames)
        self._note(window, self._padded(crop), frames, len(window.local) - 1, frames)
        return [(i, Prediction(box, box)) for i, box in wanted]

    def _note(self, window: Window, size: tuple[int, int], encoded: int, pairs: int, decoded: int) -> None:
        self.work.windows[WindowWork(size, len(window.local), len(window.reference), encoded, pairs, decoded)] += 1

    def _padded(self, crop: Box) -> tuple[int, int]:
        return padded_size((crop[2] - crop[0], crop[3] - crop[1]), self.size_multiple)


class _NoBlender:
    def to_numpy(self, rgb: Any) -> NDArray[np.float32]:
        """Black, of the prediction's size."""
        top, left, bottom, right = rgb
        return np.zeros((bottom - top, right - left, 3), np.float32)

    def add(
        self, index: int, box: Box, prediction: Prediction[Any], weight: float, ramp: NDArray[np.float32] | None = None
    ) -> None:
        """Nothing."""

    def finish(self, index: int, dtype: np.dtype[Any]) -> Callable[[], PixelArray]:
        """Pixels that nobody asks for."""
        return lambda: np.zeros((0, 0, 3), dtype)


def window_cost(config: E2FGVIConfig, precision: Precision, work: WindowWork) -> dict[str, Cost]:
    """The cost of a window, stage by stage, in the order of `STAGES`."""
    return {
        "encode": _stage_cost(config, precision, work.size, "encode", 1) * work.encoded,
        "flow": _stage_cost(config, precision, work.size, "flow", 1) * work.pairs,
        "propagate": _stage_cost(config, precision, work.size, "propagate", work.local),
        "transform": _stage_cost(config, precision, work.size, "transform", work.local + work.references),
        "decode": _stage_cost(config, precision, work.size, "decode", 1) * work.decoded,
    }


@lru_cache(maxsize=256)
def _stage_cost(config: E2FGVIConfig, precision: Precision, size: tuple[int, int], stage: str, frames: int) -> Cost:
    """One call of a stage with so many frames (flow: pairs) of `size`."""
    meter = _Meter()
    network, c = _meta_network(config, precision, meter), config.channels
    h, w = size[0] // ENCODER_STRIDE, size[1] // ENCODER_STRIDE

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(1, *shape, dtype=dtype, device="meta")

    features = empty(frames, c, h, w, dtype=precision.dtype)
    flow = empty(max(frames - 1, 0), 2, h, w)
    calls: dict[str, Callable[[], Any]] = {
        "encode": lambda: (network.encode(empty(frames, 3, *size)), network.shrink(empty(frames, 3, *size))),
        "flow": lambda: network.flow_between(empty(frames + 1, 3, h, w)),
        "propagate": lambda: network.propagate(features, flow, flow),
        "transform": lambda: network.transform(features),
        "decode": lambda: network.decode(features),
    }
    with torch.no_grad():
        calls[stage]()  # makes the tables that are kept for a size
    meter.flops = meter.bytes = 0.0
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter, _Traffic(meter), _FusedAttention(meter):
        calls[stage]()
    return Cost(counter.get_total_flops() + meter.flops, meter.bytes)


def _meta_network(config: E2FGVIConfig, precision: Precision, meter: _Meter) -> E2FGVIHQ:
    deform = DeformBackend("counted", meter.deform, True, "")
    with torch.device("meta"):
        return convert(E2FGVIHQ(config, deform=deform).eval(), precision)


@dataclass
class _Meter:
    """Counts what the FLOP counter does not see, and all bytes."""

    flops: float = 0.0
    bytes: float = 0.0

    def move(self, tensors: Iterable[Tensor]) -> None:
        self.bytes += sum(t.numel() * t.element_size() for t in tensors)

    def deform(
        self,
        x: Tensor,
        offset: Tensor,
        modulation: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
    ) -> Tensor:
        """A `model.deform.DeformConv` that returns nothing but a shape: a convolution's products (sampling not
        counted)."""
        out = x.new_empty(x.shape[0], weight.shape[0], *offset.shape[-2:])
        self.flops += 2.0 * out.numel() * prod(weight.shape[1:])
        self.move((x, offset, modulation, weight, out))
        return out


class _Traffic(TorchDispatchMode):
    def __init__(self, meter: _Meter) -> None:
        super().__init__()
        self._meter = meter

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        makes_nothing = func.overloadpacket in (torch.ops.aten.empty, torch.ops.aten.new_empty)
        if not is_view and not makes_nothing:
            self._meter.move(t for t in tree_leaves((args, kwargs, result)) if isinstance(t, Tensor))
        return result


class _FusedAttention(TorchFunctionMode):
    """scaled_dot_product_attention as one operator: on the meta device it would write its scores."""

    def __init__(self, meter: _Meter) -> None:
        super().__init__()
        self._meter = meter

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key, value = args[:3]
        out = torch.empty(*query.shape[:-1], value.shape[-1], dtype=query.dtype, device=query.device)
        pairs = prod(query.shape[:-1]) * key.shape[-2]
        self._meter.flops += 2.0 * pairs * (query.shape[-1] + value.shape[-1])
        self._meter.move((query, key, value, out))
        return out
