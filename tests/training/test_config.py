"""The configuration: published defaults, examples that parse, mistakes that are named."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from e2fgvi_cli.commands.train import train_app
from e2fgvi_cli.errors import UsageError
from e2fgvi_cli.training.config import AugmentConfig, DataConfig, OptimizerConfig, PhaseConfig, read_config
from e2fgvi_cli.training.ranges import RANGES
from e2fgvi_cli.training.schedule import ema_decay, learning_rate, phase_at

from ..conftest import ROOT

MINIMAL = '[data]\nclips = ["a"]\n'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_the_published_numbers(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, MINIMAL))
    assert (config.loss.hole, config.loss.valid, config.loss.flow, config.loss.adversarial) == (1.0, 1.0, 1.0, 0.01)
    assert config.optimizer.betas == (0.0, 0.99)
    assert config.optimizer.learning_rate == 1e-4
    phase = config.phase[0]
    assert (phase.local, phase.reference, phase.size, phase.batch) == (5, 3, (240, 432), 8)
    assert phase.adversarial
    assert config.network.backward_flow_order == "aligned"
    assert config.network.num_blocks == 8
    assert config.base == tmp_path


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "train").glob("*.toml")), ids=lambda p: p.stem)
def test_examples_parse(path: Path) -> None:
    config = read_config(path)
    assert sum(p.share for p in config.phase) == pytest.approx(1.0)


def test_overrides_take_toml_and_plain_text(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    config = read_config(
        path, ("minutes=5", "data.root=/x", "data.classes=['A']", "network.backward_flow_order=released")
    )
    assert config.minutes == 5.0
    assert config.data.root == "/x"
    assert config.data.classes == ("A",)
    assert config.network.backward_flow_order == "released"


def test_every_share_has_its_range() -> None:
    """A share that `RANGES` forgets would be taken whatever it is."""
    names = {f"augment.{f.name}" for f in fields(AugmentConfig)}
    names |= {f"data.{f.name}" for f in fields(DataConfig) if f.name.endswith("_share")}
    assert names - RANGES.keys() == set()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MINIMAL + "[loss]\nhol = 1\n", "unknown key 'hol' in section [loss]"),
        (MINIMAL + "panorama_share = 1.5\n", "data.panorama_share is 1.5: use a number from 0 to 1"),
        (MINIMAL + "source_cap = 0.0\n", "data.source_cap is 0: use a number from 0.001 to 1"),
        (MINIMAL + "[augment]\nnoise = 2.0\n", "augment.noise is 2: use a number from 0 to 1"),
        (MINIMAL + "[loss]\nhole = 'much'\n", "loss.hole is 'much', expected float"),
        (MINIMAL + "[speed]\nprecision = 'fp8'\n", "'auto', 'bf16', 'float32'"),
        (MINIMAL + "[[phase]]\nsize = [100, 216]\n", "multiples of 60 and 108"),
        (MINIMAL + "[[phase]]\nlocal = 1\n", "needs at least 2"),
        (MINIMAL + "[network]\nmlp_dim = 100\n", "mlp_dim 100"),
        (MINIMAL + "phase = 3\n[x]", "unknown key"),
        ("minutes = 0\n" + MINIMAL, "minutes is 0"),
        ("minutes = true\n" + MINIMAL, "minutes is True"),
        ("minutes = 3\n", "names no material"),
        ("minutes = \n", "not valid TOML"),
        (MINIMAL + "[holes]\nmin_area = 0.5\n", "min_area 0.5"),
        ("minutes = nan\n" + MINIMAL, "minutes is nan: use a number from"),
        ("minutes = inf\n" + MINIMAL, "minutes is inf"),
        ("seed = -1\n" + MINIMAL, "seed is -1: use a number from 0"),
        ("seed = 1" + "0" * 400 + "\n" + MINIMAL, "seed is a number of very many digits"),
        ("seed = 1" + "0" * 5000 + "\n" + MINIMAL, "not valid TOML"),
        ("log_every = 0\n" + MINIMAL, "log_every is 0"),
        ("network = 3\n" + MINIMAL, "network is 3: write [network]"),
        (MINIMAL + "[network]\nnum_blocks = 1000000\n", "num_blocks is 1000000: use a whole number from 1 to 64"),
        (MINIMAL + "[optimizer]\nbetas = [0.9, 1.0]\n", "optimizer.betas is 1: use a number from 0"),
        (MINIMAL + "[optimizer]\nlearning_rate = nan\n", "optimizer.learning_rate is nan"),
        (MINIMAL + "[optimizer]\nlearning_rate = -1.0\n", "optimizer.learning_rate is -1"),
        (MINIMAL + "[[phase]]\nbatch = 1000000000000\n", "phase.batch is 1e+12"),
        (MINIMAL + "[[phase]]\nbatch = 0\n", "batch and local must be 1 or more"),
        (MINIMAL + "[[phase]]\nsize = [60000000, 108]\n", "phase.size is 6e+07"),
        (MINIMAL + "photo_share = 2.0\n", "data.photo_share is 2: use a number from 0 to 1"),
        ("x = " + "[" * 5000, "nested too deep"),
        ("folder = 'x" + "y" * 3000 + "'\nminutes = '" + "z" * 3000 + "'\n" + MINIMAL, "..., expected float"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        read_config(write(tmp_path, text))
    assert says in str(error.value)
    assert len(str(error.value)) < 700


def test_what_is_no_configuration_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    for path in (tmp_path / "pipe.toml", tmp_path, Path("/dev/zero")):
        with pytest.raises(UsageError, match="is no file"):
            read_config(path)
    with (tmp_path / "sparse.toml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match="more than 1048576"):
        read_config(tmp_path / "sparse.toml")
    write(tmp_path, "").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not valid TOML"):
        read_config(tmp_path / "c.toml")


def test_paths_of_nobody_are_named(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, MINIMAL))
    with pytest.raises(UsageError, match="names a user that does not exist"):
        config.path("~nobody-of-this-name/x")


@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_durations_end(value: str, tmp_path: Path) -> None:
    path = str(write(tmp_path, MINIMAL))
    for arguments in (["run", path, "--call-minutes", value], ["benchmark", path, "--seconds", value]):
        done = CliRunner().invoke(train_app, arguments)
        assert isinstance(done.exception, UsageError)
        assert "is no duration" in str(done.exception)


def test_a_missing_file_and_a_malformed_override_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_config(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="KEY=VALUE"):
        read_config(write(tmp_path, MINIMAL), ("minutes",))


SHARES = st.lists(st.floats(0, 5, allow_subnormal=False), min_size=1, max_size=5).filter(lambda s: sum(s) > 0.01)


@given(SHARES, st.floats(0, 2))
def test_phases_follow_each_other_and_empty_ones_never_run(shares: list[float], fraction: float) -> None:
    phases = [PhaseConfig(share=s) for s in shares]
    at = phase_at(fraction, phases)
    assert shares[at] > 0
    assert at <= phase_at(min(fraction + 0.1, 2), phases)
    assert phase_at(0, phases) == next(i for i, s in enumerate(shares) if s > 0)
    assert phase_at(2, phases) == max(i for i, s in enumerate(shares) if s > 0)


def test_the_rate_warms_up_and_falls() -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=10, final_factor=0.1)
    assert learning_rate(0.0, 0, config) == pytest.approx(0.1)
    assert learning_rate(0.0, 10, config) == pytest.approx(1.0)
    assert learning_rate(0.5, 10, config) == pytest.approx(0.55)
    assert learning_rate(1.0, 10, config, factor=0.5) == pytest.approx(0.05)
    stepped = OptimizerConfig(learning_rate=1.0, warmup_steps=0, schedule="step", step_at=0.8)
    assert [learning_rate(f, 0, stepped) for f in (0.0, 0.79, 0.8, 1.0)] == [1.0, 1.0, 0.1, 0.1]


def test_the_average_forgets_its_beginning() -> None:
    assert ema_decay(0, 0.999) == pytest.approx(0.1)
    assert ema_decay(100_000, 0.999) == 0.999
