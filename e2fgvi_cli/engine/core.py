"""The engine: windows of a shot in, predictions out, every feature and flow computed once.

Shape legend: T all frames of a window, l local frames, c channels, H W pixels of a crop, h w its feature grid.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._model import E2FGVIHQ, Checkpoint, DeformBackend, load_network
from ..errors import DeviceError
from ..fill.blending import Blender, Prediction, WeightedBlender
from ..planner import FEATURE_STRIDE, Plan, Planner, padded_size
from ..propagation.gpu.lookup import DeviceLookup, LookupKind
from ..propagation.query import Lookup
from ..types import Box, HoleArray, PixelArray, Window
from .batches import chunks, encode_batches
from .blending import DeviceBlender
from .devices import describe_device, use_compiled_attention
from .feature_store import FeatureStore
from .graphs import GraphCache, R
from .precision import Precision, convert, products

WITHOUT_LOOKUP = "image propagation runs on the CPU, which is slower: "
WITHOUT_FUSED_LOOKUP = "image propagation runs without fused kernels, which is slower: "
WITHOUT_ALIGNMENT = "image propagation aligns frames on the CPU, which is slower: "

FrameSource = Callable[[int], tuple[PixelArray, HoleArray]]
"""Gives frame i of a shot: `rgb` (H, W, 3) and its hole (H, W) in {0, 1}."""


@dataclass(frozen=True)
class EngineSettings:
    """How the network is run; what it computes stays the same up to rounding.

    kernels: the fused Triton kernels. graphs: whole windows as CUDA graphs. compile: torch.compile for encoder,
    transformer and decoder.
    lookup: how image propagation's pixels are looked up on the device, None: they are not.
    planner: how much at a time, and what to give up where memory is short.
    """

    precision: Precision = field(default_factory=Precision)
    kernels: bool = False
    graphs: bool = False
    compile: bool = False
    lookup: LookupKind | None = None
    planner: Planner = field(default_factory=Planner)


class Engine:
    """Fills windows of one shot. Features are computed once a frame and crop, flows once a neighbouring pair; `forget`
    bounds both.

    Call `start_shot` before the first window of each shot, `use_crops` before the first window with other crops. Not
    thread-safe. On an out-of-memory error the window is computed once more with a smaller plan, which then stays;
    `notices` says so.
    """

    def __init__(self, network: E2FGVIHQ, device: torch.device, settings: EngineSettings | None = None) -> None:
        self.settings = settings or EngineSettings()
        self.device = device
        self.network = prepare(network.to(device).eval(), device, self.settings)
        self.planner = self.settings.planner
        self.notices: list[str] = []
        self._stores: dict[Box, FeatureStore] = {}
        self._cold = device.type == "cuda"
        graphs = self.settings.graphs and device.type == "cuda"
        self._graphs = GraphCache(device, budget=self.planner.budget) if graphs else None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    @property
    def size_multiple(self) -> tuple[int, int]:
        """(height, width) of which the network computes multiples."""
        return self.network.config.size_multiple

    @property
    def max_pixels(self) -> int | None:
        """Pixels of a crop that memory has room for; None: any number."""
        return self.planner.max_pixels(self.size_multiple)

    def blender(self) -> Blender:
        """Where the predictions of a shot are merged: on the device that makes them."""
        return WeightedBlender() if self.device.type == "cpu" else DeviceBlender(self.device)

    def lookup(self) -> Lookup | None:
        """As `fill.stream.WindowEngine.lookup`."""
        kind = self.settings.lookup
        if kind is None:
            return None
        return DeviceLookup(self.device, self._without_lookup, fused=kind != "plain", aligns=kind == "aligned")

    def start_shot(self) -> None:
        """Forget everything: frames of another shot are numbered anew."""
        self._stores.clear()
        if self._cold and self.settings.lookup is not None:
            self._warm_up()
        self._cold = False

    def use_crops(self, crops: Iterable[Box]) -> None:
        """Forget what belongs to other crops than these."""
        kept = set(crops)
        self._stores = {box: store for box, store in self._stores.items() if box in kept}

    def forget(self, before: int, keep: Callable[[int], bool]) -> None:
        """Drop what belongs to frames below `before`, but keep the features of those for which `keep(i)` is true."""
        for store in self._stores.values():
            store.forget(before, keep)

    def fill(
        self, window: Window, frame: FrameSource, crop: Box, wanted: Sequence[tuple[int, Box]]
    ) -> list[tuple[int, Prediction[Any]]]:
        """Predictions for the `wanted` (local frame, box), computed on `crop`; boxes are the frame's and lie in the
        crop.

        Equal to the network's forward pass over the whole window. A prediction is valid until the next call.
        Raises `DeviceError` if the device has no room for it, also with a smaller plan.
        """
        try:
            return self._fill(window, frame, crop, wanted)
        except torch.cuda.OutOfMemoryError as error:
            smaller = self.planner.smaller(self._padded_size(crop))
            if smaller is None:
                raise self._no_room(crop) from error
        self._recover(smaller)
        try:
            return self._fill(window, frame, crop, wanted)
        except torch.cuda.OutOfMemoryError as error:
            raise self._no_room(crop) from error

    def fill_whole_window(
        self, window: Window, frame: FrameSource, crop: Box, wanted: Sequence[tuple[int, Box]]
    ) -> list[tuple[int, Prediction[Any]]]:
        """As `fill`, in the published program's way: one forward pass, every frame encoded and decoded, nothing
        kept."""
        try:
            with torch.inference_mode(), products(self.settings.precision, self.device):
                frames = self._masked(*self._upload([frame(i) for i in window.frames], crop))
                rgb = self.network(frames[None], len(window.local))[0]
                return self._predictions(rgb, window.local, crop, wanted)
        except torch.cuda.OutOfMemoryError as error:
            raise self._no_room(crop) from error

    def _warm_up(self) -> None:
        """Compute a small black window: what libraries load and compile for their first call is there when the first
        frames come, for which image propagation lets the engine wait."""
        height, width = (2 * side for side in self.size_multiple)
        box, local = (0, 0, height, width), tuple(range(self.planner.local))
        black = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
        graphs, self._graphs = self._graphs, None  # this size may never come
        try:
            self._fill(Window(0, local, (len(local),)), lambda _: black, box, [(i, box) for i in local])
        except torch.cuda.OutOfMemoryError:
            pass  # a window of the clip will know what to do
        finally:
            self._graphs = graphs
            self._stores.clear()

    def _fill(
        self, window: Window, frame: FrameSource, crop: Box, wanted: Sequence[tuple[int, Box]]
    ) -> list[tuple[int, Prediction[Any]]]:
        size = self._padded_size(crop)
        plan = self.planner.plan(size)
        window = replace(window, reference=nearest_references(window, plan.references))
        with torch.inference_mode(), products(self.settings.precision, self.device):
            self.network.limit_chunks(plan.max_keys, plan.max_tokens)
            store = self._stores.setdefault(crop, FeatureStore())
            self._encode(store, window.frames, frame, crop, plan)
            self._estimate_flow(store, window.local, plan)
            # One by one in their memory format, which stacking would not keep.
            features = torch.cat([store.features[i] for i in window.frames])[None]
            flows = [store.flows[i] for i in window.local[:-1]]
            empty = features.new_zeros(1, 0, 2, *features.shape[-2:], dtype=torch.float32)
            flow_fwd, flow_bwd = (torch.stack([f[k] for f in flows])[None] if flows else empty for k in (0, 1))
            if self._graphs is not None and flows and plan.graph:
                rgb = self._graphs.run(
                    self._forward,
                    features,
                    flow_fwd,
                    flow_bwd,
                    often=len(window.local) == self.planner.local,
                    on_refusal=self._without_graph,
                )
                return self._predictions(rgb[0], window.local, crop, wanted)
            inputs = [features]
            del features
            mixed = self._mix(inputs, flow_fwd, flow_bwd)
            frames = sorted({i for i, _ in wanted})
            decoded = {}
            for batch in chunks(frames, plan.decode_batch):
                positions = [window.local.index(i) for i in batch]
                rgb = self.network.decode(mixed[:, positions])[0]
                decoded.update(
                    {i: self._predictions(rgb, batch, crop, [w for w in wanted if w[0] == i]) for i in batch}
                )
            return [prediction for i in frames for prediction in decoded[i]]

    def _forward(self, features: Tensor, flow_fwd: Tensor, flow_bwd: Tensor) -> Tensor:
        """(1, T, c, h, w) and the flows (1, l-1, 2, h, w) -> RGB (1, l, 3, H, W)."""
        mixed = self._mix([features], flow_fwd, flow_bwd)
        height, width = (side * FEATURE_STRIDE for side in features.shape[-2:])
        batches = chunks(range(mixed.shape[1]), self.planner.plan((height, width)).decode_batch)
        return torch.cat([self.network.decode(mixed[:, batch[0] : batch[-1] + 1]) for batch in batches], dim=1)

    def _step(self, function: Callable[..., R], *tensors: Tensor, plan: Plan, often: bool) -> R:
        """`function(*tensors)`, as a graph where there are graphs and it comes `often`; the next call may overwrite
        what it returns."""
        if self._graphs is None or not plan.graph_steps or not often:
            return function(*tensors)
        return self._graphs.run(function, *tensors, often=True, on_refusal=self._without_graph)

    def _without_graph(self, reason: str) -> None:
        self._notice(f"a stage of one size runs without a CUDA graph, which is slower: {reason}")

    def _without_lookup(self, reason: str) -> None:
        self._notice(WITHOUT_LOOKUP + reason)

    def _notice(self, sentence: str) -> None:
        if sentence not in self.notices:
            self.notices.append(sentence)

    def _mix(self, inputs: list[Tensor], flow_fwd: Tensor, flow_bwd: Tensor) -> Tensor:
        """The local features of a window after propagation and transformer: (1, l, c, h, w).

        inputs: its features (1, T, c, h, w), alone in a list that is emptied: what is not needed any more gives its
        memory back.
        """
        features, count = inputs.pop(), flow_fwd.shape[1] + 1
        local = self.network.propagate(features[:, :count], flow_fwd, flow_bwd)
        # Four dimensions: cat keeps channels last for those only.
        together = torch.cat((local[0], features[0, count:]))[None]
        del features, local
        return self.network.transform(together)[:, :count]

    @property
    def _hop(self) -> int:
        """Frames that a window brings anew. Other numbers come at the ends of a shot only, and are not worth a
        graph."""
        return self.planner.local // 2

    def _encode(self, store: FeatureStore, indices: tuple[int, ...], frame: FrameSource, crop: Box, plan: Plan) -> None:
        missing = [i for i in indices if i not in store.features]
        usual = {len(batch) for batch in encode_batches(range(self._hop), plan.encode_batch, self.device)}
        for batch in encode_batches(missing, plan.encode_batch, self.device):
            rgb, hole = self._upload([frame(i) for i in batch], crop)
            if len(batch) == 1 and self.device.type == "cpu":
                # oneDNN has other kernels for a single picture, with other last bits. A part of a split clip encodes
                # together what another encodes alone, and must give the same.
                rgb, hole = (t.expand(2, *t.shape[1:]) for t in (rgb, hole))
            features, small = self._step(self._features, rgb, hole, plan=plan, often=len(batch) in usual)
            for position, i in enumerate(batch):
                # Copies: a view would keep the whole batch alive, and a graph overwrites its results.
                store.features[i] = features[position : position + 1].clone()
                store.small[i] = small[position].clone()

    def _features(self, rgb: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
        """Uploaded crops -> features (n, c, h, w) and the small pictures (n, 3, h, w) for flow."""
        frames = self._masked(rgb, hole)[None]
        features, small = self.network.encode(frames)[0], self.network.shrink(frames)[0]
        if self.device.type == "cuda":
            features = features.contiguous(memory_format=torch.channels_last)
        return features, small

    def _estimate_flow(self, store: FeatureStore, local: tuple[int, ...], plan: Plan) -> None:
        missing = [i for i in local[:-1] if i not in store.flows]
        usual = {len(batch) for batch in chunks(range(self._hop), plan.flow_batch)}
        for batch in chunks(missing, plan.flow_batch):
            # Consecutive: windows move forwards.
            small = torch.stack([store.small[i] for i in range(batch[0], batch[-1] + 2)])[None]
            flow_fwd, flow_bwd = self._step(self.network.flow_between, small, plan=plan, often=len(batch) in usual)
            for position, i in enumerate(batch):
                store.flows[i] = (flow_fwd[0, position].clone(), flow_bwd[0, position].clone())

    def _predictions(
        self, rgb: Tensor, frames: Sequence[int], crop: Box, wanted: Sequence[tuple[int, Box]]
    ) -> list[tuple[int, Prediction[Any]]]:
        """The `wanted` parts of decoded frames (n, 3, H, W) in [-1, 1]."""
        result: list[tuple[int, Prediction[Any]]] = []
        for i, box in wanted:
            top, left = box[0] - crop[0], box[1] - crop[1]
            inside = rgb[frames.index(i), :, top : top + box[2] - box[0], left : left + box[3] - box[1]]
            result.append((i, Prediction(box, _to_numpy(inside) if self.device.type == "cpu" else inside)))
        return result

    def _upload(self, frames: Sequence[tuple[PixelArray, HoleArray]], crop: Box) -> tuple[Tensor, Tensor]:
        """The crop of n frames: (n, y, x, 3) of uint8, or int32 for 16-bit pictures, and the holes (n, y, x)."""
        top, left, bottom, right = crop
        shape = (len(frames), bottom - top, right - left)
        pinned = self.device.type == "cuda"
        deep = any(array.dtype != np.uint8 for array, _ in frames)
        depth = torch.int32 if deep else torch.uint8
        rgb = torch.empty(*shape, 3, dtype=depth, pin_memory=pinned)
        hole = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
        for there, picture in ((rgb.numpy(), [f[0] for f in frames]), (hole.numpy(), [f[1] for f in frames])):
            for n, array in enumerate(picture):
                there[n] = array[top:bottom, left:right]
        if deep:  # an 8-bit picture among deeper ones
            for n, (array, _) in enumerate(frames):
                if array.dtype == np.uint8:
                    rgb[n] *= 257
        return rgb.to(self.device, non_blocking=pinned), hole.to(self.device, non_blocking=pinned)

    def _masked(self, rgb: Tensor, hole: Tensor) -> Tensor:
        """Uploaded crops as (n, 3, H, W) in [-1, 1], hole pixels 0, padded by mirroring to the network's multiples."""
        peak = 255 if rgb.dtype == torch.uint8 else 65535
        x = rgb.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        x = x.div_(peak).mul_(2).sub_(1).mul_(1 - hole[:, None].to(torch.float32))
        for dim, m in zip((2, 3), self.size_multiple, strict=True):
            size = -(-x.shape[dim] // m) * m
            if x.shape[dim] != size:
                x = x.index_select(dim, _symmetric_index(x.shape[dim], size, self.device))
        return x

    def _padded_size(self, crop: Box) -> tuple[int, int]:
        return padded_size((crop[2] - crop[0], crop[3] - crop[1]), self.size_multiple)

    def _recover(self, smaller: Planner) -> None:
        """Free everything that can be computed again, and go on with the smaller plan."""
        self.planner = smaller
        self._stores.clear()
        if self._graphs is not None:
            self._graphs.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.notices.append(
            f"{describe_device(self.device)} ran out of memory: the window was computed again with a smaller plan "
            f"({smaller.summary()})"
        )

    def _no_room(self, crop: Box) -> DeviceError:
        height, width = self._padded_size(crop)
        return DeviceError(
            f"{describe_device(self.device)} has no room for a window of {height}x{width} pixels: close other "
            "programs, lower --max-references or --max-memory, or use --size or --device cpu"
        )


def nearest_references(window: Window, limit: int | None) -> tuple[int, ...]:
    """At most `limit` of the window's references, those nearest to its local frames; None: all."""
    if limit is None or len(window.reference) <= limit:
        return window.reference
    low, high = window.local[0], window.local[-1]
    by_distance = sorted(window.reference, key=lambda i: (low - i if i < low else i - high, i))
    return tuple(sorted(by_distance[:limit]))


def prepare(network: E2FGVIHQ, device: torch.device, settings: EngineSettings) -> E2FGVIHQ:
    """Dtypes, memory formats and kernels, in place."""
    convert(network, settings.precision)
    # The decoder works at full size, where channels-last convolutions are faster, on a CPU and on a GPU.
    network.decoder.to(memory_format=torch.channels_last)
    if device.type == "cuda":
        network.feat_prop_module.to(memory_format=torch.channels_last)
        use_compiled_attention()
    if settings.kernels:
        from .._model import kernels

        network.use_kernels(kernels)
    if settings.compile:
        # The cached index tables are traced through on purpose; the user can do nothing about it.
        warnings.filterwarnings("ignore", message="Dynamo detected a call to a `functools.lru_cache`")
        for stage in (network.encoder, network.decoder, *network.transformer):
            # from the second number of frames on for any number: compiling takes longer than most clips
            stage.compile()
    return network


def build_engine(
    checkpoint: Checkpoint, device: torch.device, deform: DeformBackend, settings: EngineSettings | None = None
) -> Engine:
    """Weights and choices made into a working engine. Raises `DeviceError` if the device has no room for the
    network."""
    try:
        return Engine(load_network(checkpoint, deform=deform), device, settings)
    except torch.cuda.OutOfMemoryError as error:
        raise DeviceError(
            f"{describe_device(device)} has no room for the network: close other programs or use --device cpu"
        ) from error


def _symmetric_index(size: int, padded: int, device: torch.device) -> Tensor:
    """Positions that extend 0..size-1 to `padded` by mirroring, edge included, as often as needed (so from 1 pixel
    up)."""
    index = torch.arange(padded, device=device) % (2 * size)
    return torch.where(index < size, index, 2 * size - 1 - index)


def _to_numpy(rgb: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(3, y, x) in [-1, 1] -> (y, x, 3) in [0, 1]."""
    inside = (rgb.permute(1, 2, 0).float() + 1) / 2
    return np.ascontiguousarray(inside.cpu().numpy())
