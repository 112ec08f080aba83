"""Frames aligned on a device: as OpenCV aligns them, by the same code on the CPU, and on a GPU where there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from e2fgvi_cli.engine import assembly
from e2fgvi_cli.engine.core import WITHOUT_LOOKUP, Engine, EngineSettings
from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.frames.stages import HoledFrame
from e2fgvi_cli.propagation.gpu import aligner, alignment
from e2fgvi_cli.propagation.gpu import lookup as device_lookup
from e2fgvi_cli.propagation.gpu.aligner import DeviceAligner, alignment_fails
from e2fgvi_cli.propagation.gpu.lookup import DeviceLookup
from e2fgvi_cli.propagation.homography import Homography
from e2fgvi_cli.propagation.options import PropagationOptions
from e2fgvi_cli.propagation.propagate import propagate
from e2fgvi_cli.propagation.query import Answer, Query, distances
from e2fgvi_cli.system.cache import PassedCheck
from measurements.gauges import TensorCount
from tests.engine.test_device_lookup import CASES
from tests.engine.test_engine import network

CPU = torch.device("cpu")
DEVICES = [
    CPU,
    pytest.param(
        torch.device("cuda"),
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
    ),
]
NEAR = PropagationOptions(reach=6)


class Asked(DeviceLookup):
    """Keeps what it is asked."""

    def __init__(self, device: torch.device = CPU) -> None:
        super().__init__(device, aligns=True)
        self.queries: list[Query] = []

    def ask(self, query: Query) -> Callable[[], Answer]:
        self.queries.append(replace(query, others=list(query.others)))
        return super().ask(self.queries[-1])


def apart(one: Homography, other: Homography, query: Query) -> float:
    """Pixels between where both take the region's corners, at most."""
    rows, columns = query.region
    corners = np.array([[[x, y]] for x in (columns.start, columns.stop) for y in (rows.start, rows.stop)], np.float64)
    return float(np.abs(cv2.perspectiveTransform(corners, one) - cv2.perspectiveTransform(corners, other)).max())


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("case", ["turn and zoom", "compared coarsely"])
def test_it_aligns_as_opencv_does(case: str, device: torch.device) -> None:
    """Both choose between chained and direct: what they choose, and find, differs little."""
    items = CASES[case]()
    lookup = Asked(device)
    found = list(propagate(items, NEAR, lookup=lookup))
    share = [
        np.mean([0.0 if f is None else f[1].sum() / i.hole.sum() for i, f in some]) for some in (found, plain(items))
    ]
    assert abs(share[0] - share[1]) < 0.02
    assert share[1] > 0.03, "there is something to compare"
    query = lookup.queries[len(items) // 2]
    assert query.coarse_frames is not None
    slots = {number: slot for slot, number in enumerate((query.number, *(i for i, _, _ in query.others)))}
    with torch.inference_mode():
        there = DeviceAligner(query.view.hole.shape, len(slots), NEAR.reach, device)
        moves = there.align(query, query.coarse_frames, list(query.others), slots)[0].cpu().double().numpy()
    off = [apart(mine, best, query) for mine, (_, _, best) in zip(moves, query.aligned().others, strict=True)]
    assert len(off) > 8
    assert max(off) < 1.0
    assert np.median(off) < 0.1


def plain(items: list[HoledFrame]) -> list[tuple[HoledFrame, tuple[np.ndarray, np.ndarray] | None]]:
    return list(propagate(items, NEAR))


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_the_self_check_passes_where_it_works(device: torch.device) -> None:
    assert alignment_fails(device) is None


def test_the_self_check_finds_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aligner, "best_alignments", lambda *a: alignment._parts(a[2], a[3])[1])  # the chained ones
    assert "off by 1" in (alignment_fails(CPU) or "")

    def broken(*_: object) -> torch.Tensor:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(aligner, "best_alignments", broken)
    assert alignment_fails(CPU) == "RuntimeError: no kernel image is available"


@pytest.mark.parametrize("error", [RuntimeError("capture invalidated"), torch.cuda.OutOfMemoryError("full")], ids=str)
def test_where_it_fails_the_host_aligns_from_then_on(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(DeviceAligner, "align", failing)
    items = CASES["moving camera"]()
    reasons: list[str] = []
    lookup = DeviceLookup(CPU, reasons.append, aligns=True)
    found = list(propagate(items, NEAR, lookup=lookup))
    assert len(reasons) == 1
    assert not lookup.aligns
    for (_, mine), (_, expected) in zip(found, plain(items), strict=True):
        assert (mine is None) == (expected is None)
        if mine is not None and expected is not None:
            assert (mine[1] ^ expected[1]).mean() < 0.01


def test_moving_things_do_not_pull_the_homography_along() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(5, 90, (alignment.FEW_FEATURES, 2)).astype(np.float32)
    true = np.array([[1.02, 0.01, 3.0], [-0.01, 0.98, -2.0], [1e-4, 0, 1]])
    moved = cv2.perspectiveTransform(points[:, None].astype(np.float64), true)[:, 0]
    moved[::4] += (6.0, 3.0)  # a quarter moves by itself
    start = np.array([[1.0, 0, 2.0], [0, 1, -1.0], [0, 0, 1]], np.float32)
    good = torch.ones(1, len(points), dtype=torch.bool)
    fit = alignment._fitted(
        torch.from_numpy(start)[None],
        torch.from_numpy(points),
        torch.tensor(moved, dtype=torch.float32)[None],
        good,
        (96, 96),
    )
    corners = np.array([[[0, 0]], [[95, 0]], [[0, 95]], [[95, 95]]], np.float64)
    for found in fit[:, 0].double().numpy():
        there = cv2.perspectiveTransform(corners, found)
        assert np.abs(there - cv2.perspectiveTransform(corners, true)).max() < 0.05


def test_frames_give_their_places_to_others() -> None:
    items = CASES["moving camera"]()
    lookup = DeviceLookup(CPU, aligns=True)
    found = list(propagate(items, PropagationOptions(reach=3), lookup=lookup))
    assert lookup._aligner is not None
    assert len(lookup._aligner._gray) == 7
    assert sum(f is not None for _, f in found) > len(items) // 2


@pytest.mark.slow
def test_its_memory_is_planned() -> None:
    size, reach, capacity = (480, 480), 60, 2 * len(distances(60))
    gray = torch.randint(0, 255, (2 * reach + 1, *size), dtype=torch.uint8)
    near_hole = torch.zeros_like(gray)
    features = np.random.default_rng(0).uniform(10, 470, (300, 1, 2)).astype(np.float32)
    around = alignment.Around(np.random.default_rng(1).uniform(0, 480, (alignment.POSITIONS, 2)).astype(np.float32))
    chained, far = [np.eye(3)] * capacity, [True] * capacity
    whole = torch.from_numpy(alignment.packed(0, np.arange(capacity), features, chained, far, around, capacity))
    with torch.inference_mode(), TensorCount() as count:
        alignment.best_alignments(gray, near_hole, whole, capacity)
    planned = aligner.alignment_bytes(size[0] * size[1], reach) - 2 * gray.numel()
    assert 0.8 * planned < count.peak() <= planned


def test_an_engine_aligns_where_its_settings_say_so() -> None:
    kinds = {}
    for kind in ("aligned", "fused", "plain"):
        lookup = Engine(network(), CPU, EngineSettings(lookup=kind)).lookup()
        kinds[kind] = getattr(lookup, "aligns", None)
    assert kinds == {"aligned": True, "fused": False, "plain": False}


def test_far_frames_are_further_and_further_apart() -> None:
    found = distances(60)
    steps = np.diff(found)
    assert found[0] == 1
    assert found[-1] <= 60
    assert (np.diff(steps) >= -1).all()
    assert steps[-1] > steps[0]


@pytest.mark.parametrize(("fails", "kind"), [(None, "aligned"), ("off", "fused")])
def test_a_gpu_aligns_where_it_can(
    fails: str | None, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("E2FGVI_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(assembly, "_check", lambda name, _: PassedCheck(name, ["a GPU"]))
    asked = []
    monkeypatch.setattr(device_lookup, "lookup_fails", lambda *_, **__: asked.append("lookup"))
    monkeypatch.setattr(device_lookup, "alignment_fails", lambda _: fails)
    assert assembly.checked_lookup(CPU) == (kind, fails)
    assert assembly.checked_lookup(CPU) == (kind, fails)
    assert len(asked) == (1 if fails is None else 2), "what was passed is not asked again, a failure is"


@pytest.mark.parametrize(
    ("device", "options", "expected"),
    [
        ("cuda", WindowOptions(propagation=NEAR), ("aligned", None)),
        ("cuda", WindowOptions(propagation=None), (None, None)),
        ("cpu", WindowOptions(propagation=NEAR), (None, None)),
    ],
)
def test_a_gpu_is_asked_where_it_would_look(
    device: str, options: WindowOptions, expected: tuple[str | None, None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "checked_lookup", lambda _: ("aligned", None))
    assert assembly.lookup_for(options, torch.device(device)) == expected
    monkeypatch.setattr(assembly, "checked_lookup", lambda _: (None, "no such pixels"))
    said = WITHOUT_LOOKUP + "no such pixels" if expected[0] else None
    assert assembly.lookup_for(options, torch.device(device)) == (None, said)
