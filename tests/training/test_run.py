"""A run from beginning to end: log, resume to the bit, validation, plot, export, processes, and the commands around
it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from typer.testing import CliRunner

from e2fgvi_cli.commands.train import train_app
from e2fgvi_cli.engine import Engine, read_weights
from e2fgvi_cli.errors import InputError, UsageError
from e2fgvi_cli.training import learner
from e2fgvi_cli.training.config import PhaseConfig, TrainingConfig, ValidationConfig
from e2fgvi_cli.training.discriminator import TemporalPatchGAN
from e2fgvi_cli.training.export import export_run
from e2fgvi_cli.training.loop import Event, Trainer
from e2fgvi_cli.training.plot import plot
from e2fgvi_cli.training.sheets import Row
from e2fgvi_cli.training.state import read_log

from ..conftest import ROOT
from ..factories import clip, texture, write_folder
from .conftest import ALONE, SMALL, material


def start(config: TrainingConfig, **what: int) -> Trainer:
    trainer = Trainer(config, material(**what), ALONE)
    trainer.folder.create(config, resume=False)
    return trainer


@pytest.mark.parametrize("kind", ["adam", "muon"])
def test_a_resumed_run_is_the_run_that_never_stopped(
    config: TrainingConfig, monkeypatch: pytest.MonkeyPatch, kind: Literal["adam", "muon"]
) -> None:
    monkeypatch.setattr(learner, "TemporalPatchGAN", lambda: TemporalPatchGAN((8, 8, 8)))
    config = replace(config, optimizer=replace(config.optimizer, kind=kind))
    config = replace(config, phase=(replace(config.phase[0], adversarial=True, local=2, reference=0),))
    straight = start(replace(config, folder="straight"))
    straight.run(max_steps=3)
    first = start(config)
    assert not first.run(max_steps=1)
    second = Trainer(config, material(), ALONE)
    second.folder.create(config, resume=True)
    second.resume()
    second.run(max_steps=3)
    assert second.progress.step == straight.progress.step == 3
    for (name, a), b in zip(
        straight.learner.state_dict()["network"].items(), second.learner.state_dict()["network"].values(), strict=True
    ):
        assert torch.equal(a, b), name
    averages = [t.learner.average.network.state_dict().values() for t in (straight, second)]
    assert all(torch.equal(a, b) for a, b in zip(*averages, strict=True))
    with pytest.raises(UsageError, match="already holds a run"):
        second.folder.create(config, resume=False)


def test_a_run_logs_validates_plots_and_exports(config: TrainingConfig) -> None:
    small = ValidationConfig(clips=("x",), frames=4, size=(36, 36), every_minutes=0.0, max_references=1)
    frames_phase = PhaseConfig("frames", 0.5, "autoencoder", (36, 36), 1, 2, 0)
    config = replace(
        config,
        minutes=0.02,
        validation=small,
        sheet_every_minutes=1e-6,
        phase=(frames_phase, replace(config.phase[0], share=0.5)),
    )
    events: list[Event] = []
    trainer = Trainer(config, material(held_out=1), ALONE, licences={"A: CC0 (x)": 2}, report=events.append)
    trainer.folder.create(config, resume=False)
    assert trainer.run()
    kinds = {e.kind for e in events}
    assert {"notice", "log", "validation", "saved", "done"} <= kinds
    assert events[-1].fraction == 1.0
    log = list(read_log(trainer.folder.path))
    figures = next(e for e in log if e["event"] == "validation")
    assert [e["step"] for e in log if e["event"] == "validation"] == [0, trainer.progress.step], "the start and the end"
    assert figures["still/network/hole_psnr"] > 3
    assert figures["drifting/telea/hole_psnr"] > 3
    losses = [e for e in log if e["event"] == "log"]
    assert "loss/frames" in losses[0]
    assert "loss/hole" in losses[-1]
    assert sorted(p.name.split("_")[0] for p in trainer.folder.samples.iterdir())[-1] == "validation"

    page, picture = plot(trainer.folder.path)
    assert "<svg" in page.read_text()
    assert "hole PSNR" not in page.read_text()
    assert "PSNR in the hole" in page.read_text()
    assert picture.read_bytes()[:4] == b"\x89PNG"

    target = trainer.folder.path / "weights.safetensors"
    summary = export_run(trainer.folder.path, target, licence="MIT")
    assert summary["steps"] == trainer.progress.step
    checkpoint = read_weights(target)
    assert checkpoint.config == config.network
    assert checkpoint.licence == "MIT. Training material: A: CC0 (x) x2"
    assert json.loads(checkpoint.metadata["training"])["steps"] == trainer.progress.step
    stored = checkpoint.state_dict["encoder.layers.4.weight"]
    own = trainer.learner.average.network.state_dict()["encoder.layers.4.weight"]
    assert torch.allclose(stored, own, atol=float(own.abs().max()) / 250)
    assert read_weights(trainer.folder.best_file).config == config.network


def test_scoring_does_not_stop_the_average(config: TrainingConfig) -> None:
    """It did: the engine that scores gave the decoder other memory, and the average went on in the old one, through
    five runs on GPUs."""
    held_out = ValidationConfig(clips=("x",), frames=2, size=(36, 36), every_minutes=0.0, max_references=1)
    trainer = start(
        replace(config, validation=held_out, phase=(replace(config.phase[0], local=2, reference=0),)), held_out=1
    )
    trainer.run(max_steps=1)
    figures = trainer.validate()
    assert figures["last_batch/average/hole"] == pytest.approx(figures["last_batch/network/hole"], rel=0.2)
    # A decay of 0: the average is the network, every weight of it.
    trainer.learner.average.update(0.0)
    own, network = (n.state_dict() for n in (trainer.learner.average.network, trainer.learner.network))
    assert [name for name in network if not torch.equal(own[name], network[name])] == []
    # Also where somebody does convert the average itself.
    trainer.learner.average.network.to(memory_format=torch.channels_last)
    trainer.run(max_steps=2)
    trainer.learner.average.update(0.0)
    own = trainer.learner.average.network.state_dict()
    assert [name for name in network if not torch.equal(own[name], network[name])] == []


def test_scores_are_not_autotuned(config: TrainingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are. The first score of a run took 110 s of a GPU, later ones some 10: presumably cuDNN tried every
    algorithm for every shape."""
    held_out = ValidationConfig(clips=("x",), frames=2, size=(36, 36), every_minutes=0.0, max_references=1)
    trainer = start(
        replace(config, validation=held_out, phase=(replace(config.phase[0], local=2, reference=0),)), held_out=1
    )
    seen: list[bool] = []
    score = trainer.validator.score

    def noted(engine: Engine) -> tuple[dict[str, float], list[Row]]:
        seen.append(torch.backends.cudnn.benchmark)
        return score(engine)

    monkeypatch.setattr(trainer.validator, "score", noted)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    trainer.validate()
    assert seen == [False]
    assert torch.backends.cudnn.benchmark


def test_a_call_ends_when_its_time_is_up(config: TrainingConfig) -> None:
    trainer = start(config)
    assert not trainer.run(call_seconds=0.0)
    assert trainer.folder.state_file.exists()
    assert trainer.progress.step == 0


def test_what_cannot_be_resumed_or_drawn_is_said(config: TrainingConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no state to resume"):
        Trainer(config, material(), ALONE).resume()
    trainer = start(config)
    trainer.save()
    wider = replace(config, network=replace(SMALL, num_blocks=2))
    with pytest.raises(UsageError, match="another network"):
        Trainer(wider, material(), ALONE).resume()
    trainer.folder.state_file.write_bytes(b"half a file")
    with pytest.raises(InputError, match="cannot be read"):
        trainer.resume()
    trainer.folder.append({"event": "notice"})
    with pytest.raises(InputError, match="no figures"):
        plot(trainer.folder.path)
    with pytest.raises(InputError, match="does not exist"):
        plot(tmp_path / "nowhere")


TINY = """
folder = "run"
minutes = 30.0
start = "start.safetensors"
log_every = 1
[data]
clips = ["clips"]
photos = ["photos"]
clip_size = [48, 60]
photo_size = [48, 60]
own_licence = "mine"
[loss]
adversarial = 0.0
[speed]
batches_per_draw = 1
[network]
window = [3, 3]
[[phase]]
size = [36, 36]
batch = 1
local = 2
reference = 1
"""


def test_fine_tuning_on_ones_own_clips_from_the_command_line(weights: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "clips" / "a", clip(12, 48, 60))
    write_folder(tmp_path / "photos", texture(48, 60)[None])
    config = tmp_path / "finetune.toml"
    config.write_text(TINY)
    runner = CliRunner()

    done = runner.invoke(train_app, [str(config), "--max-steps", "2", "--device", "cpu"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "step 2" in done.output
    assert f"all files of this run go into {tmp_path / 'run'}\n" in done.output
    more = runner.invoke(train_app, ["run", str(config), "--resume", "--max-steps", "3", "--device", "cpu", "-q"])
    assert more.exit_code == 0
    steps = [e["step"] for e in read_log(tmp_path / "run") if e["event"] == "log"]
    assert steps == [1, 2, 3]
    tuned = tmp_path / "tuned.safetensors"
    assert (
        runner.invoke(train_app, ["export", str(tmp_path / "run"), "-o", str(tuned), "--licence", "mine"]).exit_code
        == 0
    )
    before, after = read_weights(weights), read_weights(tuned)
    assert after.licence == "mine. Training material: own: mine x2"
    changed = (before.state_dict["encoder.layers.0.weight"] - after.state_dict["encoder.layers.0.weight"]).abs().max()
    assert 0 < float(changed) < 0.1

    listed = runner.invoke(train_app, ["files", str(config)])
    assert listed.output.split() == [str(tmp_path / "clips" / "a"), str(tmp_path / "photos" / "00000.png")]
    assert runner.invoke(train_app, ["plot", str(tmp_path / "run")]).output.split()[0].endswith("curves.html")
    refused = runner.invoke(train_app, [str(config), "--device", "cpu"])
    assert isinstance(refused.exception, UsageError)


def test_profile_and_benchmark_write_their_figures(weights: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "clips" / "a", clip(12, 48, 60))
    config = tmp_path / "c.toml"
    config.write_text(TINY.replace('photos = ["photos"]\n', ""))
    runner = CliRunner()
    out = tmp_path / "b.json"
    arguments = [
        "benchmark",
        str(config),
        "--seconds",
        "0.01",
        "--only",
        "configuration",
        "--device",
        "cpu",
        "-o",
        str(out),
    ]
    assert runner.invoke(train_app, arguments, catch_exceptions=False).exit_code == 0
    (figure,) = json.loads(out.read_text())
    assert figure["failure"] == ""
    assert figure["samples_per_second"] == pytest.approx(1 / figure["step"])
    bad = runner.invoke(train_app, [*arguments, "--set", "speed.deform=none"], catch_exceptions=False)
    assert "FAILED: UsageError" in bad.output
    none = runner.invoke(train_app, [*arguments, "--phase", "last"])
    assert "its phases are joint" in str(none.exception)
    done = runner.invoke(train_app, [str(config), "--profile", "--device", "cpu", "-q"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "convolution" in (tmp_path / "run" / "profile.txt").read_text()


PEER = """
import sys, torch, hashlib
sys.path.insert(0, sys.argv[1])
torch.set_num_threads(1)
from pathlib import Path
from dataclasses import replace
from e2fgvi_cli.training.config import read_config
from e2fgvi_cli.training.loop import Trainer
from e2fgvi_cli.training.parallel import join_world
from tests.training.conftest import material
world = join_world("cpu")
config = replace(read_config(Path(sys.argv[2])), start="scratch")
trainer = Trainer(config, material(photos=0), world)
if world.leads:
    trainer.folder.create(config, resume=False)
world.wait()
mean = torch.tensor([float(world.rank)])
world.average([mean])
trainer.run(max_steps=1)
values = torch.cat([p.detach().flatten() for p in trainer.learner.network.parameters()])
digest = hashlib.sha256(values.numpy().tobytes())
print(world.rank, float(mean), trainer.progress.samples, digest.hexdigest())
world.leave()
"""


def test_two_processes_keep_one_network(tmp_path: Path) -> None:
    text = TINY.replace(
        "window = [3, 3]", "window = [3, 3]\nembed_dim = 32\nnum_heads = 2\nnum_blocks = 1\nmlp_dim = 98"
    )
    (tmp_path / "c.toml").write_text(text.replace("adversarial = 0.0", "adversarial = 0.0\nflow = 0.0"))
    (tmp_path / "peer.py").write_text(PEER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "peer.py"), str(ROOT), str(tmp_path / "c.toml")],
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "WORLD_SIZE": "2",
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
        )
        for rank in range(2)
    ]
    lines = sorted(p.communicate(timeout=200)[0].strip().splitlines()[-1].split() for p in processes)
    assert [p.returncode for p in processes] == [0, 0]
    assert [line[:3] for line in lines] == [["0", "0.5", "2"], ["1", "0.5", "2"]]
    assert lines[0][3] == lines[1][3]
