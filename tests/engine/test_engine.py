"""The engine against the network's own forward pass: staging, stores, crops, merging, out-of-memory. CPU, random
weights."""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from e2fgvi_cli._model.config import E2FGVIConfig
from e2fgvi_cli._model.deform import select_backend
from e2fgvi_cli._model.network import E2FGVIHQ

from e2fgvi_cli.engine import Engine, EngineSettings, Precision, choose_precision
from e2fgvi_cli.engine.batches import encode_batches
from e2fgvi_cli.engine.blending import DeviceBlender
from e2fgvi_cli.engine.core import nearest_references
from e2fgvi_cli.engine.graphs import GraphCache
from e2fgvi_cli.errors import DeviceError
from e2fgvi_cli.fill.blending import WeightedBlender
from e2fgvi_cli.fill.crops import CropOptions
from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.fill.stream import fill_shot
from e2fgvi_cli.fill.windows import plan_window
from e2fgvi_cli.frames.stages import FinishedFrame, HoledFrame
from e2fgvi_cli.planner import Planner
from e2fgvi_cli.types import Frame, Window

CPU = torch.device("cpu")
WHOLE = WindowOptions(2, 3, 2, crops=CropOptions(enabled=False))


SMALL = E2FGVIConfig(backward_flow_order="aligned", deform_groups=4, embed_dim=64, num_blocks=1, mlp_dim=2 * 7 * 7)
"""Every part of the network, tokens narrow: what the engine keeps, cuts out and merges does not ask how wide."""


def network(dtype: torch.dtype = torch.float32, config: E2FGVIConfig = SMALL) -> E2FGVIHQ:
    torch.manual_seed(0)
    made = E2FGVIHQ(config, deform=select_backend("torch"))
    for align in made.feat_prop_module.deform_align.values():
        torch.nn.init.normal_(align.get_parameter("conv_offset.6.weight"), std=0.02)
    return made.to(dtype)


def clip(
    count: int, size: tuple[int, int] = (60, 108), hole: tuple[int, int, int, int] = (20, 40, 40, 70)
) -> list[HoledFrame]:
    rng = np.random.default_rng(3)
    top, left, bottom, right = hole
    items = []
    for i in range(count):
        rgb = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        mask = np.zeros(size, np.uint8)
        mask[top:bottom, left + i % 3 : right + i % 3] = 1
        items.append(HoledFrame.of(Frame(i, rgb, Fraction(i, 25)), mask, mask.astype(np.float32)))
    return items


def pixels(items: list[HoledFrame]) -> Any:
    return lambda i: (items[i].frame.rgb, items[i].hole)


def monolithic(net: E2FGVIHQ, items: list[HoledFrame], window: Window) -> torch.Tensor:
    """(l, 3, H, W): the forward pass over the whole window, nothing reused."""
    frames = []
    for i in window.frames:
        x = torch.from_numpy(items[i].frame.rgb).permute(2, 0, 1).double() / 255 * 2 - 1
        frames.append((x * (1 - torch.from_numpy(items[i].hole).double())).float())
    with torch.inference_mode():
        return net(torch.stack(frames)[None].to(next(net.parameters()).dtype), len(window.local))[
            0, : len(window.local)
        ]


def test_an_engine_warms_up_once_and_keeps_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Engine(network(), CPU, EngineSettings(lookup="fused", planner=Planner(local=3)))
    made._cold = True  # as on a GPU
    computed = []
    monkeypatch.setattr(made, "_mix", lambda *given: computed.append(1) or Engine._mix(made, *given))
    made.start_shot()
    made.start_shot()
    assert (computed, made._stores, made._cold) == ([1], {}, False)


@pytest.mark.slow
def test_windows_from_stores_are_the_forward_pass() -> None:
    """In float64, where a difference could only be a mistake: features, flows and decoded frames that are kept and
    reused."""
    items, net = clip(5), network(torch.float64)
    exact = Precision("fp64", torch.float64)
    # A batch of two: the forward pass encodes all at once.
    engine = Engine(network(torch.float64), CPU, EngineSettings(exact, planner=Planner()))
    engine.start_shot()
    box = (0, 0, 60, 108)
    for center in (0, 2, 4):
        window = plan_window(center, 0, 4, neighbor_stride=2, reference_stride=3, max_references=2)
        expected = monolithic(net, items, window)
        got = engine.fill(window, pixels(items), box, [(i, (20, 40, 40, 73)) for i in window.local])
        assert [i for i, _ in got] == list(window.local)
        for (_, prediction), rgb in zip(got, expected, strict=True):
            inside = ((rgb[:, 20:40, 40:73].permute(1, 2, 0) + 1) / 2).numpy()
            # Predictions are float32, their source was not.
            assert np.abs(prediction.rgb - inside).max() < 1e-6
        engine.forget(center, lambda i: i % 3 == 0)


def test_frames_of_8_and_16_bits_in_one_window_are_one_picture() -> None:
    """Whatever the first one has: 8-bit levels are not taken for 16-bit ones, nor these cut to 8."""
    items, box = clip(4), (0, 0, 60, 108)
    deep = [replace(item, frame=replace(item.frame, rgb=item.frame.rgb.astype(np.uint16) * 257)) for item in items]
    found = []
    for mixed in (deep, [items[0], *deep[1:]], [*deep[:3], items[3]]):
        engine = Engine(network(), CPU)
        engine.fill(Window(0, (0, 1, 2, 3), ()), pixels(mixed), box, [(0, items[0].box or box)])
        found.append(torch.cat([engine._stores[box].features[i] for i in range(4)]))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_what_is_encoded_together_changes_no_bit() -> None:
    """Parts of a split clip encode other frames together than the whole does. One alone was different with AVX2, by
    1e-7."""
    items = clip(4)
    box = (0, 0, 60, 108)
    features = []
    for local in ((0,), (0, 1), (0, 1, 2, 3)):
        engine = Engine(network(), CPU)
        engine.fill(Window(0, local, ()), pixels(items), box, [(0, items[0].box or box)])
        features.append(engine._stores[box].features[0])
    assert torch.equal(features[0], features[2])
    assert torch.equal(features[1], features[2])


def test_stores_forget_what_no_later_window_needs() -> None:
    items, engine = clip(12), Engine(network(), CPU)
    engine.start_shot()
    window = plan_window(4, 0, 11, neighbor_stride=2, reference_stride=3, max_references=2)
    box = (0, 0, 60, 108)
    engine.fill(window, pixels(items), box, [(4, (20, 40, 40, 70))])
    store = engine._stores[box]
    assert set(store.features) == set(window.frames)
    assert set(store.flows) == set(window.local[:-1])
    engine.forget(5, lambda i: i == 3)
    assert set(store.features) == {i for i in window.frames if i >= 5 or i == 3}
    assert set(store.flows) == {5}
    engine.use_crops([(0, 0, 60, 54)])
    assert engine._stores == {}


def fill(items: list[HoledFrame], engine: Engine, options: WindowOptions) -> list[np.ndarray]:
    return [f.rgb for f in fill_shot(iter(items), engine, options)]


def test_crops_change_nothing_outside_the_hole_and_everything_inside() -> None:
    items = clip(7, (120, 324), (30, 200, 50, 230))
    engine = Engine(network(), CPU)
    seen: list[tuple[int, ...]] = []
    original = engine.network.encode
    engine.network.encode = lambda frames: (seen.append(tuple(frames.shape[-2:])), original(frames))[1]  # type: ignore[method-assign]
    cropped = fill(items, engine, WindowOptions(2, 3, 2, crops=CropOptions(margin=8, overhead=0)))
    assert set(seen) == {(60, 108)}
    for item, rgb in zip(items, cropped, strict=True):
        outside = item.hole == 0
        assert np.array_equal(rgb[outside], item.frame.rgb[outside])
        assert (rgb[~outside] != item.frame.rgb[~outside]).mean() > 0.5


def test_a_crop_is_the_picture_cut_out() -> None:
    """Filling a crop is filling a clip that consists of nothing else."""
    items = clip(5, (120, 216), (80, 150, 100, 180))
    crop = (60, 108, 120, 216)
    small = clip(5, (60, 108), (20, 42, 40, 72))
    for whole, part in zip(items, small, strict=True):
        part.frame.rgb[:] = whole.frame.rgb[60:, 108:]
        part.hole[:] = whole.hole[60:, 108:]
    engine = Engine(network(), CPU)
    window = plan_window(2, 0, 4, neighbor_stride=2, reference_stride=3, max_references=2)
    one = engine.fill(window, pixels(items), crop, [(2, (80, 150, 100, 182))])[0][1].rgb
    engine.start_shot()
    other = engine.fill(window, pixels(small), (0, 0, 60, 108), [(2, (20, 42, 40, 74))])[0][1].rgb
    assert np.array_equal(one, other)


@pytest.mark.parametrize("count", [1, 2])
def test_the_shortest_clips(count: int) -> None:
    items = clip(count)
    for item, rgb in zip(items, fill(items, Engine(network(), CPU), WHOLE), strict=True):
        assert (rgb[item.hole == 1] != item.frame.rgb[item.hole == 1]).mean() > 0.5


def test_tiles_cover_a_hole_that_is_too_large_for_memory() -> None:
    items = clip(3, (120, 324), (10, 20, 110, 300))
    options = WindowOptions(2, 3, 2, crops=CropOptions(enabled=False, max_pixels=120 * 216))
    for item, rgb in zip(items, fill(items, Engine(network(), CPU), options), strict=True):
        assert (rgb[item.hole == 1] != item.frame.rgb[item.hole == 1]).mean() > 0.5
        assert np.array_equal(rgb[item.hole == 0], item.frame.rgb[item.hole == 0])


class Fails:
    """Raises torch's out-of-memory error the first `times` calls."""

    def __init__(self, function: Any, times: int) -> None:
        self.function, self.left = function, times

    def __call__(self, *args: Any) -> Any:
        if self.left:
            self.left -= 1
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return self.function(*args)


class Halving(Planner):
    """These windows are too small for smaller steps to help, so the next plan is any with half the budget."""

    def smaller(self, size: tuple[int, int] | None = None) -> Planner | None:
        assert size == (60, 108)
        assert self.budget is not None
        return replace(self, budget=self.budget // 2, lean=True)


BUDGET = Halving(budget=8 << 30, local=5, references=2)


def test_out_of_memory_is_tried_once_more_with_a_smaller_plan() -> None:
    items = clip(7)
    expected = fill(items, Engine(network(), CPU, EngineSettings(planner=BUDGET)), WHOLE)
    engine = Engine(network(), CPU, EngineSettings(planner=BUDGET))
    engine.network.transform = Fails(engine.network.transform, 1)  # type: ignore[method-assign]
    finished: list[FinishedFrame] = list(fill_shot(iter(items), engine, WHOLE))
    assert len(finished) == 7
    assert engine.planner.budget is not None
    assert engine.planner.budget < 8 << 30
    assert len(engine.notices) == 1
    assert "ran out of memory" in engine.notices[0]
    # This clip fits the smaller plan as well, so nothing else changed.
    assert all(np.array_equal(f.rgb, e) for f, e in zip(finished, expected, strict=True))


def test_out_of_memory_twice_ends_with_a_sentence() -> None:
    engine = Engine(network(), CPU, EngineSettings(planner=BUDGET))
    engine.network.transform = Fails(engine.network.transform, 2)  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match=r"no room for a window of 60x108 pixels: .*--max-memory"):
        fill(clip(7), engine, WHOLE)


def test_an_engine_gives_its_memory_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when Python's collector comes by: a second clip would not fit beside the first one's."""

    def refused(*_: object) -> None:
        raise RuntimeError("no GPU")

    monkeypatch.setattr(GraphCache, "_capture", refused)
    engine = Engine(network(), CPU, EngineSettings(planner=Planner(graphs=True)))
    engine._graphs = GraphCache(CPU)  # as on a GPU
    list(fill_shot(clip(13), engine, WHOLE))
    assert engine._graphs._refused
    assert engine.notices == ["a stage of one size runs without a CUDA graph, which is slower: no GPU"]
    alive = weakref.ref(engine)
    del engine
    assert alive() is None


class OverwritingGraphs(GraphCache):
    """Keeps results where a graph does: in memory that the next call with the same shapes writes."""

    def __init__(self) -> None:
        super().__init__(CPU)
        self.calls: Counter[str] = Counter()
        self._results: dict[object, tuple[torch.Tensor, ...]] = {}

    def run(self, function: Any, *tensors: torch.Tensor, often: bool = False, on_refusal: object = None) -> Any:
        self.calls[function.__name__] += 1
        made = function(*tensors)
        several = (made,) if isinstance(made, torch.Tensor) else made
        key = (function.__name__, *(t.shape for t in tensors))
        kept = self._results.setdefault(key, tuple(torch.empty_like(t) for t in several))
        for there, result in zip(kept, several, strict=True):
            there.copy_(result)
        return kept[0] if isinstance(made, torch.Tensor) else kept


def test_nothing_is_kept_where_a_graph_writes_again() -> None:
    plain = fill(clip(13), Engine(network(), CPU), WHOLE)
    engine = Engine(network(), CPU, EngineSettings(planner=Planner(graphs=True, local=5, references=2)))
    graphs = engine._graphs = OverwritingGraphs()
    filled = fill(clip(13), engine, WHOLE)
    assert all(np.array_equal(a, b) for a, b in zip(plain, filled, strict=True))
    # Seven windows; 12 pairs by twos, and 10 of 13 frames. Single frames, which are left over at times, are not worth a
    # graph.
    assert graphs.calls["_forward"] == 7
    assert graphs.calls["_features"] == 5
    assert graphs.calls["flow_between"] == 6


def test_a_captured_window_decodes_as_many_frames_at_a_time_as_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fill(clip(13), Engine(network(), CPU), WHOLE)
    engine = Engine(network(), CPU, EngineSettings(planner=Planner(graphs=True, local=5, references=2)))
    engine._graphs = OverwritingGraphs()
    whole, sizes = Planner.plan, Counter[int]()
    monkeypatch.setattr(Planner, "plan", lambda *asked: replace(whole(*asked), decode_batch=2))
    decode = engine.network.decode
    monkeypatch.setattr(engine.network, "decode", lambda x: (sizes.update([x.shape[1]]), decode(x))[1])
    filled = fill(clip(13), engine, WHOLE)
    assert sizes == {2: 12, 1: 7}, "five windows of five frames, three frames at both ends"
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(plain, filled, strict=True))


def test_a_gpu_never_encodes_three_frames_at_once() -> None:
    gpu = torch.device("cuda")
    assert [list(some) for some in encode_batches(range(7), 4, gpu)] == [[0, 1, 2, 3], [4, 5], [6]]
    assert [list(some) for some in encode_batches(range(3), None, gpu)] == [[0, 1], [2]]
    assert [list(some) for some in encode_batches(range(7), 4, CPU)] == [[0, 1, 2, 3], [4, 5, 6]]


def test_fewer_references_are_the_nearest() -> None:
    window = Window(10, tuple(range(8, 13)), (0, 3, 15, 21))
    assert nearest_references(window, 2) == (3, 15)
    assert nearest_references(window, None) == (0, 3, 15, 21)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_device_merges_as_the_host_does(dtype: type) -> None:
    rng, box = np.random.default_rng(0), (1, 2, 9, 12)
    host, device = WeightedBlender(), DeviceBlender(torch.device("cpu"))
    from e2fgvi_cli.fill.blending import Prediction

    for part, weight, ramp in (
        (box, 1.0, None),
        (box, 0.4, None),
        ((1, 2, 5, 7), 0.7, rng.random((4, 5), np.float32)),
        ((3, 4, 9, 12), 0.2, None),
    ):
        rgb = torch.rand(3, part[2] - part[0], part[3] - part[1]) * 2 - 1
        device.add(0, box, Prediction(part, rgb), weight, ramp)
        host.add(0, box, Prediction(part, device.to_numpy(rgb)), weight, ramp)
    one, other = host.finish(0, np.dtype(dtype))(), device.finish(0, np.dtype(dtype))()
    assert one.dtype == other.dtype == dtype
    assert np.abs(one.astype(int) - other.astype(int)).max() <= 1
    assert (one != other).mean() < 0.01


@pytest.mark.parametrize(("multiplies", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_a_cpu_takes_bf16_only_where_it_multiplies_it(
    multiplies: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32 elsewhere: without such instructions bf16 is slower. What is asked for is taken anywhere."""
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: multiplies, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert choose_precision("auto", CPU).name == chosen
    assert choose_precision("auto", CPU, bit_depth=10).name == "fp32", "its steps are half a level of 8 bits"
    assert choose_precision("fp32", CPU).name == "fp32"
    assert choose_precision("bf16", CPU).name == "bf16"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert choose_precision("auto", CPU).name == "fp32", "it has the instructions, and may not use them"


def test_a_torch_that_does_not_say_is_not_believed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert choose_precision("auto", CPU).name == "fp32"


def test_half_precision_is_near(tmp_path: Any) -> None:
    """bf16, which a CPU can do: the policy is applied (flow stays float32) and the result stays close."""
    items = clip(2)
    engine = Engine(network(), CPU, EngineSettings(Precision("bf16", torch.bfloat16, True, True)))
    assert next(engine.network.update_spynet.parameters()).dtype == torch.float32
    assert next(engine.network.transformer.parameters()).dtype == torch.bfloat16
    exact, rough = fill(items, Engine(network(), CPU), WHOLE), fill(items, engine, WHOLE)
    inside = np.stack([item.hole for item in items]) == 1
    error = (np.stack(exact).astype(float) - np.stack(rough))[inside]
    assert 0 < np.sqrt((error**2).mean()) < 3
