"""The exported window computes what the network does, in torch and in another program."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from e2fgvi_cli._model import E2FGVIHQ, E2FGVIConfig, select_backend
from e2fgvi_cli.app import app
from e2fgvi_cli.engine import export
from e2fgvi_cli.engine.export import WindowShape, export_window
from e2fgvi_cli.errors import InputError, UsageError

SHAPE = WindowShape(local=2, references=1, height=60, width=108)


@pytest.fixture(scope="module")
def network() -> E2FGVIHQ:
    torch.manual_seed(0)
    config = replace(E2FGVIConfig(), num_blocks=1, deform_groups=4)
    return E2FGVIHQ(config, deform=select_backend("torch", "cpu"))


def test_torchscript_is_the_network(tmp_path: Path, network: E2FGVIHQ) -> None:
    done = export_window(network, SHAPE, tmp_path / "w.pt", "torchscript", licence="free")
    assert (done.difference, done.input, done.bytes) == (0.0, (1, 3, 3, 60, 108), (tmp_path / "w.pt").stat().st_size)
    about = {"e2fgvi.json": ""}
    module: Any = torch.jit.load(str(tmp_path / "w.pt"), _extra_files=about)
    assert json.loads(about["e2fgvi.json"])["licence"] == "free"
    frames = torch.rand(SHAPE.input) * 2 - 1
    with torch.no_grad():
        assert torch.equal(module(frames), network(frames, 2))


@pytest.mark.slow
def test_onnx_is_the_network_in_onnxruntime(tmp_path: Path, network: E2FGVIHQ) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    done = export_window(network, SHAPE, tmp_path / "w.onnx", "onnx")
    assert done.difference is not None
    assert done.difference < 1e-5
    assert done.checked_with == f"onnxruntime {onnxruntime.__version__}"
    session = onnxruntime.InferenceSession(str(tmp_path / "w.onnx"), providers=["CPUExecutionProvider"])
    frames = torch.rand(SHAPE.input) * 2 - 1
    (found,) = session.run(["filled"], {"frames": frames.numpy()})
    with torch.no_grad():  # and the network still works after it was traced
        assert float((torch.from_numpy(found) - network(frames, 2)).abs().max()) < 1e-5


def test_a_file_that_computes_something_else_is_not_written(
    tmp_path: Path, network: E2FGVIHQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_run_torchscript", lambda path, frames: (frames, "a liar"))
    with pytest.raises(InputError, match="the exported file differs from the network by"):
        export_window(network, SHAPE, tmp_path / "w.pt", "torchscript")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--format", "coreml"), 2, "--format 'coreml' is unknown: use torchscript or onnx"),
        (("--size", "432"), 2, "--size '432' is no size"),
        (("--size", "400x240"), 2, "--size: the width 400 is no multiple of 108: use 432 and pad the frames"),
        (("--local", "1"), 2, "--local 1 is too small"),
        (("--references", "-1"), 2, "--references -1 is too small"),
        (("--weights", "no.pth"), 4, "no.pth"),
    ],
)
def test_mistakes_are_said(tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = CliRunner().invoke(app, ["export", "-o", str(tmp_path / "w.pt"), *arguments])
    assert done.exit_code == code, done.output
    assert said in done.stderr
    assert not (tmp_path / "w.pt").exists()


def test_what_onnx_needs_is_named(tmp_path: Path, network: E2FGVIHQ, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"needs the extra \[export\]"):
        export_window(network, SHAPE, tmp_path / "w.onnx", "onnx")
    with pytest.raises(UsageError, match="the height 0 is no multiple of 60: use 60"):
        export_window(network, replace(SHAPE, height=0), tmp_path / "w.pt", "torchscript")
