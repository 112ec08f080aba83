"""The benchmark without a network: synthetic clips, counted work, arithmetic of the figures, turns, the report."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice, pairwise
from math import prod
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from e2fgvi_cli._model.config import E2FGVIConfig

from e2fgvi_cli.bench import session
from e2fgvi_cli.bench.report import Section, Table, render_html, to_json, write_report
from e2fgvi_cli.bench.request import Case, Request
from e2fgvi_cli.bench.results import (
    END_TO_END,
    ENGINE,
    OURS,
    RELEASED,
    SCHEMA,
    Agreement,
    Arithmetic,
    Benchmark,
    CaseResult,
    Cost,
    Failure,
    Measured,
    Memory,
    Peaks,
    StageTime,
    Subject,
    Timing,
    WindowWork,
    ratio,
    shares,
)
from e2fgvi_cli.bench.sections import milliseconds, seconds, speed_sections
from e2fgvi_cli.bench.synthetic import SyntheticClip
from e2fgvi_cli.bench.work import NotingEngine, window_cost
from e2fgvi_cli.engine import Precision
from e2fgvi_cli.errors import DeviceError, InputError, UsageError
from e2fgvi_cli.fill.crops import CropOptions
from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.fill.stream import fill_shot
from e2fgvi_cli.planner import Planner
from e2fgvi_cli.propagation.options import PropagationOptions

MULTIPLE = (60, 108)
SIZE = (60, 108)


# -- synthetic clips


def test_the_same_seed_is_the_same_clip_and_another_is_not() -> None:
    first, again, other = (list(SyntheticClip(SIZE, 4, seed=seed).pictures()) for seed in (1, 1, 2))
    for (rgb, hole), (rgb_again, hole_again) in zip(first, again, strict=True):
        assert (rgb == rgb_again).all()
        assert (hole == hole_again).all()
    assert (first[0][0] != other[0][0]).any()


@pytest.mark.parametrize("share", [0.003, 0.1, 0.5, 0.9])
def test_each_hole_has_the_share_that_was_asked_for(share: float) -> None:
    for _, hole in SyntheticClip((61, 109), 5, share).pictures():
        assert set(np.unique(hole)) == {0, 1}
        assert hole.sum() == round(share * 61 * 109)


def test_camera_structure_and_hole_move() -> None:
    frames = list(SyntheticClip((120, 216), 30).pictures())
    moved = [bool((a[0] != b[0]).mean() > 0.5) for a, b in pairwise(frames)]
    assert sum(moved) > 20  # whole pixels: at its turning points the camera rests
    assert len({hole.tobytes() for _, hole in frames}) > 10


def test_frames_of_a_long_clip_come_one_at_a_time() -> None:
    assert len(list(islice(SyntheticClip(SIZE, 10**9).pictures(), 3))) == 3


@pytest.mark.parametrize("values", [{"size": (7, 100)}, {"frames": 0}, {"hole_share": 0.0}, {"hole_share": 0.95}])
def test_clips_that_cannot_be_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        SyntheticClip(**{"size": SIZE, "frames": 3, **values})


# -- counted work


def noted(frames: int, options: WindowOptions, size: tuple[int, int] = SIZE) -> NotingEngine:
    engine = NotingEngine(MULTIPLE, Planner())
    assert sum(1 for _ in fill_shot(SyntheticClip(size, frames).items(), engine, options)) == frames
    return engine


def test_ours_encodes_every_frame_once_and_every_pair_once() -> None:
    work = noted(43, WindowOptions(crops=CropOptions(enabled=False))).work
    assert work.count == 9
    assert sum(w.encoded * times for w, times in work.windows.items()) == 43
    assert sum(w.pairs * times for w, times in work.windows.items()) == 42
    typical = work.typical()
    assert typical is not None
    assert (typical.size, typical.local, typical.pairs) == (SIZE, 11, 5)


def test_the_released_way_encodes_and_decodes_whole_windows() -> None:
    work = noted(43, WindowOptions(max_references=None, released=True)).work
    for window in work.windows:
        assert window.encoded == window.decoded == window.local + window.references
        assert window.pairs == window.local - 1


def test_crops_make_less_work() -> None:
    def pixels(crops: bool) -> int:
        windows = noted(12, WindowOptions(crops=CropOptions(enabled=crops)), (240, 432)).work.windows
        return sum(prod(w.size) * (w.local + w.references) * times for w, times in windows.items())

    assert 0.2 < pixels(True) / pixels(False) < 0.8


def test_counted_arithmetic_is_that_of_the_real_network() -> None:
    torch = pytest.importorskip("torch")
    from e2fgvi_cli._model.deform import select_backend
    from e2fgvi_cli._model.network import E2FGVIHQ
    from torch.utils.flop_counter import FlopCounterMode

    config = E2FGVIConfig()
    network = E2FGVIHQ(config, deform=select_backend("torch")).eval()
    costs = window_cost(config, Precision(), WindowWork(SIZE, 3, 1, 4, 2, 4))
    frames, features, flow = torch.zeros(1, 4, 3, *SIZE), torch.zeros(1, 4, 128, 15, 27), torch.zeros(1, 2, 2, 15, 27)
    calls = {
        "encode": lambda: network.encode(frames),
        "flow": lambda: network.flow(frames[:, :3]),
        "propagate": lambda: network.propagate(features[:, :3], flow, flow),
        "decode": lambda: network.decode(features),
    }
    for name, call in calls.items():
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            call()
        assert costs[name].flops == pytest.approx(counter.get_total_flops()), name
    # torch does not count attention on a CPU: 4 frames of 45 tokens, one window, all 165 + 1 keys a frame, 8 blocks.
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.transform(features)
    attention = 8 * 2 * 2 * (4 * 45) * (4 * 166) * 512
    assert costs["transform"].flops == pytest.approx(counter.get_total_flops() + attention)


def test_half_precision_moves_half_the_bytes_but_for_flow() -> None:
    torch = pytest.importorskip("torch")
    work = WindowWork(SIZE, 3, 0, 2, 2, 3)
    single = window_cost(E2FGVIConfig(), Precision(), work)
    half = window_cost(E2FGVIConfig(), Precision("fp16", torch.float16), work)
    assert half["flow"] == single["flow"]
    assert half["transform"].bytes == pytest.approx(single["transform"].bytes / 2, rel=0.02)
    assert half["transform"].flops == single["transform"].flops


# -- figures


def test_ratios_are_of_runs_side_by_side() -> None:
    ours, other = Timing(10, 9.0, (1.0, 4.0, 2.0), 0.0), Timing(20, 9.0, (4.0, 24.0, 8.0), 0.0)
    assert ours.median == pytest.approx(0.2)
    found = ratio(ours, other, RELEASED)
    assert (found.ratio, found.low, found.high) == pytest.approx((2.0, 2.0, 3.0))


def test_shares_of_the_peaks() -> None:
    found = shares(Cost(6e12, 1e12), 0.1, "fp16", Peaks({"fp16": 3e14}, 2e13, 1, 1))
    assert found is not None
    assert (found.matmul, found.copy, found.bound) == pytest.approx((0.2, 0.5, 0.05))
    assert shares(Cost(6e12, 1e12), 0.1, "fp16", Peaks()) is None


def test_peaks_are_the_best_of_all_measured() -> None:
    both = Peaks({"fp32": 1.0}, 5.0, 8, 9).or_better(Peaks({"fp32": 2.0, "fp16": 3.0}, 4.0, 8, 9))
    assert both == Peaks({"fp32": 2.0, "fp16": 3.0}, 5.0, 8, 9)


# -- what is asked for


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"precisions": ("fp64",)}, "fp64"),
        ({"against": "telea"}, "telea"),
        ({"mode": "fast"}, "fast"),
        ({"repeats": 0}, "0"),
        ({"hole": 1.5}, "1.5"),
        ({"frames": 0}, "--frames 0"),
        ({"video": Path("a.mp4")}, "--mask"),
        ({"video": Path("a.mp4"), "mask": Path("m"), "frames": 10}, "--frames"),
        ({"video": Path("a.mp4"), "mask": Path("m"), "mode": "engine"}, "--mode engine"),
        ({"max_memory": "much"}, "much"),
        ({"threads": 0}, "--threads 0"),
    ],
)
def test_requests_that_cannot_be_are_refused(values: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as refused:
        Request(**values)
    assert named in str(refused.value)


def test_what_is_measured_of_one_size() -> None:
    request = Request(against=RELEASED)
    found = request.subjects(SIZE, ("fp16", "bf16"), ("cuda:0", "cuda:1"), files=True)
    assert [(s.mode, s.program, s.precision, len(s.devices)) for s in found] == [
        (ENGINE, OURS, "fp16", 1),
        (ENGINE, OURS, "bf16", 1),
        (ENGINE, RELEASED, "fp32", 1),
        (END_TO_END, OURS, "fp16", 1),
        (END_TO_END, OURS, "bf16", 1),
        (END_TO_END, OURS, "fp16", 2),
        (END_TO_END, OURS, "bf16", 2),
        (END_TO_END, RELEASED, "fp32", 1),
    ]
    assert [s.mode for s in request.subjects(SIZE, ("fp16",), ("cpu",), files=False)] == [ENGINE, ENGINE]


def test_the_baseline_is_the_released_way() -> None:
    request = Request(precisions=("bf16",), compile=True, full_frame=True, image_propagation=True)
    released = request.options(None, None, "bf16", ("cpu",), released=True)
    assert (released.windows.released, released.windows.max_references) == (True, None)
    assert (released.precision, released.compile, released.detect_cuts) == ("auto", False, False)
    ours = request.options(None, None, "bf16", ("cpu",))
    assert (ours.windows.released, ours.windows.crops.enabled, ours.precision) == (False, False, "bf16")
    assert (released.windows.propagation, ours.windows.propagation) == (None, PropagationOptions())
    assert ours.masking.dilation.pixels(1080) == 0  # the hole has the share that was asked for


def test_small_clips_are_compared_without_being_asked() -> None:
    assert Request().wants_check((240, 432), 100, "cpu")
    assert not Request().wants_check((1080, 1920), 100, "cpu")
    assert Request().wants_check((1080, 1920), 100, "cuda:0")
    assert Request(check=True).wants_check((2160, 3840), None, "cpu")
    assert not Request(check=False).wants_check((8, 8), 1, "cpu")


# -- turns


def a_case(program: str, mode: str = ENGINE, precision: str = "fp32") -> Case:
    subject = Subject(mode, program, SIZE, precision, ("cpu",))
    return Case(subject, Request().options(None, None, "auto", ("cpu",)), 2)


class FakeCall:
    """Three steps each, noted in `steps`; "broken" fails at the second."""

    steps: list[str] = []  # noqa: RUF012
    closed: list[str] = []  # noqa: RUF012

    def __init__(self, function: str, case: Case) -> None:
        self.finished, self.result, self._name, self._left = False, "figures", case.subject.precision, 3

    def step(self) -> None:
        FakeCall.steps.append(self._name)
        self._left -= 1
        if self._name == "broken" and self._left == 1:
            raise DeviceError("no room")
        self.finished = self._left == 0

    def close(self) -> None:
        FakeCall.closed.append(self._name)


@pytest.fixture
def fake_calls(monkeypatch: pytest.MonkeyPatch) -> type[FakeCall]:
    monkeypatch.setattr(session, "IsolatedCall", FakeCall)
    FakeCall.steps, FakeCall.closed = [], []
    return FakeCall


def test_cases_take_turns_and_one_that_fails_stops_no_other(fake_calls: type[FakeCall]) -> None:
    results = session._measure([a_case(OURS, precision=name) for name in ("a", "broken", "b")])
    assert fake_calls.steps == ["a", "broken", "b", "a", "broken", "b", "a", "b"]
    assert [r.measured for r in results] == ["figures", None, "figures"]
    assert results[1].failure == Failure("no room", DeviceError.exit_code)
    assert sorted(fake_calls.closed) == ["a", "b", "broken"]


# -- the report


def a_benchmark() -> Benchmark:
    work = WindowWork((240, 432), 11, 6, 5, 5, 11)
    stage_costs = {"encode": Cost(2.5e11, 1e9), "transform": Cost(1.4e12, 7e9)}
    arithmetic = Arithmetic(7, work, stage_costs, Cost(5e11, 3e9), "fp16")
    stages = (StageTime("encode", 5, 0.004, 0.002), StageTime("transform", 17, 0.01, None, "no graph: <cause>"))
    ours = Measured(
        Timing(30, 1.5, (0.15, 0.12, 0.18), 3.0),
        Memory(2 << 30, 2_000_000_000, "GPU", 3 << 30, 1 << 30),
        "cuda:0 (H100)",
        "triton (fused)",
        arithmetic,
        stages,
        Peaks({"fp16": 8e14}, 3e12, 8192, 1 << 30),
        Agreement(53.25, 51.0, 3),
        ("weights: <open>",),
    )
    other = replace(ours, timing=Timing(30, 3.0, (1.5, 1.2, 1.8), 3.0), arithmetic=None, stages=(), agreement=None)
    device = ("cuda:0",)
    cases = (
        CaseResult(Subject(ENGINE, OURS, (240, 432), "fp16", device), ours),
        CaseResult(Subject(ENGINE, RELEASED, (240, 432), "fp32", device), other),
        CaseResult(Subject(ENGINE, OURS, (1080, 1920), "fp16", device), None, Failure("no room for 5 & 6", 5)),
    )
    environment = {"program": "e2fgvi 0.1.0", "packages": {"torch": "2.14.1"}, "memory": 8 << 30, "gpus": ["H100"]}
    return Benchmark(environment, {**Request(against=RELEASED).as_record()}, cases, ("a & b",))


def test_the_record_is_json_with_all_figures(tmp_path: Path) -> None:
    write_report(tmp_path / "b.json", to_json(a_benchmark().as_record()))
    record = json.loads((tmp_path / "b.json").read_text())
    assert list(record) == ["schema", "environment", "settings", "peaks", "cases", "notices"]
    assert record["schema"] == SCHEMA
    assert record["settings"]["sizes"] == [[240, 432]]
    ours, released, failed = record["cases"]
    assert ours["seconds_per_frame"] == pytest.approx({"median": 0.005, "min": 0.004, "max": 0.006})
    assert ours["ratios"] == [{"against": "released", "ratio": 10.0, "low": 10.0, "high": 10.0}]
    assert ours["agreement_with_float32"]["psnr"] == 53.25
    assert ours["memory"]["predicted"] == 2 << 30
    assert ours["arithmetic"]["shares"]["matmul"] == pytest.approx(5e11 / 0.005 / 8e14)
    assert ours["arithmetic"]["window"]["flops"] == pytest.approx(1.65e12)
    assert ours["stages"][0]["shares"]["matmul"] == pytest.approx(2.5e11 / 0.002 / 8e14)
    assert released["ratios"] == []
    assert (failed["failure"], failed["seconds_per_frame"]) == ("no room for 5 & 6", None)


def test_the_page_is_well_formed_and_says_what_was_measured() -> None:
    page = render_html("e2fgvi benchmark", speed_sections(a_benchmark()))
    root = ElementTree.fromstring(page.partition("\n")[2])
    text = " ".join(root.itertext())
    for expected in ("0.00500", "10.00 [10.00 - 10.00]", "53.2", "2.00", "no room for 5 & 6"):
        assert expected in text
    for expected in ("no graph: <cause>", "a & b", "432x240, 11 + 6", "torch 2.14.1", "weights: <open>"):
        assert expected in text
    tags = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert "script" not in tags
    assert tags.count("svg") == 4  # seconds, memory, stages, roofline
    assert "http" not in page.replace("http://www.w3.org/", "")


def test_a_report_of_failures_only_is_still_a_report() -> None:
    failed = a_benchmark().cases[2]
    page = render_html("x", speed_sections(replace(a_benchmark(), cases=(failed,))))
    assert "no room for 5 &amp; 6" in page
    assert "Arithmetic" not in page


def test_peaks_that_could_not_be_measured_leave_the_rest() -> None:
    ours = a_benchmark().cases[0]
    assert ours.measured is not None
    found = replace(a_benchmark(), cases=(replace(ours, measured=replace(ours.measured, peaks=None)),))
    assert "53.2" in render_html("x", speed_sections(found))
    assert found.as_record()["cases"][0]["stages"][0]["shares"] is None


def test_other_sections_go_into_the_same_report() -> None:
    more = Section("Quality", ("<b>",), Table(("clip", "dB"), (("a<b", "30.1"),)))
    page = render_html("x", [*speed_sections(a_benchmark()), more])
    assert "<h2>Quality</h2>" in page
    assert "a&lt;b" in page


def test_a_report_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing.*b\.json"):
        write_report(tmp_path / "missing" / "b.json", "{}")


@pytest.mark.parametrize(
    ("value", "shown"), [(0.00412, "0.00412"), (0.0328, "0.0328"), (0.455, "0.455"), (1.254, "1.25"), (27.0, "27.0")]
)
def test_seconds_have_three_digits(value: float, shown: str) -> None:
    assert seconds(value) == shown


def test_milliseconds() -> None:
    assert (milliseconds(0.0123), milliseconds(0.000452), milliseconds(None)) == ("12.3", "0.452", "-")
