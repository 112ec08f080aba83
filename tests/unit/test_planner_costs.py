"""What the memory planner counts with: its constants against the network's code, its predictions against counted
tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from e2fgvi_cli._model.attention import attention_plan
from e2fgvi_cli._model.config import E2FGVIConfig
from e2fgvi_cli._model.network import E2FGVIHQ

from e2fgvi_cli.engine import Precision
from e2fgvi_cli.engine.graphs import GraphCache
from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.fill import crops
from e2fgvi_cli.planner import GIB, MIB, Planner, costs, geometry, plans
from measurements import memory
from measurements.gauges import TensorCount
from measurements.memory import Case, Request, measure

FULL_HD = (1080, 1944)


# -- the network's numbers ---------------------------------------------------------------------------------------------


def test_constants_are_the_networks() -> None:
    with torch.device("meta"):
        network = E2FGVIHQ()
    flow = sum(p.numel() for p in network.update_spynet.parameters())
    assert flow == costs.FLOW_WEIGHTS
    assert sum(p.numel() for p in network.parameters()) - flow == costs.OTHER_WEIGHTS
    config = network.config
    assert (config.channels, config.embed_dim, config.window) == (costs.CHANNELS, costs.EMBED, costs.WINDOW)
    assert costs.FEATURE_STRIDE * config.split_stride == costs.TOKEN_STRIDE
    assert config.size_multiple == geometry.NETWORK_MULTIPLE
    assert plans.LONGEST_OVERLAP == crops.TILE_OVERLAP


def test_constants_are_the_engines() -> None:
    cache = GraphCache(torch.device("cpu"))
    assert cache._capacity == costs.KEPT_GRAPHS


def test_constants_are_the_kernels() -> None:
    kernels = pytest.importorskip("e2fgvi_cli._model.kernels", exc_type=ImportError)
    assert kernels.COLUMN_BYTES_PER_CALL == costs.FUSED_COLUMN_BYTES
    assert kernels.condition_channels(costs.CHANNELS) + 27 * 16 + costs.CHANNELS == costs.FUSED_ALIGNMENT
    with torch.device("meta"):
        network = E2FGVIHQ()
    network.use_kernels(kernels)
    known = {p.data_ptr() for p in network.parameters()}
    copies = [
        t for m in network.modules() for t in (getattr(m, "_fused", None) or ())[1:] if isinstance(t, torch.Tensor)
    ]
    assert known is not None
    assert sum(t.numel() for t in copies) == costs.KERNEL_WEIGHTS


@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (4, 4), (7, 12), (18, 18)])
def test_groups_of_windows_are_the_attentions(grid: tuple[int, int]) -> None:
    config = E2FGVIConfig()
    tokens = (grid[0] * config.window[0], grid[1] * config.window[1])
    groups = attention_plan(tokens, config, torch.device("cpu")).groups
    expected = sorted((len(group.queries), group.keys.shape[1]) for group in groups)
    assert sorted(geometry._groups(*grid)) == expected


# -- predictions against counted tensors -------------------------------------------------------------------------------


def request_for(case: Case, dtype: torch.dtype, budget: int | None = None) -> Request:
    return Request(torch.device("meta"), Precision("test", dtype), (case,), budget)


def test_the_count_sees_temporaries_and_what_is_freed() -> None:
    with TensorCount() as count:
        x = torch.zeros(1000)
        assert count.peak() == 4000
        y = x.view(10, 100) + 1  # a view is nothing new
        assert count.peak() == 8000
        del x
        count.reset()
        assert count.peak() == 4000
        torch.nn.functional.linear(y.t(), torch.zeros(7, 10), torch.zeros(7))
        assert count.peak() > 4000 + 280 + 28 + 2800 - 1
    assert y.shape == (10, 100)


@pytest.mark.parametrize(
    ("case", "dtype", "budget"),
    [
        (Case((120, 216), 5, 2), torch.float32, None),
        (Case((240, 432), 11, 6), torch.float32, None),
        (Case((240, 432), 11, 6), torch.float16, 450 * MIB),
        (Case((480, 540), 11, 0), torch.bfloat16, None),
        (Case(FULL_HD, 11, 6), torch.float16, None),
        (Case(FULL_HD, 11, 6), torch.float16, 5 * GIB),
    ],
    ids=lambda value: str(value) if isinstance(value, int | torch.dtype) else None,
)
def test_predictions_are_within_a_tenth_of_counted_tensors(case: Case, dtype: torch.dtype, budget: int | None) -> None:
    rows = list(measure(request_for(case, dtype, budget)))
    assert [row.stage for row in rows] == [
        "encoder",
        "flow",
        "propagation",
        "attention",
        "feed-forward",
        "composition",
        "decoder",
        "window",
        "idle",
    ]
    errors = {row.stage: row.error for row in rows}
    assert abs(errors["window"]) < 0.03
    # Stages away from the peak: never too little, and what an earlier step would still hold is counted whether it is
    # there or not.
    assert {stage: f"{error:+.1%}" for stage, error in errors.items() if not -0.06 < error < 0.13} == {}


def test_a_wrong_number_of_references_is_noticed() -> None:
    case = Case((120, 216), 5, 2)
    window = next(row for row in measure(request_for(case, torch.float32)) if row.stage == "attention")
    other = Planner(local=5, references=5, device="meta")
    predicted = other.stages(case.size, other.plan(case.size), stored=10, merging=False)["attention"]
    assert predicted > 1.1 * window.measured


def test_the_benchmark_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "memory.json"
    order = [
        "memory",
        "--device",
        "meta",
        "--precision",
        "fp16",
        "--sizes",
        "50x100",
        "--windows",
        "3+1",
        "-o",
        str(output),
    ]
    monkeypatch.setattr("sys.argv", order)
    memory.main()
    printed = capsys.readouterr().out.splitlines()
    record: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    assert len(printed) == 2 + len(record["rows"])
    assert printed[2].startswith("60x108 3+1")
    assert record["rows"][0]["case"] == {"size": [60, 108], "local": 3, "references": 1}
    assert record["precision"] == "fp16"


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--sizes", "240", "'240' is not understood: give pairs such as 240x432"),
        ("--sizes", "0x108", "'0x108' is not understood"),
        ("--windows", "11x6", "'11x6' is not understood: give pairs such as 240+432"),
        ("--windows", "4+1", "4 local frames are no window: give an odd number, 3 or more"),
        ("--max-memory", "8", "memory size '8' is not understood"),
    ],
)
def test_the_benchmark_refuses_what_it_cannot_measure(
    option: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["memory", "--device", "meta", option, value])
    with pytest.raises(SystemExit) as ended:
        memory.main()
    assert ended.value.code == UsageError.exit_code
    assert told in capsys.readouterr().err
