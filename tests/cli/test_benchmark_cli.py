"""`e2fgvi benchmark` as a user types it: what it refuses, and one real run of each kind, tiny."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from e2fgvi_cli.bench import request

from ..factories import clip, holes, write_folder

SIZE = (60, 108)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--sizes", "432"), "'432'"),
        (("--sizes", "432x240,0x60"), "'0x60'"),
        (("--sizes", "4x4"), "4x4"),
        (("--sizes", ","), "','"),
        (("--precision", "fp64"), "'fp64'"),
        (("--precision", "fp32,double"), "'double'"),
        (("--against", "propainter"), "'propainter'"),
        (("--hole", "2"), "--hole 2"),
        (("--repeats", "0"), "--repeats 0"),
        (("--device", "cpu", "--devices", "cuda:0,cuda:1"), "--devices cuda:0,cuda:1"),
        (("--video", "clip.mp4"), "--mask"),
        (("--video", "clip.mp4", "--mask", "masks", "--frames", "9"), "--frames"),
    ],
)
def test_what_does_not_parse_is_a_usage_error(e2fgvi: Any, arguments: tuple[str, ...], named: str) -> None:
    done = e2fgvi("benchmark", *arguments)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1
    assert named in errors[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_report_that_could_not_be_written_is_refused_before_measuring(e2fgvi: Any) -> None:
    done = e2fgvi("benchmark", "--json", "missing/report.json")
    assert done.returncode == 3
    assert "missing/report.json" in done.stderr
    assert "looking" not in done.stderr


def test_a_precision_that_the_device_cannot_do_is_a_device_error(e2fgvi: Any) -> None:
    done = e2fgvi("benchmark", "--device", "cpu", "--precision", "fp16", "--sizes", "108x60")
    assert done.returncode == 5, done.stderr
    assert "fp16 is for GPUs" in done.stderr


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages and the device's ceilings are timed, for a moment each: whether the figures are good is not asked here."""
    monkeypatch.setattr(request, "Request", partial(request.Request, timed=0.05))


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_a_run_from_memory_against_the_released_way(e2fgvi: Any, tmp_path: Path) -> None:
    done = e2fgvi(
        # The approximate operator, to have something that differs from float32 (bf16 takes minutes on CPUs without it).
        *(
            "benchmark",
            "--device",
            "cpu",
            "--threads",
            1,
            "--sizes",
            "108x60",
            "--frames",
            6,
            "--deform",
            "approximate",
        ),
        "--no-image-propagation",
        *("--mode", "engine", "--against", "released", "--repeats", 1, "--json", "b.json", "--html", "b.html"),
    )
    assert done.returncode == 0, done.stderr
    assert "times faster" in done.stdout
    record = json.loads((tmp_path / "b.json").read_text())
    assert record["environment"]["threads"] == 1
    assert len(record["environment"]["weights_sha256"]) == 64
    ours, released = record["cases"]
    assert (ours["program"], released["program"]) == ("e2fgvi", "released")
    assert ours["ratios"][0]["ratio"] == pytest.approx(
        released["seconds_per_frame"]["median"] / ours["seconds_per_frame"]["median"]
    )
    assert 10 < ours["agreement_with_float32"]["psnr"] < 60
    assert ours["agreement_with_float32"]["worst_frame"] <= ours["agreement_with_float32"]["psnr"]
    assert released["agreement_with_float32"] is None
    assert ours["memory"]["measured_of"] == "process"
    assert ours["memory"]["measured"] > 200 << 20
    assert [stage["name"] for stage in ours["stages"]] == ["encode", "flow", "propagate", "transform", "decode"]
    assert all(stage["eager"] > 0 and stage["graph"] is None for stage in ours["stages"])
    assert ours["arithmetic"]["frame"]["flops"] < released["arithmetic"]["frame"]["flops"]
    assert set(record["peaks"]["matmul"]) == {"fp32", "fp32, TF32 convolutions"}
    ElementTree.fromstring((tmp_path / "b.html").read_text(encoding="utf-8").partition("\n")[2])


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_a_given_clip_is_measured_from_file_to_file(e2fgvi: Any, tmp_path: Path) -> None:
    write_folder(tmp_path / "frames", clip(6, *SIZE))
    write_folder(tmp_path / "masks", holes(6, *SIZE))
    done = e2fgvi(
        *("benchmark", "--device", "cpu", "--video", "frames", "--mask", "masks", "--repeats", 1, "--no-stages"),
        *("--json", "b.json", "--quiet", "--no-image-propagation"),
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
    (case,) = json.loads((tmp_path / "b.json").read_text())["cases"]
    assert (case["mode"], case["size"], case["frames"], case["failure"]) == ("end to end", list(SIZE), 6, None)
    assert case["seconds_per_frame"]["median"] > 0
    assert case["start_up_seconds"] > 0
    assert case["arithmetic"]["windows"] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.json", "frames", "masks"]
