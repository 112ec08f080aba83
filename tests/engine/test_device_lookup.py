"""Lookups of image propagation on a device: they give what OpenCV gives. Run on the CPU by the same code, and on a GPU
where there is one."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from e2fgvi_cli.engine import EngineSettings
from e2fgvi_cli.engine.core import Engine
from e2fgvi_cli.frames.stages import HoledFrame
from e2fgvi_cli.propagation.gpu import held_frames
from e2fgvi_cli.propagation.gpu import lookup as device_lookup
from e2fgvi_cli.propagation.gpu.lookup import DeviceLookup, choose_lookup, lookup_bytes, lookup_fails
from e2fgvi_cli.propagation.lookup import look_up
from e2fgvi_cli.propagation.options import PropagationOptions
from e2fgvi_cli.propagation.propagate import propagate
from e2fgvi_cli.propagation.query import COARSE_PIXELS, Answer, Lookup, Query
from e2fgvi_cli.types import Frame
from measurements.gauges import TensorCount
from measurements.lookup import measure_lookups, questions
from tests.engine.test_engine import network
from tests.factories import clip, holes, texture

SIZE = (96, 128)
CPU = torch.device("cpu")
GPU, FUSED = (
    pytest.param(
        torch.device("cuda"),
        fused,
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
    )
    for fused in (False, True)
)
OPTIONS = PropagationOptions()


def items_of(pictures: NDArray[np.generic], masks: NDArray[np.uint8]) -> list[HoledFrame]:
    """With the holes' pixels black."""
    return [
        HoledFrame.of(Frame(i, (rgb * (1 - hole[:, :, None])).astype(rgb.dtype), Fraction(i, 25)), hole, hole)
        for i, (rgb, hole) in enumerate(zip(pictures, masks, strict=True))
    ]


def wandering(count: int) -> NDArray[np.uint8]:
    return (holes(count, *SIZE) > 0).astype(np.uint8)


def turning(count: int) -> NDArray[np.uint8]:
    wide = texture(200, 240, seed=3)
    turns = [cv2.getRotationMatrix2D((120, 100), 1.5 * i, 1 + 0.01 * i) for i in range(count)]
    return np.stack([np.asarray(cv2.warpAffine(wide, t, (240, 200)))[52:148, 56:184] for t in turns])


def large() -> list[HoledFrame]:
    size = (252, 1000)
    assert size[1] > 2 * COARSE_PIXELS
    masks = np.zeros((12, *size), np.uint8)
    for i, mask in enumerate(masks):
        mask[101:151, 203 + 22 * i : 263 + 22 * i] = 1
    return items_of(clip(12, *size), masks)


def swinging() -> NDArray[np.uint8]:
    swing = 0.8 + 0.15 * np.sin(np.arange(16) / 3)
    return np.asarray(clip(16, *SIZE) * swing[:, None, None, None], np.uint8)


CASES = {
    "moving camera": lambda: items_of(clip(16, *SIZE), wandering(16)),
    "16 bits": lambda: items_of(clip(16, *SIZE).astype(np.uint16) * np.uint16(257), wandering(16)),
    "turn and zoom": lambda: items_of(turning(14), wandering(14)),
    "exposure": lambda: items_of(swinging(), wandering(16)),
    "compared coarsely": large,
    "hole at the edge": lambda: items_of(clip(12, *SIZE), np.roll(wandering(12), -30, axis=1)),
}


@pytest.mark.parametrize(("device", "fused"), [(CPU, False), GPU, FUSED])
@pytest.mark.parametrize("case", CASES)
def test_a_device_finds_what_opencv_finds(case: str, device: torch.device, fused: bool) -> None:
    items = CASES[case]()
    levels = np.iinfo(items[0].frame.rgb.dtype).max / 255
    found = 0
    for (item, there), (_, expected) in zip(
        propagate(items, OPTIONS, lookup=DeviceLookup(device, fused=fused)), propagate(items, OPTIONS), strict=True
    ):
        assert (there is None) == (expected is None), item.frame.index
        if there is None or expected is None:
            continue
        both = there[1] & expected[1]
        assert (there[1] ^ expected[1]).sum() <= 0.005 * expected[1].sum()
        assert np.array_equal(there[0][~there[1]], item.frame.rgb[~there[1]]), "only found pixels change"
        apart = np.abs(there[0][both].astype(float) - expected[0][both])
        assert apart.mean() < 0.01 * levels
        assert apart.max() <= 2 * levels
        found += int(both.sum())
    assert found > 0.2 * sum(int(item.hole.sum()) for item in items), "there is something to compare"


def test_frames_give_way_to_others_when_the_places_are_used_up() -> None:
    items = items_of(clip(30, *SIZE), wandering(30))
    near = PropagationOptions(reach=3)
    lookup = DeviceLookup(CPU)
    found = list(propagate(items, near, lookup=lookup))
    assert lookup._frames is not None
    assert len(lookup._frames.visible) == 7
    for (_, there), (_, expected) in zip(found, propagate(items, near), strict=True):
        assert (there is None) == (expected is None)
        if there is not None and expected is not None:
            # A level more or less in a colour can turn the judge's mind about a pixel.
            assert (there[1] ^ expected[1]).sum() <= 0.005 * expected[1].sum()


def test_without_room_opencv_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    items = items_of(clip(12, *SIZE), wandering(12))
    reasons: list[str] = []
    lookup = DeviceLookup(CPU, reasons.append)
    calls = []

    def full(self: DeviceLookup, query: Query, others: object) -> Callable[[], Answer]:
        calls.append(query.number)
        if len(calls) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return partial(look_up, query)

    monkeypatch.setattr(DeviceLookup, "_look_up", full)
    found = list(propagate(items, OPTIONS, lookup=lookup))
    assert len(calls) == 4
    assert reasons == ["the GPU has no room for it"]
    for (_, there), (_, expected) in zip(found, propagate(items, OPTIONS), strict=True):
        assert there is not None
        assert expected is not None
        assert np.array_equal(there[0], expected[0])


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_memory_is_what_is_planned(share: float) -> None:
    """Counted tensors, on the CPU: never more than planned for, and with a large hole not much less."""
    size = (240, 432)
    pictures, masks = clip(40, *size), np.zeros((40, *size), np.uint8)
    for i, mask in enumerate(masks):
        left = int(i * 400 * (1 - share) / 40)
        mask[20 : 20 + int(200 * share**0.5), left : left + int(430 * share**0.5)] = 1
    items = items_of(pictures, masks)
    views = {}

    def noted(query: Query) -> Answer:
        views[query.number] = replace(query, others=list(query.others))
        return look_up(views[query.number])

    list(propagate(items, OPTIONS, lookup=noted))
    query = max(views.values(), key=lambda q: len(list(q.others)))
    lookup = DeviceLookup(CPU)
    with TensorCount() as count:
        lookup(query)
    assert count.peak() <= lookup_bytes(size, OPTIONS) * 1.05
    if share > 0.5:
        assert count.peak() > 0.6 * lookup_bytes(size, OPTIONS)


@pytest.mark.parametrize(("device", "fused"), [GPU, FUSED])
def test_asking_does_not_wait_for_the_device(device: torch.device, fused: bool) -> None:
    """The device is busy with the network: each time would be a long one (docs/performance)."""
    items = items_of(clip(16, *SIZE), wandering(16))
    queries: list[Query] = []

    def noted(query: Query) -> Answer:
        queries.append(replace(query, others=list(query.others)))
        return look_up(queries[-1])

    list(propagate(items, OPTIONS, lookup=noted))
    lookup = DeviceLookup(device, fused=fused)
    for query in queries[:4]:
        lookup(query)
    try:
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as waited:
            warnings.simplefilter("always")
            answer = lookup.ask(queries[8])
            torch.zeros(1, device=device).item()  # the control: this waits
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len([w for w in waited if "synchroniz" in str(w.message)]) == 1
    assert np.array_equal(answer().count, lookup(queries[8]).count)


@pytest.mark.parametrize(("device", "fused"), [(CPU, False), GPU, FUSED])
def test_a_device_is_believed_when_it_gives_the_same_once(device: torch.device, fused: bool) -> None:
    assert lookup_fails(device, fused=fused) is None
    assert choose_lookup(device)[0] == ("plain" if device.type == "cpu" else "aligned")


def test_without_kernels_the_operators_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU has no Triton: why not is said. Where neither works, OpenCV goes on, and the operators' reason is said."""
    kind, reason = choose_lookup(CPU)
    assert kind == "plain"
    assert reason
    monkeypatch.setattr(device_lookup, "_photometric_error", lambda apart, *_: torch.full_like(apart, 1e9))
    kind, reason = choose_lookup(CPU)
    assert kind is None
    assert "finds 0 pixels" in (reason or "")


def test_a_device_that_computes_something_else_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = held_frames._cubic
    monkeypatch.setattr(held_frames, "_cubic", lambda fraction: right(fraction) * 0.9)
    assert "levels" in (lookup_fails(CPU) or "")
    monkeypatch.setattr(device_lookup, "_photometric_error", lambda apart, *_: torch.full_like(apart, 1e9))
    assert "finds 0 pixels" in (lookup_fails(CPU) or "")

    def missing(*_: object) -> torch.Tensor:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(device_lookup, "_photometric_error", missing)
    assert lookup_fails(CPU) == "RuntimeError: no kernel image is available"


def test_lookups_are_timed_with_the_same_questions() -> None:
    asked = questions((48, 64), 12, 0.1)
    assert [query.number for query in asked] == list(range(12))
    seen: dict[str, list[int]] = {"one": [], "other": []}

    def noting(name: str) -> Lookup:
        def lookup(query: Query) -> Answer:
            seen[name].append(query.number)
            return look_up(query)

        return lookup

    times = measure_lookups(asked, {name: noting(name) for name in seen}, skipped=4)
    assert seen["one"] == seen["other"] == list(range(12))
    assert min(times.values()) > 0

    def nothing(query: Query) -> Answer:
        answer = look_up(query)
        return replace(answer, count=np.zeros_like(answer.count))

    with pytest.raises(ValueError, match="other finds other pixels"):
        measure_lookups(asked, {"one": look_up, "other": nothing}, skipped=4)


def test_frames_of_sixteen_bits_are_planned_for() -> None:
    """Twice the bytes a level, and fewer of them where that is much."""
    small, large = (240, 432), (2160, 3840)
    assert lookup_bytes(small, OPTIONS, 2) - lookup_bytes(small, OPTIONS) == (2 * OPTIONS.reach + 1) * 3 * 240 * 432
    assert lookup_bytes(large, OPTIONS, 2) < 1.5 * lookup_bytes(large, OPTIONS)


def test_a_notice_is_given_once_for_all_shots() -> None:
    engine = Engine(network(), CPU, EngineSettings(lookup="plain"))
    for _ in range(2):
        shot = engine.lookup()
        assert isinstance(shot, DeviceLookup)
        shot._on_refusal("the GPU has no room for it")
    assert engine.notices == ["image propagation runs on the CPU, which is slower: the GPU has no room for it"]


def test_an_engine_looks_up_on_its_device_when_it_is_told_to() -> None:
    assert Engine(network(), CPU).lookup() is None
    assert isinstance(Engine(network(), CPU, EngineSettings(lookup="plain")).lookup(), DeviceLookup)


def test_the_next_frame_is_asked_for_before_the_last_answer_has_come() -> None:
    """The thread that asks waits for no answer: the first one comes only when two have been asked for."""
    items = items_of(clip(12, *SIZE), wandering(12))
    both = threading.Event()
    asked: list[int] = []

    class Slow:
        def __call__(self, query: Query) -> Answer:
            raise AssertionError("it waits")

        def ask(self, query: Query) -> Callable[[], Answer]:
            asked.append(query.number)
            if len(asked) == 2:
                both.set()

            def answer() -> Answer:
                assert both.wait(20)
                return look_up(query)

            return answer

    found = list(propagate(items, OPTIONS, lookup=Slow()))
    assert asked == list(range(12))
    for (_, there), (_, expected) in zip(found, propagate(items, OPTIONS), strict=True):
        assert there is not None
        assert expected is not None
        assert np.array_equal(there[0], expected[0])
