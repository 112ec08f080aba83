"""`e2fgvi evaluate` on a data set of two tiny clips, without the network."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ..conftest import Run
from ..factories import clip, holes, write_folder

SIZE = (40, 56)


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """DAVIS' layout: frames alone."""
    for seed, name in enumerate(("bear", "camel")):
        write_folder(tmp_path / "davis" / "JPEGImages" / "480p" / name, clip(4, *SIZE, seed), ".png")
    return tmp_path / "davis"


def record_in(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "evaluation.json").read_text())
    return record


def test_frames_alone_give_a_table_to_cite(davis: Path, tmp_path: Path, e2fgvi: Run) -> None:
    done = e2fgvi(
        "evaluate", davis, "--masks", "seed:2026:still+moving", "--methods", "telea,median,propagated", "-o", "out"
    )
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == ["clips.csv", "evaluation.json", "table.md", "table.tex"]
    assert done.stdout == (out / "table.md").read_text()
    record = record_in(out)
    rows = list(csv.DictReader((out / "clips.csv").read_text().splitlines()))
    assert len(rows) == len(record["cases"]) == 2 * 2 * 3
    assert {(row["clip"], row["kind"]) for row in rows} == {
        (c, k) for c in ("bear", "camel") for k in ("still", "moving")
    }
    assert all(10 < float(row["hole_psnr"]) < 60 for row in rows)
    hashes = record["masks"]["moving/bear"]
    assert len(set(hashes["sha256"])) == 4
    assert hashes["source"] == "e2fgvi-masks-1, seed 2026"
    assert len(set(record["masks"]["still/bear"]["sha256"])) == 1
    assert record["environment"]["command"].startswith("e2fgvi evaluate")
    # The median of a still hole knows nothing: it is Telea's.
    by_method = {row["method"]: row for row in rows if (row["clip"], row["kind"]) == ("bear", "still")}
    assert by_method["median"]["hole_psnr"] == by_method["telea"]["hole_psnr"]
    mean = next(m for m in record["means"] if (m["kind"], m["method"]) == ("still", "telea"))
    values = [float(row["hole_psnr"]) for row in rows if (row["kind"], row["method"]) == ("still", "telea")]
    assert mean["figures"]["hole_psnr"] == pytest.approx(np.mean(values), abs=1e-5)


def test_a_run_goes_on_where_it_ended(davis: Path, tmp_path: Path, e2fgvi: Run) -> None:
    common = ("evaluate", davis, "--masks", "seed:1:still", "-o", "out")
    assert e2fgvi(*common, "--methods", "telea", "--clips", "bear").returncode == 0
    first = record_in(tmp_path / "out")
    refused = e2fgvi(*common, "--methods", "telea")
    assert refused.returncode == 3
    assert "--resume goes on with it" in refused.stderr
    done = e2fgvi(*common, "--methods", "telea", "--resume")
    assert "bear" not in done.stderr
    assert "still camel telea" in done.stderr
    both = record_in(tmp_path / "out")
    assert both["cases"][0] == first["cases"][0]
    assert [case["clip"] for case in both["cases"]] == ["bear", "camel"]
    other = e2fgvi(*common, "--methods", "telea", "--resume", "--limit-frames", 2)
    assert other.returncode == 2
    assert "limit_frames" in other.stderr


def test_another_programs_pictures_are_scored_by_the_same_code(tmp_path: Path, e2fgvi: Run) -> None:
    frames, masks = clip(3, *SIZE), holes(3, *SIZE)
    write_folder(tmp_path / "data" / "walk" / "frames", frames)
    write_folder(tmp_path / "data" / "walk" / "holes", masks)
    filled = frames.copy()
    filled[masks > 0] = np.clip(filled[masks > 0].astype(int) + 10, 0, 255)
    filled[1] = frames[1]  # a perfect fill
    filled[0, 0, 0] = 255 - filled[0, 0, 0]  # outside of the hole: not scored
    write_folder(tmp_path / "theirs" / "walk", filled)
    done = e2fgvi("evaluate", "data", "--masks", "holes", "--results", "theirs", "-o", "out")
    assert done.returncode == 0, done.stderr
    (case,) = record_in(tmp_path / "out")["cases"]
    inside = masks > 0
    error = [((filled[i][inside[i]].astype(float) - frames[i][inside[i]]) ** 2).mean() for i in range(3)]
    assert (case["method"], case["exact_frames"], case["hole_frames"]) == ("theirs", 1, 3)
    assert case["figures"]["hole_psnr"] == pytest.approx(10 * np.log10(255**2 / np.mean(error)), abs=1e-5)
    assert case["series"]["hole_psnr"][1] is None
    assert "1 frames equal the truth" in done.stdout
    grown = e2fgvi(
        "evaluate", "data", "--masks", "holes", "--mask-dilation", "3px", "--results", "theirs", "-o", "grown"
    )
    assert grown.returncode == 0
    one, other = (record_in(tmp_path / name)["cases"][0]["series"]["share"][0] for name in ("out", "grown"))
    side = int(masks[0].any(axis=0).sum())
    assert one == pytest.approx(side * side / (SIZE[0] * SIZE[1]), abs=1e-4)
    assert (side + 4) ** 2 < other * SIZE[0] * SIZE[1] <= (side + 6) ** 2
    wrong = e2fgvi("evaluate", "data", "--masks", "holes", "--results", "theirs", "--protocol", "e2fgvi-432", "-o", "b")
    assert wrong.returncode == 3
    assert "pictures of 56x40, the protocol 432x240" in wrong.stderr
    assert not (tmp_path / "b").exists()


def test_the_published_protocol_scales_frames(davis: Path, tmp_path: Path, e2fgvi: Run) -> None:
    arguments = ("--protocol", "e2fgvi-432", "--masks", "seed:1:still", "--methods", "telea", "--limit-frames", 1)
    assert e2fgvi("evaluate", davis, *arguments, "--clips", "bear", "-o", "out").returncode == 0
    record = record_in(tmp_path / "out")
    assert record["cases"][0]["size"] == [432, 240]
    assert record["cases"][0]["figures"]["ssim"] is not None
    assert any("--compat released" in rule for rule in record["rules"])


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--masks", "nowhere"), 3, "clip bear has no masks"),
        (("--masks", "seed:a"), 2, "is no seed"),
        (("--clips", "zebra"), 3, "no clip 'zebra'"),
        (("--methods", "magic"), 2, "'magic' is unknown"),
        (("--protocol", "mine"), 2, "'mine' is unknown"),
        (("--size", "4"), 2, "'4' is no size"),
        (("--results", "none"), 3, "nothing for clip bear"),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else None,
)
def test_mistakes_are_sentences(
    davis: Path, tmp_path: Path, e2fgvi: Run, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    methods = () if {"--methods", "--results"} & set(arguments) else ("--methods", "telea")
    done = e2fgvi("evaluate", davis, *arguments, *methods, "-o", "out")
    assert (done.returncode, sentence in done.stderr) == (code, True), done.stderr
    assert not (tmp_path / "out").exists()


def test_two_evaluations_are_compared(davis: Path, tmp_path: Path, e2fgvi: Run) -> None:
    assert (
        e2fgvi("evaluate", davis, "--masks", "seed:1:moving", "--methods", "telea,median", "-o", "out").returncode == 0
    )
    found = e2fgvi("compare", "out", "out/evaluation.json", "--method-a", "telea", "--method-b", "median", "--json")
    record = json.loads(found.stdout)
    cases = record_in(tmp_path / "out")["cases"]
    apart = [
        next(c["figures"]["hole_psnr"] for c in cases if (c["clip"], c["method"]) == (name, "median"))
        - next(c["figures"]["hole_psnr"] for c in cases if (c["clip"], c["method"]) == (name, "telea"))
        for name in ("bear", "camel")
    ]
    psnr = next(d for d in record["differences"] if d["metric"] == "hole_psnr")
    assert psnr["difference"] == pytest.approx(np.mean(apart))
    assert (psnr["low"], psnr["high"]) == pytest.approx((min(apart), max(apart)))
    shown = e2fgvi("compare", "out", "out", "--method", "telea").stdout
    assert "| hole PSNR (dB) | 2 |" in shown
    assert "only 2 clips" in shown
    (tmp_path / "other.json").write_text("{}")
    wrong = e2fgvi("compare", "out", "other.json")
    assert (wrong.returncode, "is not from `e2fgvi evaluate`" in wrong.stderr) == (3, True)


def test_a_page_shows_every_case_also_of_a_run_that_had_none(davis: Path, tmp_path: Path, e2fgvi: Run) -> None:
    common = ("evaluate", davis, "--masks", "seed:1:moving", "--methods", "telea,median", "-o", "out")
    assert e2fgvi(*common).returncode == 0
    figures = [case["figures"] for case in record_in(tmp_path / "out")["cases"]]
    assert e2fgvi(*common, "--resume", "--html", "page.html").returncode == 0
    cases = record_in(tmp_path / "out")["cases"]
    assert [case["figures"] for case in cases] == figures
    frames = cases[0]["pictures"]["frames"]
    assert {tuple(case["pictures"]["frames"]) for case in cases if case["clip"] == "bear"} == {tuple(frames)}
    worst = min(range(4), key=lambda i: cases[0]["series"]["hole_psnr"][i])
    assert worst in frames
    shown = (tmp_path / "page.html").read_text()
    assert shown.count('class="viewer"') == 2
    assert "error of median" in shown
    assert e2fgvi(*common, "--resume", "--html", tmp_path).returncode == 2


def test_the_program_checks_its_own_measures(e2fgvi: Run) -> None:
    done = e2fgvi("evaluate", "--self-check")
    assert done.returncode == 0
    assert done.stdout.count("right") == 9
    assert e2fgvi("evaluate").returncode == 2


@pytest.mark.slow
def test_vfid_needs_weights_that_the_user_gives(davis: Path, tmp_path: Path, e2fgvi: Run) -> None:
    import torch

    from e2fgvi_cli.evaluation.i3d import I3D

    torch.manual_seed(1)
    torch.save(I3D().state_dict(), tmp_path / "i3d.pt")
    arguments = ("--masks", "seed:1:still", "--methods", "telea", "--limit-frames", 2, "--i3d", "i3d.pt", "-o", "out")
    done = e2fgvi("evaluate", davis, *arguments)
    assert done.returncode == 0, done.stderr
    assert "VFID" in done.stdout
    record = record_in(tmp_path / "out")
    assert record["means"][0]["clips"]["vfid"] == 2
    # Of random weights the features hardly differ, but they do.
    features = record["cases"][0]["i3d"]
    assert len(features["truth"]) == 400
    assert features["truth"] != features["result"]
    (tmp_path / "i3d.pt").write_bytes(b"nothing")
    wrong = e2fgvi("evaluate", davis, *arguments[:-1], "other")
    assert (wrong.returncode, "--i3d" in wrong.stderr) == (4, True)
