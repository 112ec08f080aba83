"""Weights of runs: their mean, and how clips are scored with them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from e2fgvi_cli._model.checkpoint import load_network, save_checkpoint
from e2fgvi_cli._model.network import E2FGVIHQ
from typer.testing import CliRunner

from e2fgvi_cli.commands.train import train_app
from e2fgvi_cli.engine import Engine, assembly, choose_deform, read_weights
from e2fgvi_cli.errors import InputError
from e2fgvi_cli.fill.options import WindowOptions
from e2fgvi_cli.propagation.gpu.lookup import DeviceLookup
from e2fgvi_cli.training.config import TrainingConfig
from e2fgvi_cli.training.evaluate import evaluate, fill_clip
from e2fgvi_cli.training.evaluate_report import SheetWriter, table
from e2fgvi_cli.training.export import average_weights, licence_line

from ..factories import clip, holes, write_folder
from .conftest import CPU


def test_runs_have_a_mean(config: TrainingConfig, tmp_path: Path) -> None:
    paths = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    networks = [E2FGVIHQ(config.network, deform=choose_deform("torch", CPU)) for _ in paths]
    for path, network, licence in zip(paths, networks, ("MIT", "MIT. Also"), strict=True):
        save_checkpoint(
            path, network.state_dict(), config.network, eight_bit=True, licence=licence, training={"steps": 3}
        )
    mean = tmp_path / "mean.safetensors"
    assert CliRunner().invoke(train_app, ["average", *map(str, paths), "-o", str(mean)]).exit_code == 0
    checkpoint = read_weights(mean)
    assert checkpoint.licence == "MIT; MIT. Also"
    assert json.loads(checkpoint.metadata["training"]) == {"mean of": [{"steps": 3}, {"steps": 3}]}
    one, two = (n.state_dict() for n in networks)
    for name, value in checkpoint.state_dict.items():
        expected = (one[name].double() + two[name].double()) / 2
        assert (value - expected).abs().max() <= float(expected.abs().max()) / 100, name

    for path, network, material in zip(paths, networks, ("A: CC0 x2", "A: CC0 x3"), strict=True):
        said = licence_line({material[:-3]: int(material[-1])}, "not stated")
        save_checkpoint(path, network.state_dict(), config.network, eight_bit=True, licence=said, training={})
    average_weights(paths, mean, licence="Apache-2.0")
    assert read_weights(mean).licence == "Apache-2.0. Training material: A: CC0 x2; A: CC0 x3"

    with pytest.raises(InputError, match="give the weights of two"):
        average_weights(paths[:1], mean)
    other = replace(config.network, mlp_dim=config.network.mlp_dim * 2)
    network = E2FGVIHQ(other, deform=choose_deform("torch", CPU))
    save_checkpoint(paths[1], network.state_dict(), other, eight_bit=True, licence="MIT", training={})
    with pytest.raises(InputError, match=r"two\.safetensors is another network than .*one\.safetensors"):
        average_weights(paths, mean)


@pytest.mark.slow
def test_evaluation_scores_every_method_on_every_clip(weights: Path, tmp_path: Path) -> None:
    for i, name in enumerate(("one", "two")):
        write_folder(tmp_path / "clips" / name / "frames", clip(6, 36, 72, seed=i))
        write_folder(tmp_path / "clips" / name / "still", holes(6, 36, 72))
    engine = Engine(load_network(read_weights(weights)), CPU)
    sheets = SheetWriter(tmp_path / "sheets")
    options = WindowOptions(neighbor_stride=2, max_references=1)
    result = evaluate(engine, tmp_path / "clips", kinds=("still",), every=2, options=options, on_fill=sheets)
    assert set(result.scores) == {"network", "telea", "median"}
    one, two = (result.scores["telea"]["still"][n].hole_psnr for n in ("one", "two"))
    assert one is not None
    assert two is not None
    assert result.mean("telea", "still") == pytest.approx((one + two) / 2)
    assert result.scores["network"]["still"]["one"].frames == 3
    text = table(result)
    assert f"{result.mean('median', 'still'):.2f}" in text
    assert {p.name for p in (tmp_path / "sheets").iterdir()} == {"one_still.png", "two_still.png"}
    # Twice the same: nothing is random.
    again = evaluate(
        engine, tmp_path / "clips", kinds=("still",), clips=("one",), options=options, every=2, baselines=False
    )
    assert again.scores["network"]["still"]["one"] == result.scores["network"]["still"]["one"]
    with pytest.raises(InputError, match="none of the clips three"):
        evaluate(engine, tmp_path / "clips", clips=("three",))

    output = tmp_path / "scores.json"
    words = ["evaluate", str(tmp_path / "clips"), "--weights", str(weights), "--device", "cpu", "-o", str(output)]
    words += ["--holes", "still", "--clip", "one", "--no-baselines", "--neighbor-stride", "2", "--max-references", "1"]
    assert CliRunner().invoke(train_app, words).exit_code == 0
    expected = evaluate(
        engine, tmp_path / "clips", kinds=("still",), clips=("one",), options=options, baselines=False
    ).mean("network", "still")
    told = json.loads(output.read_text())["means"]["network"]["still"]["hole_psnr"]
    assert told == pytest.approx(expected, abs=1e-3)
    assert CliRunner().invoke(train_app, [*words, "--precision", "bf16"]).exit_code == 0
    half = json.loads(output.read_text())["means"]["network"]["still"]["hole_psnr"]
    assert half != told
    assert half == pytest.approx(told, abs=0.5)


def test_a_filled_clip_is_the_source_outside_its_holes(weights: Path) -> None:
    frames, hole = clip(3, 36, 36), (holes(3, 36, 36) > 0).astype(np.uint8)
    engine = Engine(load_network(read_weights(weights), deform=choose_deform("auto", CPU)), CPU)
    filled = np.stack(list(fill_clip(engine, frames, hole, WindowOptions(neighbor_stride=1))))
    assert (filled[hole == 0] == frames[hole == 0]).all()
    assert (filled[hole != 0] != frames[hole != 0]).any()


def test_propagation_is_scored_as_the_device_looks_up(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "clips" / "one" / "frames", clip(3, 36, 36))
    write_folder(tmp_path / "clips" / "one" / "still", holes(3, 36, 36))
    looks: list[str] = []
    start = DeviceLookup.__init__

    def noted(self: DeviceLookup, *args: Any, **kwargs: Any) -> None:
        looks.append("on the device")
        start(self, *args, **kwargs)

    monkeypatch.setattr(DeviceLookup, "__init__", noted)
    monkeypatch.setattr(
        assembly, "lookup_for", lambda windows, _: ("plain" if windows.propagation is not None else None, "not fused")
    )
    words = ["evaluate", str(tmp_path / "clips"), "--weights", str(weights), "--device", "cpu", "--holes", "still"]
    words += ["--no-baselines", "--neighbor-stride", "1", "--max-references", "1"]
    alone = CliRunner().invoke(train_app, words)
    assert (alone.exit_code, looks) == (0, [])
    done = CliRunner().invoke(train_app, [*words, "--image-propagation"])
    assert (done.exit_code, looks) == (0, ["on the device"])
    assert "not fused" in done.output
