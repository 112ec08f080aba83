"""Reading weights: what loads, and the one sentence for each thing that does not."""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from e2fgvi_cli._model.checkpoint import (
    CheckpointError,
    dequantise,
    load_network,
    quantise,
    read_checkpoint,
    read_spynet,
    save_checkpoint,
)
from e2fgvi_cli._model.config import E2FGVIConfig
from e2fgvi_cli._model.flow import SPyNet
from e2fgvi_cli._model.network import E2FGVIHQ, constant_buffers

CONFIG = E2FGVIConfig(embed_dim=32, num_blocks=1, mlp_dim=98)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """The published keys with shrunken shapes would not be the published network: full shapes, one seed."""
    torch.manual_seed(0)
    return {k: v.clone() for k, v in E2FGVIHQ(E2FGVIConfig()).state_dict().items()}


def save(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


def refuse(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_plain_pth_is_taken_for_the_published_network(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    checkpoint = read_checkpoint(save(tmp_path / "E2FGVI-HQ-CVPR22.pth", OrderedDict(state)))
    assert checkpoint.config == E2FGVIConfig(backward_flow_order="released")
    assert "CC BY-NC" in checkpoint.licence
    network = load_network(checkpoint)
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("wrap", ["module.", "netG.", ""])
@pytest.mark.parametrize("around", [None, "state_dict", "netG", "model"])
def test_prefixes_and_wrappers_of_training_programs_are_removed(
    state: dict[str, torch.Tensor], tmp_path: Path, wrap: str, around: str | None
) -> None:
    inner = {wrap + k: v for k, v in state.items()}
    value: Any = inner if around is None else {around: inner, "iteration": 500, "optimG": {"lr": 1e-4}}
    assert set(read_checkpoint(save(tmp_path / "gen.pth", value)).state_dict) == set(state)


def test_our_own_file_carries_configuration_and_licence(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    config = E2FGVIConfig(backward_flow_order="aligned")
    for eight_bit in (True, False):
        path = tmp_path / f"{eight_bit}.safetensors"
        save_checkpoint(path, state, config, eight_bit=eight_bit, licence="Apache-2.0", training={"iterations": 3})
        checkpoint = read_checkpoint(path)
        assert checkpoint.config == config
        assert checkpoint.licence == "Apache-2.0"
        assert checkpoint.metadata["training"] == '{"iterations": 3}'
        assert checkpoint.storage == ("int8" if eight_bit else "safetensors")
        for key, value in state.items():
            error = (checkpoint.state_dict[key].double() - value.double()).abs().max()
            assert error <= (value.double().abs().max() / 200 if eight_bit else 0), key


def test_a_configuration_of_another_size_travels(tmp_path: Path) -> None:
    small = E2FGVIHQ(CONFIG).state_dict()
    save_checkpoint(tmp_path / "small.safetensors", small, CONFIG, eight_bit=True, licence="Apache-2.0")
    assert read_checkpoint(tmp_path / "small.safetensors").config == CONFIG


def test_quantisation_error_is_half_a_step_and_small_tensors_are_untouched() -> None:
    state = {
        "big": torch.randn(64, 128),
        "bias": torch.randn(8000),
        "small": torch.randn(8, 8),
        "index": torch.arange(5000).view(50, 100),
    }
    back = dequantise(quantise(state))
    step = state["big"].abs().amax(1, keepdim=True) / 127
    assert ((back["big"] - state["big"]).abs() <= step / 2 + 1e-7).all()
    assert all(torch.equal(back[k], state[k]) for k in ("bias", "small", "index"))


def test_foreign_files_are_explained(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    def write(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    assert "git-LFS pointer (132 bytes)" in refuse(
        write("a.pth", b"version https://git-lfs.github.com/spec/v1\n".ljust(132, b"x"))
    )
    assert "web page" in refuse(write("b.pth", b"\n<!DOCTYPE html><html>Quota exceeded</html>"))
    assert "is empty" in refuse(write("c.pth", b""))
    assert "cannot read" in refuse(tmp_path / "absent.pth")
    assert "neither a PyTorch checkpoint nor safetensors" in refuse(write("d.pth", b"RIFF....AVI LIST"))
    assert "discriminator" in refuse(
        save(tmp_path / "dis.pth", {"conv.0.weight_orig": torch.zeros(3), "conv.0.weight_u": torch.zeros(3)})
    )
    assert "optimiser" in refuse(save(tmp_path / "opt.pth", {"optimG": {"state": {}}, "optimD": {}}))
    assert "SPyNet only" in refuse(save(tmp_path / "spy.pth", {k: torch.zeros(1) for k in SPyNet().state_dict()}))
    assert "it has 1 entries, the first are head.weight" in refuse(
        save(tmp_path / "resnet.pth", {"head.weight": torch.zeros(3)})
    )
    assert "holds a list" in refuse(save(tmp_path / "list.pth", [torch.zeros(3)]))
    non_hq = {k: v for k, v in state.items() if not k.startswith("sc.bias_conv")} | {
        "sc.bias": torch.zeros(128, 60, 108)
    }
    assert "non-HQ" in refuse(save(tmp_path / "E2FGVI-CVPR22.pth", non_hq))


class Evil:
    """What arbitrary pickle could do."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (Path("pwned").touch, ())  # type: ignore[return-value]


def test_pickles_that_could_run_code_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "could run code" in refuse(save(tmp_path / "evil.pth", {"x": Evil()}))
    assert not (tmp_path / "pwned").exists()


def test_truncated_files_are_called_truncated(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.pth", state).read_bytes()
    cut = tmp_path / "cut.pth"
    cut.write_bytes(whole[: len(whole) // 2])
    assert "truncated" in refuse(cut)
    save_checkpoint(tmp_path / "w.safetensors", state, E2FGVIConfig(), eight_bit=True, licence="x")
    data = (tmp_path / "w.safetensors").read_bytes()
    for end in (4, 100, len(data) // 2, len(data) - 1):
        cut = tmp_path / f"cut{end}.safetensors"
        cut.write_bytes(data[:end])
        assert "truncated" in refuse(cut) or end == 4
    broken = bytearray(whole)
    with zipfile.ZipFile(tmp_path / "whole.pth") as archive:
        offset = next(i.header_offset for i in archive.infolist() if i.filename.endswith("data.pkl"))
    broken[offset + 80 : offset + 140] = b"\0" * 60
    (tmp_path / "broken.pth").write_bytes(bytes(broken))
    refuse(tmp_path / "broken.pth")


def test_wrong_shapes_and_keys_are_named(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    wrong = {**state, "ss.embedding.bias": torch.zeros(256), "extra.weight": torch.zeros(1)}
    del wrong["decoder.6.bias"]
    message = refuse(save(tmp_path / "wrong.pth", wrong))
    assert "decoder.6.bias is missing" in message
    assert "extra.weight is not part of the network" in message
    assert "ss.embedding.bias is (256,) instead of (512,)" in message
    many = refuse(save(tmp_path / "many.pth", {k: v for k, v in state.items() if not k.startswith("transformer")}))
    assert "and " in many
    assert many.count("is missing") == 3


def test_damaged_values_are_found(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    key = "encoder.layers.0.weight"
    assert f"first in {key}" in refuse(save(tmp_path / "nan.pth", {**state, key: state[key] * float("nan")}))
    shifted = {
        "transformer.0.attn.valid_ind_rolled": constant_buffers(E2FGVIConfig())["transformer.0.attn.valid_ind_rolled"]
        + 1
    }
    assert "constant transformer.0.attn.valid_ind_rolled differs" in refuse(
        save(tmp_path / "shift.pth", {**state, **shifted})
    )


def test_files_of_the_future_are_refused(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "new.safetensors"
    save_file(quantise(state), str(path), {"format": "e2fgvi-weights", "format_version": "2"})
    assert "format version 2, this program reads 1" in refuse(path)
    save_file(quantise(state), str(path), {"backward_flow_order": "diagonal"})
    assert "'diagonal'" in refuse(path)


@pytest.mark.parametrize("style", ["published", "basicvsr", "mmcv"])
def test_spynet_loads_in_every_naming(style: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    own = SPyNet().state_dict()
    renamed = {}
    for key, value in own.items():
        name = key
        if style == "basicvsr" and ".conv." in key:
            *head, k, _, leaf = key.split(".")
            name = ".".join((*head, str(2 * int(k)), leaf))
        if style != "basicvsr" or ".conv." in key:  # BasicVSR files leave the constants out
            renamed[("" if style == "published" else "generator.spynet.") + name] = value
    found = read_spynet(save(tmp_path / "spynet.pth", {"state_dict": renamed} if style == "mmcv" else renamed))
    assert list(found) == list(own)
    assert all(torch.equal(found[k], own[k]) for k in own)
    SPyNet().load_state_dict(found, strict=True)


def test_an_incomplete_spynet_is_refused(tmp_path: Path) -> None:
    state = SPyNet().state_dict()
    state.pop("basic_module.3.basic_module.2.conv.bias")
    with pytest.raises(
        CheckpointError, match=r"1 tensors are missing, the first is basic_module\.3\.basic_module\.2\.conv\.bias"
    ):
        read_spynet(save(tmp_path / "spynet.pth", state))
